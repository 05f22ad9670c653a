"""Places in time: numbers and dates in their order, equal moments together, anything else refused."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from trimtab.data import open_source
from trimtab.data.times import places_in_time, places_of_values
from trimtab.errors import InputError


@pytest.mark.parametrize(
    "cells",
    [
        ["10", "9.5", "10", "300"],
        ["2024-03-14", "2023-12-31", "2024-03-14", "2025-01-01"],
        ["2024-03-14T12:00:00+02:00", "2024-03-14T09:59:00Z", "2024-03-14T10:00:00Z", "2024-03-15"],
        [10, 9, 10, 11],
        [datetime.date(2024, 3, 14), datetime.date(2024, 3, 13), datetime.date(2024, 3, 14), datetime.date(2025, 1, 1)],
    ],
)
def test_places_follow_the_order_and_equal_moments_share_one(cells):
    assert places_in_time(pa.chunked_array([pa.array(cells)]), "it").tolist() == [1, 0, 1, 2]


def test_arrays_of_numbers_and_of_days_have_places_too():
    assert places_of_values(np.array([3.0, -1.0, 3.0]), "'t'").tolist() == [1, 0, 1]
    assert places_of_values(np.array(["2024-01-02", "2024-01-01"], "datetime64[D]"), "'t'").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("cells", "held"), [(["1", ""], "nothing in row 2"), (["2024-01-01", "14/3/2024"], "'14/3/2024' in row 2")]
)
def test_a_cell_that_says_no_moment_is_named(cells, held):
    with pytest.raises(InputError) as caught:
        places_in_time(pa.chunked_array([pa.array(cells)]), "the column 'day' of a.csv")
    assert str(caught.value) == (
        f"the column 'day' of a.csv holds {held}; expected a number, or a date such as 2024-03-14, in each row; "
        "correct it, or choose another column."
    )


def test_a_table_knows_its_times_when_it_is_asked_for_them(tmp_path):
    rows = [f"{7 * row % 13},2024-01-{20 - row:02d},{'a' if row % 2 else 'b'}" for row in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["x,day,y", *rows]) + "\n")
    dataset = open_source(tmp_path / "t.csv", target="y", time="day").load()
    assert dataset.times.tolist() == list(range(11, -1, -1))
    assert open_source(tmp_path / "t.csv", target="y").load().times is None
    with pytest.raises(InputError, match=r"the column 'dya' is not in t.csv; .* did you mean 'day'"):
        open_source(tmp_path / "t.csv", target="y", time="dya")


def test_arrays_and_pictures_know_their_times(tmp_path):
    features, labels = np.arange(36.0).reshape(12, 3) ** 1.5, np.arange(12) % 2
    np.savez(tmp_path / "t.npz", X=features, y=labels, when=np.arange(12)[::-1])
    assert open_source(tmp_path / "t.npz", time="when").load().times.tolist() == list(range(11, -1, -1))
    pictures = np.random.default_rng(0).integers(0, 255, (12, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "p.npz", X=pictures, y=labels, when=np.arange(12))
    assert open_source(tmp_path / "p.npz", time="when").load().times.tolist() == list(range(12))
    with pytest.raises(InputError, match="digits has no columns to choose from but --time when was given"):
        open_source("digits", time="when")
