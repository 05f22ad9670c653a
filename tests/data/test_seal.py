"""The seal on the test rows: what is noticed, how looks are counted, and what each opening leaves in the ledger."""

from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trimtab.data import Dataset, Split, Table, make_split
from trimtab.data.seal import Look, Seal, count_looks
from trimtab.errors import IntegrityError
from trimtab.ledger import Ledger


def make(rows: int = 40) -> Dataset:
    return Dataset(
        name="tiny",
        kind="table",
        labels=np.arange(rows) % 2,
        class_names=("a", "b"),
        content_hash="c" * 64,
        row_names=[f"row {row + 1}" for row in range(rows)],
        table=Table(columns={"x": np.arange(float(rows))}, kinds={"x": "number"}),
    )


def divide(dataset: Dataset) -> Split:
    return make_split(dataset, validation_fraction=0.2, test_fraction=0.2, seed=0)


def open_test(split: Split, dataset: Dataset, run: Path, model: str, others: list[Path] | None = None) -> Look:
    run.mkdir(exist_ok=True)
    ledger = Ledger(run / "ledger.jsonl")
    return split.open_test(
        dataset, ledger, caller="test", model=model, level_of=lambda k: 1 - 0.1 / k, neighbours=others or []
    )[1]


def test_each_opening_is_in_the_ledger_with_model_look_and_level(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    assert [open_test(split, dataset, tmp_path, model).number for model in ("m1", "m2", "m1", "m3")] == [1, 2, 1, 3]
    events = Ledger(tmp_path / "ledger.jsonl").events("test_opened")
    assert [(event["models"], event["opening"], event["level"]) for event in events] == [
        (["m1"], 1, 0.9),
        (["m2"], 2, 0.95),
        (["m1"], 1, 0.9),
        (["m3"], 3, 1 - 0.1 / 3),
    ]
    assert {event["rows"] for event in events} == {8}
    assert {event["test_hash"] for event in events} == {split.test_hash}


def test_looks_of_runs_beside_it_count_when_they_are_at_the_same_rows(tmp_path: Path) -> None:
    dataset, other = make(), make(60)
    split = divide(dataset)
    open_test(split, dataset, tmp_path / "first", "m1")
    open_test(divide(other), other, tmp_path / "elsewhere", "m9")
    neighbours = [tmp_path / name / "ledger.jsonl" for name in ("elsewhere", "first")]
    look = open_test(split, dataset, tmp_path / "second", "m2", neighbours)
    assert (look.number, look.others, look.warnings) == (2, ("first",), ())
    same = open_test(split, dataset, tmp_path / "repeated", "m1", neighbours)
    assert (same.number, same.others) == (1, ())


def test_a_neighbours_altered_ledger_is_named_and_not_counted(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    open_test(split, dataset, tmp_path / "first", "m1")
    path = tmp_path / "first" / "ledger.jsonl"
    path.write_text(path.read_text().replace("m1", "m2"))
    look = open_test(split, dataset, tmp_path / "second", "m2", [path])
    assert look.number == 1
    assert look.warnings == (
        f"looks at the test rows by another run are not counted: line 1 of {path} does not continue the chain of "
        "hashes; expected a ledger that only trimtab has written to; restore the file from a copy or start a new run.",
    )
    with pytest.raises(IntegrityError, match="does not continue the chain of hashes"):
        count_looks([path], [], test_hash=split.test_hash, models=["m2"])


def test_equal_rows_have_other_seals_and_the_same_salt_the_same_seal() -> None:
    dataset, rows = make(), np.arange(5)
    one, two = Seal.of(dataset, rows), Seal.of(dataset, rows)
    assert one.sha256 != two.sha256
    assert Seal.of(dataset, rows, salt=one.salt) == one


@pytest.mark.parametrize("what", ["feature", "label", "picture"])
def test_a_changed_test_row_is_noticed_before_it_is_used(tmp_path: Path, what: str) -> None:
    dataset = make()
    if what == "picture":
        dataset = dataclasses.replace(dataset, kind="image", table=None, images=np.zeros((40, 2, 2, 1), np.uint8))
    split = divide(dataset)
    row = int(open_row(split, dataset, tmp_path))
    changed = {
        "feature": lambda: dataclasses.replace(
            dataset, table=Table(columns={"x": np.arange(40.0) + (np.arange(40) == row)}, kinds={"x": "number"})
        ),
        "label": lambda: dataclasses.replace(dataset, labels=dataset.labels ^ (np.arange(40) == row)),
        "picture": lambda: dataclasses.replace(
            dataset, images=(np.arange(40) == row).astype(np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), "u1")
        ),
    }[what]()
    with pytest.raises(IntegrityError) as caught:
        open_test(split, changed, tmp_path, "m")
    assert str(caught.value) == (
        "the 8 sealed test rows of tiny are not those that were set apart; expected the features and labels of the 8 "
        "rows that the seal was made of; restore the data from a copy, or start a new run."
    )


def open_row(split: Split, dataset: Dataset, directory: Path) -> int:
    ledger = Ledger(directory / "other.jsonl")
    return split.open_test(dataset, ledger, caller="test", model="m", level_of=lambda k: 0.95)[0][0]


@pytest.mark.parametrize("change", ["no seal", "another seal", "another salt"])
def test_a_seal_that_the_ledger_does_not_know_is_refused(tmp_path: Path, change: str) -> None:
    dataset = make()
    split = divide(dataset)
    split.save(tmp_path / "split")
    split.note_seal(Ledger(tmp_path / "ledger.jsonl"))
    split.note_seal(Ledger(tmp_path / "ledger.jsonl"))
    assert len(Ledger(tmp_path / "ledger.jsonl").events("sealed")) == 1
    path = tmp_path / "split" / "split.json"
    content = json.loads(path.read_text())
    test = np.load(tmp_path / "split" / "test.npy")
    content["seal"] = {
        "no seal": None,
        "another seal": Seal.of(dataset, test, salt="x").to_dict(),
        "another salt": {**content["seal"], "salt": "x"},
    }[change]
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError) as caught:
        open_test(Split.load(tmp_path / "split"), dataset, tmp_path, "m")
    assert str(caught.value) == (
        f"the test part of {tmp_path} or its seal is not the one that its ledger noted; expected the seal "
        f"{split.seal.sha256[:12]} of 8 rows; restore the split from a copy, or start a new run."
    )


