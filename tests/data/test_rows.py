from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from trimtab.data.rows import parse_rows
from trimtab.errors import InputError

COLUMNS: Mapping[str, frozenset[str] | None] = {
    "age": None,
    "country": frozenset({"France", "5", "true", "false"}),
}


@pytest.mark.parametrize(
    ("cell", "number"),
    [(39, 39.0), ("39", 39.0), (" 3.5 ", 3.5), (True, 1.0), (np.float32(2.5), 2.5), ("1e3", 1000.0), ("+5", 5.0)],
)
def test_numbers_come_in_many_forms(cell: object, number: float) -> None:
    table, warnings = parse_rows([{"age": cell, "country": "France"}], COLUMNS)
    assert table.columns["age"].tolist() == [number]
    assert warnings == ()


@pytest.mark.parametrize("cell", [None, "", " ", "NA", "?", float("nan")])
def test_missing_numbers_are_nan_without_a_warning(cell: object) -> None:
    table, warnings = parse_rows([{"age": cell, "country": "France"}], COLUMNS)
    assert np.isnan(table.columns["age"]).all()
    assert warnings == ()


@pytest.mark.parametrize(
    ("cell", "text"),
    [(" France ", "France"), (5, "5"), (5.0, "5"), (True, "true"), ("False", "false"), (None, ""), ("?", "")],
)
def test_categories_come_in_many_forms(cell: object, text: str) -> None:
    table, warnings = parse_rows([{"age": 1, "country": cell}], COLUMNS)
    assert table.columns["country"].tolist() == [text]
    assert warnings == ()


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("abc", "'abc'"),
        (float("inf"), "inf"),
        ("-inf", "'-inf'"),
        ([1], "[1]"),
        ("1_000", "'1_000'"),
        (10**400, f"1{'0' * 36}..."),
    ],
)
def test_no_number_is_refused_by_row_column_and_value(cell: object, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_rows([{"age": 1}, {"age": cell}], COLUMNS)
    assert str(caught.value) == (
        f"row 2 has {shown} in the column 'age'; expected a finite number, or nothing when it is missing; "
        "correct the cell or leave it empty."
    )


def test_nested_category_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        parse_rows([{"country": {"name": "France"}}], COLUMNS)
    assert str(caught.value) == (
        "row 1 has {'name': 'France'} in the column 'country'; expected a single text, number or true/false; "
        "send one value per cell."
    )


def test_row_that_is_no_object_is_refused() -> None:
    rows: Sequence[Any] = [{"age": 1}, [1, 2]]
    with pytest.raises(InputError) as caught:
        parse_rows(rows, COLUMNS)
    assert str(caught.value) == ('row 2 is [1, 2]; expected an object with column names; send {"column": value, ...}.')


def test_rows_without_any_known_column_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        parse_rows([{"colour": "red"}], COLUMNS)
    assert str(caught.value) == (
        "no row has a column that the model knows (given: 'colour'); expected columns such as 'age', 'country'; "
        "use the column names of the training data."
    )


def test_absent_column_is_a_missing_value_with_a_warning() -> None:
    table, warnings = parse_rows([{"age": 1}, {"age": 2, "country": "France"}], COLUMNS)
    assert table.columns["country"].tolist() == ["", "France"]
    assert warnings == ("the column 'country' is missing in 1 of 2 rows: treated as a missing value",)


def test_misspelt_column_is_ignored_and_the_nearest_suggested() -> None:
    _, warnings = parse_rows([{"Age": 1, "country": "France", "note": "x"}], COLUMNS)
    assert warnings == (
        "the column 'age' is missing in 1 of 1 rows: treated as a missing value",
        "ignored the unknown column 'Age': did you mean 'age'?",
        "ignored the unknown column 'note'",
    )


def test_unseen_values_give_one_warning_per_column() -> None:
    _, warnings = parse_rows([{"age": 1, "country": name} for name in ("Mars", "Moon", "Mars")], COLUMNS)
    assert warnings == ("the values 'Mars', 'Moon' of 'country' were not seen in training, or too rarely to count",)


def test_many_unknown_columns_are_counted() -> None:
    _, warnings = parse_rows([{"age": 1, "country": "5", **{f"z{number}": 0 for number in range(7)}}], COLUMNS)
    assert warnings[-1] == "ignored 2 more unknown columns"
    assert len(warnings) == 6


def test_no_rows_are_an_empty_table() -> None:
    table, warnings = parse_rows([], COLUMNS)
    assert len(table) == 0
    assert warnings == ()
