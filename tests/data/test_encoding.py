import json
import time

import numpy as np
import pytest

from trimtab.data import CategoryEncoding, NumberEncoding, Table, TableEncoder
from trimtab.errors import InputError


def numbers(*values: float) -> Table:
    return Table(columns={"x": np.array(values)}, kinds={"x": "number"})


def texts(*values: str) -> Table:
    return Table(columns={"job": np.array(values, dtype=object)}, kinds={"job": "category"})


def fit(table: Table) -> TableEncoder:
    return TableEncoder.fit(table, np.arange(len(table)))


def test_number_is_clipped_position_in_each_bin() -> None:
    encoder = TableEncoder(columns=(NumberEncoding(name="x", edges=(0.0, 1.0, 3.0), median=1.0, has_missing=False),))
    features = encoder.encode(numbers(-5.0, 0.5, 2.0, 9.0))
    assert features.tolist() == [[0, 0], [0.5, 0], [1, 0.5], [1, 1]]
    assert features.dtype == np.float32
    assert features.flags.c_contiguous


def test_missing_number_is_the_median_with_an_indicator() -> None:
    encoder = fit(numbers(0.0, 2.0, 4.0, np.nan))
    features = encoder.encode(numbers(np.nan, 2.0))
    assert encoder.num_features == 3
    assert features.tolist() == [[1, 0, 1], [1, 0, 0]]


def test_missing_number_never_seen_in_training_is_the_median() -> None:
    encoder = fit(numbers(0.0, 2.0, 4.0))
    assert encoder.encode(numbers(np.nan)).tolist() == encoder.encode(numbers(2.0)).tolist()


def test_few_distinct_numbers_are_all_edges() -> None:
    column = fit(numbers(*[3, 1, 2, 1, 3] * 10)).columns[0]
    assert isinstance(column, NumberEncoding)
    assert column.edges == (1.0, 2.0, 3.0)


def test_ties_leave_edges_for_the_rare_values() -> None:
    values = np.concatenate([np.zeros(950), np.arange(1, 51)])
    column = fit(numbers(*values)).columns[0]
    assert isinstance(column, NumberEncoding)
    assert 10 <= column.num_bins <= 16
    assert column.edges[0] == 0
    assert column.edges[-1] == 50


def test_edges_are_distinct_in_float32() -> None:
    values = 1.7e9 + np.arange(200) / 1000
    column = fit(numbers(*values)).columns[0]
    assert isinstance(column, NumberEncoding)
    assert len(set(np.float32(column.edges).tolist())) == len(column.edges)


@pytest.mark.parametrize("values", [(5.0, 5.0), (np.nan, np.nan)])
def test_constant_or_empty_number_column_has_no_bins(values: tuple[float, ...]) -> None:
    encoder = fit(numbers(*values))
    assert encoder.num_features == int(np.isnan(values[0]))
    assert np.isfinite(encoder.encode(numbers(1.0, np.nan))).all()


def test_infinite_number_is_in_the_last_bin() -> None:
    encoder = fit(numbers(0.0, 1.0, 2.0))
    assert encoder.encode(numbers(np.inf, 1e300)).tolist() == [[1, 1], [1, 1]]


def test_category_is_one_hot_and_unseen_is_zeros() -> None:
    encoder = fit(texts("a", "b", "a", "a", "b", "c"))
    assert encoder.columns == (CategoryEncoding(name="job", values=("a", "b")),)
    assert encoder.encode(texts("b", "a", "c", "Mars")).tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]


def test_missing_category_is_a_value_when_training_had_it() -> None:
    encoder = fit(texts("a", "", "", "a", "a"))
    assert encoder.columns == (CategoryEncoding(name="job", values=("a", "")),)


def test_at_most_a_hundred_values_are_kept() -> None:
    table = texts(*[f"v{number:03}" for number in range(150) for _ in range(2)])
    column = fit(table).columns[0]
    assert isinstance(column, CategoryEncoding)
    assert len(column.values) == 100


def test_fit_sees_only_the_given_rows() -> None:
    table = Table(
        columns={"x": np.array([0.0, 1.0, 1000.0, np.nan]), "job": np.array(["a", "a", "b", "b"], dtype=object)},
        kinds={"x": "number", "job": "category"},
    )
    encoder = TableEncoder.fit(table, np.array([0, 1]))
    assert encoder.columns == (
        NumberEncoding(name="x", edges=(0.0, 1.0), median=0.5, has_missing=False),
        CategoryEncoding(name="job", values=("a",)),
    )


def test_encoder_survives_json() -> None:
    table = Table(
        columns={"x": np.array([0.1, 1.0, np.nan]), "job": np.array(["a", "a", ""], dtype=object)},
        kinds={"x": "number", "job": "category"},
    )
    encoder = fit(table)
    assert TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


def test_parsed_rows_encode_as_the_table_they_came_from() -> None:
    table = Table(
        columns={"x": np.array([0.0, 1.0, np.nan, 3.0]), "job": np.array(["a", "a", "b", "b"], dtype=object)},
        kinds={"x": "number", "job": "category"},
    )
    encoder = fit(table)
    rows = [{"x": "0", "job": "a"}, {"x": 1, "job": " a "}, {"x": None, "job": "b"}, {"x": "3.0", "job": "b"}]
    parsed, warnings = encoder.parse_rows(rows)
    assert warnings == ()
    assert (encoder.encode(parsed) == encoder.encode(table)).all()


def test_a_million_cells_are_encoded_within_seconds() -> None:
    rng = np.random.default_rng(0)
    table = Table(
        columns={
            **{f"x{column}": rng.normal(size=50_000) for column in range(10)},
            **{f"c{column}": rng.choice(["a", "b", "c"], 50_000).astype(object) for column in range(10)},
        },
        kinds={
            **{f"x{column}": "number" for column in range(10)},
            **{f"c{column}": "category" for column in range(10)},
        },
    )
    encoder = fit(table)
    start = time.process_time()
    encoder.encode(table)
    assert time.process_time() - start < 2


def test_text_in_a_number_column_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        fit(numbers(0.0, 1.0)).parse_rows([{"x": 1}, {"x": "abc"}])
    assert str(caught.value) == (
        "row 2 has 'abc' in the column 'x'; expected a finite number, or nothing when it is missing; "
        "correct the cell or leave it empty."
    )
