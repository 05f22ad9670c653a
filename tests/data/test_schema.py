import numpy as np
import pytest

from trimtab.data.schema import Table, clean_text


def test_table_takes_rows_in_the_given_order() -> None:
    table = Table(
        columns={"age": np.array([1.0, 2.0, 3.0]), "job": np.array(["a", "b", ""], dtype=object)},
        kinds={"age": "number", "job": "category"},
    )
    taken = table.take(np.array([2, 0]))
    assert len(table) == 3
    assert taken.columns["age"].tolist() == [3.0, 1.0]
    assert taken.columns["job"].tolist() == ["", "a"]
    assert taken.kinds == table.kinds


def test_table_refuses_columns_of_different_length() -> None:
    with pytest.raises(ValueError, match="not equally long") as caught:
        Table(columns={"a": np.zeros(2), "b": np.zeros(3)}, kinds={"a": "number", "b": "number"})
    assert str(caught.value) == "the columns are not equally long: {'a': 2, 'b': 3}; expected one value per row."


def test_table_refuses_kinds_of_other_columns() -> None:
    with pytest.raises(ValueError, match=r"^the names in columns and kinds differ; expected the same names"):
        Table(columns={"a": np.zeros(2)}, kinds={"b": "number"})


@pytest.mark.parametrize("text", ["", "  ", "NA", "NaN", "null", "None", "?", " ? ", "n/a"])
def test_markers_of_missing_values_are_cleaned_away(text: str) -> None:
    assert clean_text(text) == ""


def test_cleaning_strips_white_space_only() -> None:
    assert clean_text(" Never married\n") == "Never married"
