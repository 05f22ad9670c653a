"""Files of predictions: read in parts and by several processes, exact all the same; and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from trimtab.errors import InputError
from trimtab.evaluation import evaluate
from trimtab.evaluation.evaluate_files import evaluate_files

NAMES = ("owl", "cat", "dog")


@pytest.fixture
def table(draw: Callable) -> pa.Table:
    labels, probabilities = draw(900, 3)
    columns = {f"p_{name}": probabilities[:, k] for k, name in enumerate(NAMES)}
    return pa.table({"label": [NAMES[label] for label in labels], **columns})


def expected_of(table: pa.Table) -> dict:
    probabilities = np.stack([table.column(f"p_{name}").to_numpy() for name in NAMES], axis=1)
    return evaluate(np.array(table.column("label").to_pylist()), probabilities, class_names=NAMES).to_dict()


def test_parts_and_shards_give_the_figures_of_the_whole_bit_for_bit(table: pa.Table, tmp_path: Path) -> None:
    parquet.write_table(table, tmp_path / "whole.parquet", row_group_size=128)
    parquet.write_table(table.slice(0, 500), tmp_path / "a.parquet", row_group_size=77)
    csv.write_csv(table.slice(500), tmp_path / "b.csv")
    expected = expected_of(table)
    assert evaluate_files([tmp_path / "whole.parquet"]).to_dict() == expected
    assert evaluate_files([tmp_path / "b.csv", tmp_path / "a.parquet"]).to_dict() == expected


@pytest.mark.slow
@pytest.mark.parametrize("most_scores", [10**9, 100])
def test_any_number_of_workers_gives_the_same_bits(table: pa.Table, tmp_path: Path, most_scores: int) -> None:
    path = tmp_path / "predictions.parquet"
    parquet.write_table(table, path, row_group_size=100)
    one, *others = [evaluate_files([path], workers=count, most_scores=most_scores).to_dict() for count in (1, 2, 3)]
    assert others == [one, one]


def test_scores_that_are_too_many_to_keep_give_areas_within_the_resolution(table: pa.Table, tmp_path: Path) -> None:
    parquet.write_table(table, tmp_path / "predictions.parquet")
    exact = evaluate_files([tmp_path / "predictions.parquet"])
    rounded = evaluate_files([tmp_path / "predictions.parquet"], most_scores=100)
    histogram = rounded.statistics.scores.histogram
    for k, name in enumerate(NAMES):
        distance = abs(rounded.per_class[name]["roc_auc"].value - exact.per_class[name]["roc_auc"].value)
        assert distance <= histogram.resolution(k) + 1e-12
        assert histogram.resolution(k) < 1e-4
    for metric in ("accuracy", "log_loss", "brier_score", "smooth_ece", "f1_macro"):
        assert rounded.metrics[metric] == exact.metrics[metric]


def test_groups_are_read_from_their_column(table: pa.Table, tmp_path: Path) -> None:
    groups = [f"patient {row // 9}" for row in range(900)]
    parquet.write_table(table.append_column("group", pa.array(groups)), tmp_path / "g.parquet", row_group_size=100)
    found = evaluate_files([tmp_path / "g.parquet"])
    assert found.metrics["accuracy"].method.startswith("resampled groups")
    assert found.metrics["accuracy"].value == expected_of(table)["metrics"]["accuracy"]["value"]


def test_predicted_classes_without_probabilities_are_enough(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"label": [10, 9, 10, 9], "prediction": [10, 9, 9, 9]}), tmp_path / "p.parquet")
    found = evaluate_files([tmp_path / "p.parquet"])
    assert found.class_names == ("9", "10")
    assert found.metrics["accuracy"].value == 0.75


def with_value(table: pa.Table, column: str, value: object) -> pa.Table:
    values = table.column(column).to_pylist()
    values[3] = value
    return table.set_column(table.column_names.index(column), column, pa.array(values, table.schema.field(column).type))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda t: t.rename_columns(["Label", *t.column_names[1:]]),
            "FILE has no column 'label' (its columns are Label, p_owl, p_cat, p_dog); expected the columns label and "
            "p_<class> for each class (or label and prediction), optionally group and name; did you mean 'Label'? "
            "rename the column of true classes.",
        ),
        (
            lambda t: t.select(["label"]),
            "FILE has neither p_<class> columns nor 'prediction'; expected the columns label and p_<class> for each "
            "class (or label and prediction), optionally group and name; add what was predicted.",
        ),
        (
            lambda t: t.select(["label", "p_cat"]),
            "FILE has one column of probabilities, 'p_cat'; expected one for each class, two at least; add the other "
            "class's, 1 minus this one.",
        ),
        (
            lambda t: with_value(t, "label", "zebra"),
            "label 'zebra' in row 4 of FILE is none of the classes owl, cat, dog; expected a column p_zebra; add it, "
            "with zeros if the model does not know the class, or leave these rows out.",
        ),
        (
            lambda t: with_value(t, "label", None),
            "label is missing in row 4 of FILE; expected a label in each row; fill it in or leave such rows out.",
        ),
        (
            lambda t: with_value(t, "p_cat", float("nan")),
            "probabilities hold NaN or infinity in row 4 of FILE; expected softmax output: from 0 to 1, with a sum of "
            "one in each row; write probabilities, not logits or percentages.",
        ),
        (
            lambda t: with_value(t, "p_cat", -0.5),
            "probabilities lie outside 0 to 1 in row 4 of FILE; expected softmax output: from 0 to 1, with a sum of "
            "one in each row; write probabilities, not logits or percentages.",
        ),
        (
            lambda t: with_value(t, "p_cat", 0.999),
            "probabilities do not sum to one in row 4 of FILE; expected softmax output: from 0 to 1, with a sum of "
            "one in each row; write probabilities, not logits or percentages.",
        ),
        (
            lambda t: with_value(t.append_column("group", pa.array(["a"] * 900)), "group", ""),
            "group is missing in row 4 of FILE; expected a group in each row; fill it in or leave such rows out.",
        ),
        (lambda t: t.slice(0, 0), "FILE has no rows; expected a row per example; give the predictions."),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_sentence(
    table: pa.Table, tmp_path: Path, spoil: Callable, sentence: str
) -> None:
    path = tmp_path / "predictions.parquet"
    parquet.write_table(spoil(table), path)
    with pytest.raises(InputError) as caught:
        evaluate_files([path])
    assert str(caught.value) == sentence.replace("FILE", str(path))


def test_rows_are_numbered_through_all_parts(table: pa.Table, tmp_path: Path) -> None:
    values = table.column("label").to_pylist()
    values[801] = "zebra"
    path = tmp_path / "predictions.parquet"
    parquet.write_table(table.set_column(0, "label", pa.array(values)), path, row_group_size=100)
    with pytest.raises(InputError, match="label 'zebra' in row 802 of"):
        evaluate_files([path])


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"not a file of columns")
    with pytest.raises(InputError, match=r"x\.parquet cannot be read"):
        evaluate_files([tmp_path / "x.parquet"])
    with pytest.raises(InputError, match=r"there is no file .*nothing\.csv; expected a Parquet or CSV file"):
        evaluate_files([tmp_path / "nothing.csv"])
