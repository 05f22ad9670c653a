import numpy as np
import pytest
from numpy.typing import NDArray

from trimtab.data.features import select_features
from trimtab.errors import InputError


def texts(*values: str) -> NDArray[np.object_]:
    return np.array(values, dtype=object)


GOOD = np.array([3.0, 1.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("x", np.array([5.0, 5.0, 5.0, 5.0]), "constant"),
        ("x", np.full(4, np.nan), "constant"),
        ("x", texts("a", "a", "a", "a"), "constant"),
        ("x", texts("", "", "", ""), "constant"),
        ("x", np.array([0.0, 1.0, 2.0, 3.0]), "a row number or id"),
        ("x", np.array([1.0, 2.0, 3.0, 4.0]), "a row number or id"),
        ("customer_id", np.array([17.0, 5.0, 99.0, 3.0]), "a row number or id"),
        ("customerID", np.array([17.0, 5.0, 99.0, 3.0]), "a row number or id"),
        ("x", texts("p", "q", "r", "s"), "a different text in nearly every row"),
        ("x", texts("p", "q", "r", ""), "a different text in nearly every row"),
    ],
)
def test_useless_columns_are_ignored_by_name(name: str, values: NDArray[np.generic], reason: str) -> None:
    table, warnings = select_features({"good": GOOD, name: values}, origin="t.csv")
    assert list(table.columns) == ["good"]
    assert warnings == (f"ignored the column '{name}': {reason}",)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x", np.array([5.0, np.nan, 5.0, 5.0])),
        ("x", texts("a", "", "a", "a")),
        ("x", np.array([0.5, 1.5, 2.5, 3.5])),
        ("paid", np.array([17.0, 5.0, 99.0, 3.0])),
        ("x", np.array([2.0, 3.0, 4.0, 5.0])),
        ("x", texts("p", "q", "p", "r")),
    ],
)
def test_useful_columns_are_kept(name: str, values: NDArray[np.generic]) -> None:
    table, warnings = select_features({"good": GOOD, name: values}, origin="t.csv")
    assert list(table.columns) == ["good", name]
    assert warnings == ()


def test_ignored_columns_are_listed_by_reason() -> None:
    columns = {"good": GOOD, **{f"c{number}": np.zeros(4) for number in range(7)}}
    _, warnings = select_features(columns, origin="t.csv", ignored={"when": "type date32[day]"})
    assert warnings == (
        "ignored the column 'when': type date32[day]",
        "ignored the columns 'c0', 'c1', 'c2', 'c3', 'c4' and 2 more: constant",
    )


def test_infinite_values_in_several_columns_are_counted() -> None:
    bad = np.array([1.0, np.inf, 2.0, 1.0])
    with pytest.raises(InputError) as caught:
        select_features({"good": GOOD, "b": bad, "c": -bad}, origin="t.csv")
    assert str(caught.value) == (
        "the column 'b' of t.csv has 1 infinite value (the first in row 2; 1 more columns have some too); "
        "expected finite numbers below 1e30, or empty cells where a value is missing; correct these cells or empty "
        "them."
    )


def test_number_column_spoiled_by_words_is_noticed() -> None:
    values = texts(*[str(number % 50) for number in range(500)], "unknown", "-")
    _, warnings = select_features({"age": values}, origin="t.csv")
    assert warnings == (
        "the column 'age' is read as categories: 2 of its cells are no numbers ('-', 'unknown'); "
        "empty these cells to have it read as numbers",
    )


def test_values_that_float32_cannot_hold_are_refused() -> None:
    columns = {"a": np.array([1e200, 2.0, 3.0]), "b": np.array([1.0, 2.0, 2.5])}
    with pytest.raises(InputError, match=r"the column 'a' of t\.csv has 1 infinite value"):
        select_features(columns, origin="t.csv")


def test_dates_are_left_out_and_named() -> None:
    days = [f"2024-{1 + day % 12:02d}-{1 + day % 28:02d}" for day in range(300)]
    columns = {"signup": np.array(days, dtype=object), "b": np.arange(300) % 7.0}
    table, warnings = select_features(columns, origin="t.csv")
    assert list(table.columns) == ["b"]
    assert any("signup" in text and "dates, which are not used as such" in text for text in warnings)


def test_texts_that_hardly_repeat_are_left_out_and_frequent_ones_kept() -> None:
    household = [f"H{row // 3}" for row in range(900)]
    city = ["Rome" if row % 3 else f"village {row % 600}" for row in range(900)]
    columns = {"household": np.array(household, dtype=object), "city": np.array(city, dtype=object)}
    table, warnings = select_features(columns, origin="t.csv")
    assert list(table.columns) == ["city"]
    assert any(
        "household" in text and "over 100 different texts, most in fewer than 10 rows" in text for text in warnings
    )
