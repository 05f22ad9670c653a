from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from trimtab.data.frames import is_frame, number_columns, read_frame, to_table
from trimtab.errors import InputError


class Column:
    """As much of a pandas Series as is read: its type and its values."""

    def __init__(self, values, dtype):
        self.values, self.dtype = np.asarray(values), dtype

    def __array__(self, dtype=None, copy=None):
        return self.values


class Frame(dict):
    """As much of a pandas data frame as is read."""

    dtypes = ()

    @property
    def columns(self):
        return list(self)


@pytest.fixture
def people():
    return pa.table(
        {
            "age": [20, None, 40],
            "height": [1.5, 1.75, None],
            "job": ["cook", None, "clerk"],
            "member": [True, False, None],
            "town": pa.array(["Ulm", "Rom", "Ulm"]).dictionary_encode(),
        }
    )


def test_frames_are_known_by_their_named_columns(people):
    assert is_frame(people)
    assert is_frame(Frame(a=Column([1], "int64")))
    assert not any(is_frame(other) for other in (np.zeros((2, 2)), [[1, 2]], {"a": [1]}))


def test_numbers_stay_numbers_and_all_else_becomes_text(people):
    columns = read_frame(people)
    assert list(columns) == ["age", "height", "job", "member", "town"]
    np.testing.assert_array_equal(columns["age"], [20.0, np.nan, 40.0])
    np.testing.assert_array_equal(columns["height"], [1.5, 1.75, np.nan])
    assert columns["job"].tolist() == ["cook", "", "clerk"]
    assert columns["member"].tolist() == ["true", "false", ""]
    assert columns["town"].tolist() == ["Ulm", "Rom", "Ulm"]


def test_numbers_among_python_objects_are_numbers():
    cells = np.array([1, 2.5, Decimal("3"), None, "NaN"], dtype=object)
    np.testing.assert_array_equal(read_frame(Frame(a=Column(cells, "object")))["a"], [1.0, 2.5, 3.0, np.nan, np.nan])


def test_truth_values_and_text_among_objects_make_a_category():
    assert read_frame(Frame(a=Column(np.array([1, "x"], dtype=object), "object")))["a"].tolist() == ["1", "x"]
    assert read_frame(Frame(a=Column(np.array([True, None], dtype=object), "object")))["a"].tolist() == ["true", ""]


def test_numbers_that_the_frame_calls_categories_are_categories():
    assert read_frame(Frame(a=Column([3, 1, 3], "category")))["a"].tolist() == ["3", "1", "3"]


def test_names_that_are_no_text_become_text():
    assert list(read_frame(Frame({0: Column([1.0], "float64"), 1: Column([2.0], "float64")}))) == ["0", "1"]


def test_dates_are_refused_with_what_to_do():
    days = np.array(["2020-01-01"], dtype="datetime64[ns]")
    with pytest.raises(InputError) as caught:
        read_frame(Frame(day=Column(days, "datetime64[ns]")))
    assert str(caught.value) == (
        "the column 'day' of X holds datetime64[ns]; expected numbers, text or truth values; turn it into such columns "
        "(a date into year, month and weekday) or leave it out."
    )


def test_a_name_that_two_columns_have_is_refused():
    with pytest.raises(InputError) as caught:
        read_frame(pa.table([[1], [2]], names=["a", "a"]))
    assert str(caught.value) == ("X has more than one column named 'a'; expected a name for each column; rename one.")


def test_a_frame_without_columns_is_refused():
    with pytest.raises(InputError) as caught:
        read_frame(Frame())
    assert str(caught.value) == (
        "X has no columns; expected at least one; add one that says something about the class."
    )


def test_a_table_has_the_kinds_of_its_columns(people):
    assert to_table(read_frame(people)).kinds == {
        "age": "number",
        "height": "number",
        "job": "category",
        "member": "category",
        "town": "category",
    }


def test_columns_of_an_array_are_numbered():
    table = to_table(number_columns(np.array([[1.0, 2.0], [3.0, np.nan]])))
    np.testing.assert_array_equal(table.columns["x1"], [2.0, np.nan])


def test_later_columns_take_the_names_and_kinds_of_the_first_ones():
    table = to_table(
        {"x0": np.array([3.0, np.nan]), "x1": np.array([1.0, 2.0])}, {"grade": "category", "age": "number"}
    )
    assert table.columns["grade"].tolist() == ["3", ""]
    assert table.columns["age"].tolist() == [1.0, 2.0]


def test_a_column_without_values_is_one_of_missing_numbers():
    table = to_table({"a": np.array(["", ""], dtype=object)}, {"a": "number"})
    assert np.isnan(table.columns["a"]).all()


def test_text_in_a_column_of_numbers_is_refused():
    with pytest.raises(InputError) as caught:
        to_table({"a": np.array(["1", "old"], dtype=object)}, {"a": "number"})
    assert str(caught.value) == (
        "the column 'a' holds text ('1', 'old'); expected numbers, as when it was fitted; convert it."
    )


@pytest.mark.parametrize("value", [np.inf, -1e31])
def test_infinite_and_huge_numbers_are_refused(value):
    with pytest.raises(InputError) as caught:
        to_table({"a": np.array([1.0, value])})
    assert str(caught.value) == (
        "the column 'a' of X has 1 infinite or huge value; expected finite numbers below 1e30, or NaN where "
        "one is missing; correct it or scale the column."
    )