def test_splits_saved_before_there_were_seals_are_opened(tmp_path: Path) -> None:
    dataset = make()
    split = dataclasses.replace(divide(dataset), seal=None)
    split.save(tmp_path)
    loaded = Split.load(tmp_path)
    assert loaded.seal is None
    assert open_test(loaded, dataset, tmp_path, "m").number == 1


def test_a_number_once_given_is_kept_and_never_given_again(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    ledgers = [tmp_path / name / "ledger.jsonl" for name in ("a", "b", "c")]
    for path, model in zip(ledgers, ("m1", "m2", "m3"), strict=True):
        open_test(split, dataset, path.parent, model, [other for other in ledgers if other.exists()])
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    assert open_test(split, dataset, tmp_path / "c", "m3").number == 3
    assert open_test(split, dataset, tmp_path / "d", "m4", ledgers[2:]).number == 4


def test_a_neighbour_that_looked_often_is_named_once(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    for model in ("m1", "m2"):
        open_test(split, dataset, tmp_path / "a", model)
    look = open_test(split, dataset, tmp_path / "b", "m3", [tmp_path / "a" / "ledger.jsonl"])
    assert (look.number, look.others) == (3, ("a",))


def test_a_neighbours_ledger_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    dataset = make()
    (tmp_path / "a" / "ledger.jsonl").mkdir(parents=True)
    look = open_test(divide(dataset), dataset, tmp_path / "b", "m", [tmp_path / "a" / "ledger.jsonl"])
    assert look.number == 1
    assert "Is a directory" in look.warnings[0]


def test_the_same_examples_decoded_otherwise_are_the_same_test_rows(tmp_path: Path) -> None:
    small = dataclasses.replace(make(), kind="image", table=None, images=np.zeros((40, 2, 2, 1), np.uint8))
    large = dataclasses.replace(small, images=np.zeros((40, 4, 4, 1), np.uint8), content_hash="d" * 64)
    assert divide(small).test_hash == divide(large).test_hash
    renamed = dataclasses.replace(small, row_names=[f"other {row}" for row in range(40)])
    assert divide(small).test_hash != divide(renamed).test_hash


def test_changed_groups_and_missing_rows_are_noticed(tmp_path: Path) -> None:
    dataset = dataclasses.replace(make(), groups=np.arange(40) // 2)
    split = divide(dataset)
    for changed in (dataclasses.replace(dataset, groups=np.arange(40)), make(8)):
        with pytest.raises(IntegrityError, match="8 sealed test rows of tiny are not those that were set apart"):
            open_test(split, changed, tmp_path, "m")
    assert not (tmp_path / "ledger.jsonl").exists(), "nothing was opened"


def test_a_change_of_training_rows_leaves_the_test_rows_as_they_were(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    column = np.arange(40.0)
    column[split.train] = 0
    changed = dataclasses.replace(
        dataset, content_hash="d" * 64, table=Table(columns={"x": column}, kinds={"x": "number"})
    )
    assert open_test(split, changed, tmp_path, "m").number == 1
    with pytest.raises(IntegrityError) as caught:
        open_test(dataclasses.replace(split, seal=None), changed, tmp_path, "m")
    assert str(caught.value) == (
        "tiny is not what it was when its 8 test rows were set apart; expected the same content; "
        "restore the data from a copy, or start a new run."
    )


def test_rows_and_seal_replaced_together_are_not_those_in_the_ledger(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    split.note_seal(Ledger(tmp_path / "ledger.jsonl"))
    rows = np.flatnonzero(~np.isin(np.arange(40), split.train))[:8]
    other = dataclasses.replace(split, seal=Seal.of(dataset, rows), _test=rows)
    with pytest.raises(IntegrityError, match="or its seal is not the one that its ledger noted"):
        open_test(other, dataset, tmp_path, "m")


def test_runs_that_open_at_the_same_moment_take_different_numbers(tmp_path: Path) -> None:
    dataset = make()
    split = divide(dataset)
    ledgers = [tmp_path / f"run{number}" / "ledger.jsonl" for number in range(8)]
    for path in ledgers:
        Ledger(path).append("started")

    def look(number: int) -> int:
        others = [path for path in ledgers if path != ledgers[number]]
        return open_test(split, dataset, ledgers[number].parent, f"m{number}", others).number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(look, range(8))) == [1, 2, 3, 4, 5, 6, 7, 8]
