import numpy as np
import pytest

from trimtab.data.labels import read_labels
from trimtab.errors import InputError

WHERE = "the column 'y' of d.csv"


def message(texts: list[str], **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_labels(texts, where=WHERE, **options)
    return str(caught.value)


def test_names_are_sorted_and_whole_numbers_by_value() -> None:
    assert read_labels(["b", "a", "b", "a", "a", "b"], where=WHERE).class_names == ("a", "b")
    assert read_labels(["10", "9", "-1"] * 3, where=WHERE).class_names == ("-1", "9", "10")


def test_given_order_is_kept_and_absent_classes_left_out() -> None:
    labels = read_labels(["a", "z"] * 3, where=WHERE, order=["z", "m", "a"])
    assert labels.class_names == ("z", "a")
    assert labels.numbers.tolist() == [1, 0] * 3
    assert labels.warnings == ("left out the classes without examples: 'm'",)


def test_rows_without_label_are_dropped_with_a_count() -> None:
    labels = read_labels(["a", "", "b"] * 3, where=WHERE)
    assert labels.rows.tolist() == [0, 2, 3, 5, 6, 8]
    assert labels.counts == (3, 3)
    assert labels.warnings == ("dropped 3 of 9 rows: the column 'y' of d.csv has no label there",)


def test_imbalance_is_a_warning() -> None:
    labels = read_labels(["a"] * 40 + ["b"] * 4, where=WHERE)
    assert labels.warnings == ("the classes are unbalanced: 'a' has 40 rows, 'b' has 4",)


def test_one_class_is_refused() -> None:
    assert message(["a", "a", "", "a"]) == (
        "the column 'y' of d.csv has one class only ('a': 3 rows); expected at least two classes; "
        "add examples of another class, or choose other labels."
    )


def test_no_labels_are_refused() -> None:
    assert message(["", ""]) == (
        "the column 'y' of d.csv has no labels at all; expected at least two classes; "
        "add examples of another class, or choose other labels."
    )


def test_class_with_one_example_is_refused_by_name() -> None:
    assert message(["a"] * 9 + ["b"] * 3 + ["c", "d", "d"]) == (
        "the column 'y' of d.csv has too few examples of 'c' (1), 'd' (2); "
        "expected at least 3 of each class, one each for training, validation and test; "
        "add examples, or merge or remove these classes."
    )


def test_labels_all_different_look_like_an_id() -> None:
    assert message([f"u{number}" for number in range(30)]) == (
        "the column 'y' of d.csv has 30 different values in 30 rows; expected a few classes with several rows each; "
        "choose another column with --target; it looks like an id."
    )


def test_fractions_all_different_look_like_an_amount() -> None:
    assert message([f"{number / 7:.5f}" for number in range(30)]) == (
        "the column 'y' of d.csv has 30 different values in 30 rows; expected a few classes with several rows each; "
        "choose another column with --target, or turn the numbers into classes; trimtab predicts classes."
    )


def test_numbers_mostly_different_look_like_an_amount() -> None:
    texts = [str(number) for number in range(40)] + ["1"] * 20
    assert "40 different values in 60 rows" in message(texts)
    assert message(texts).endswith("or turn the numbers into classes; trimtab predicts classes.")


def test_given_parts_need_training_examples_for_each_part_to_be_taken() -> None:
    texts = ["a"] * 6 + ["b"] * 6
    enough = np.array([0, 0, 0, 2, 2, 2] * 2, dtype=np.int8)
    assert read_labels(texts, where=WHERE, parts=enough).counts == (6, 6)
    few = np.array([0, 0, 0, 2, 2, 2, 0, 2, 2, 2, 2, 2], dtype=np.int8)
    assert message(texts, parts=few) == (
        "the column 'y' of d.csv has too few examples in its training part of 'b' (1); "
        "expected at least 2 of each class for training; add examples, or merge or remove these classes."
    )
