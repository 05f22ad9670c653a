"""Labels as text turned into class numbers, and the reasons why some labels cannot be learned.

It does not know where the texts come from.

Legend: ``N`` rows, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import InputError

MINIMUM_EXAMPLES = 3  # one each for training, validation and test
_NAMES_SHOWN = 5
_UNBALANCED = 10  # largest class over smallest


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Class numbers of the rows that have a label.

    Attributes
    ----------
    rows
        Positions of these rows among all rows, increasing.
    numbers
        Their class numbers in 0..K-1.
    class_names
        [K].
    warnings
        Rows dropped, classes without rows, imbalance.
    """

    rows: NDArray[np.int64]
    numbers: NDArray[np.int64]
    class_names: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each class."""
        return tuple(int(count) for count in np.bincount(self.numbers, minlength=len(self.class_names)))


def read_labels(
    texts: Sequence[str],
    *,
    where: str,
    order: Sequence[str] | None = None,
    parts: NDArray[np.int8] | None = None,
    is_column: bool = True,
) -> Labels:
    """Return the classes of ``texts``, one per row, ``""`` where there is no label.

    Parameters
    ----------
    texts
        [N].
    where
        Names the labels in errors: ``"the column 'income' of adult.csv"``.
    order
        Class names in the order that the source defines; sorted when absent, as numbers if all are whole numbers.
    parts
        [N] the split that the rows came with, as in `Dataset`.
    is_column
        Whether the labels could be a wrongly chosen column, such as an id.

    Raises
    ------
    InputError
        If there are no labels, one class only, too few examples of a class, or a label of its own in every row.
    """
    rows = np.array([row for row, text in enumerate(texts) if text], dtype=np.int64)
    present = [text for text in texts if text]
    warnings = []
    if len(present) < len(texts):
        warnings.append(f"dropped {len(texts) - len(present)} of {len(texts)} rows: {where} has no label there")
    found = set(present)
    if is_column:
        _check_not_unique(found, len(present), where)
    names = sort_names(found) if order is None else [name for name in order if name in found]
    if absent := sorted(set(order or ()) - found):
        warnings.append(f"left out the classes without examples: {quote(absent)}")
    index = {name: number for number, name in enumerate(names)}
    numbers = np.fromiter((index[text] for text in present), dtype=np.int64, count=len(present))
    check_classes(numbers, names, where=where, parts=None if parts is None else parts[rows])
    warnings += _warn_imbalance(numbers, names)
    return Labels(rows=rows, numbers=numbers, class_names=tuple(names), warnings=tuple(warnings))


def check_classes(
    numbers: NDArray[np.int64], class_names: Sequence[str], *, where: str, parts: NDArray[np.int8] | None = None
) -> None:
    """Refuse classes that cannot be divided into training, validation and test.

    Raises
    ------
    InputError
        If there are fewer than two classes, or a class has fewer examples than there are parts to fill.
    """
    counts = np.bincount(numbers, minlength=len(class_names))
    if np.count_nonzero(counts) < 2:
        given = ", ".join(f"'{name}': {count} rows" for name, count in zip(class_names, counts, strict=True) if count)
        raise InputError(
            f"{where} has one class only ({given})" if given else f"{where} has no labels at all",
            "at least two classes",
            "add examples of another class, or choose other labels",
        )
    needed = MINIMUM_EXAMPLES
    if parts is not None:
        counts = np.bincount(numbers[parts <= 0], minlength=len(class_names))
        needed -= int((parts == 1).any()) + int((parts == 2).any())
    few = [f"'{name}' ({count})" for name, count in zip(class_names, counts, strict=True) if count < needed]
    if few:
        raise _too_few(few, needed, where, in_training=parts is not None)


def _too_few(few: Sequence[str], needed: int, where: str, *, in_training: bool) -> InputError:
    more = f" and {len(few) - _NAMES_SHOWN} more" if len(few) > _NAMES_SHOWN else ""
    part = " in its training part" if in_training else ""
    every = "each class" if not in_training else "each class for training"
    reason = ", one each for training, validation and test" if needed == MINIMUM_EXAMPLES else ""
    return InputError(
        f"{where} has too few examples{part} of {', '.join(few[:_NAMES_SHOWN])}{more}",
        f"at least {needed} of {every}{reason}",
        "add examples, or merge or remove these classes",
    )


def sort_names(names: set[str]) -> list[str]:
    """Return the names sorted, by value when all are whole numbers."""
    if all(is_whole(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def is_whole(text: str) -> bool:
    """Return whether the text is a whole number in plain digits."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def quote(names: Sequence[str]) -> str:
    """Return up to five names in quotes, then how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMES_SHOWN]) + more


def _check_not_unique(found: set[str], rows: int, where: str) -> None:
    """Refuse ids and amounts: with more names than a third of the rows, some class has fewer than three."""
    is_amount = len(found) > 2 and all(_is_number(name) for name in found)
    if rows >= MINIMUM_EXAMPLES and len(found) == rows:
        action = "choose another column with --target; it looks like an id"
    elif is_amount and len(found) > max(rows / MINIMUM_EXAMPLES, 20):
        action = "choose another column with --target, or turn the numbers into classes; trimtab predicts classes"
    else:
        return
    if is_amount and not all(is_whole(name) for name in found):
        action = "choose another column with --target, or turn the numbers into classes; trimtab predicts classes"
    raise InputError(
        f"{where} has {len(found):,} different values in {rows:,} rows",
        "a few classes with several rows each",
        action,
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _warn_imbalance(numbers: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    counts = np.bincount(numbers, minlength=len(names))
    large, small = int(counts.argmax()), int(counts.argmin())
    if counts[large] < _UNBALANCED * counts[small]:
        return []
    given = f"'{names[large]}' has {counts[large]:,} rows, '{names[small]}' has {counts[small]:,}"
    return [f"the classes are unbalanced: {given}"]
