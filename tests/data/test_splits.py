import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.data import Dataset, Split, Table, make_split
from trimtab.errors import InputError, IntegrityError
from trimtab.ledger import Ledger


def make(counts: list[int], **fields: Any) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Dataset(
        name="tiny",
        kind="table",
        labels=labels,
        class_names=tuple("abcdefgh"[: len(counts)]),
        content_hash="c" * 64,
        row_names=[f"row {row + 1}" for row in range(len(labels))],
        table=Table(columns={"x": np.arange(float(len(labels)))}, kinds={"x": "number"}),
        **fields,
    )


def split(dataset: Dataset, validation: float = 0.2, test: float = 0.2, seed: int = 0) -> Split:
    return make_split(dataset, validation_fraction=validation, test_fraction=test, seed=seed)


def open_test(found: Split, dataset: Dataset, directory: Path) -> Any:
    ledger = Ledger(directory / "ledger.jsonl")
    return found.open_test(dataset, ledger, caller="test", model="a", level_of=lambda k: 0.95)[0]


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(3, 60), min_size=2, max_size=6),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    seed=st.integers(0, 1000),
)
def test_every_row_is_in_one_part_and_every_class_in_every_part(
    counts: list[int], validation: float, test: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dataset = make(counts)
    found = split(dataset, validation, test, seed)
    parts = [found.train, found.validation, open_test(found, dataset, tmp_path_factory.mktemp("ledger"))]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(dataset)))
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert part.dtype == np.int64
        assert set(dataset.labels[part]) == set(range(len(counts)))


def test_class_shares_are_kept() -> None:
    dataset = make([700, 200, 100])
    found = split(dataset, 0.1, 0.2)
    assert np.bincount(dataset.labels[found.train]).tolist() == [490, 140, 70]
    assert np.bincount(dataset.labels[found.validation]).tolist() == [70, 20, 10]
    assert found.test_count == 200


def test_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    dataset = make([50, 50])
    assert split(dataset, seed=1).test_hash == split(dataset, seed=1).test_hash
    assert split(dataset, seed=1).test_hash != split(dataset, seed=2).test_hash


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        split(make([9, 2]))
    assert str(caught.value) == (
        "tiny has too few examples of 'b' (2) to divide; expected at least 3 of each class; "
        "add some, or merge or remove these classes."
    )


@pytest.mark.parametrize(("validation", "test"), [(0, 0.1), (0.1, 0), (0.5, 0.5), (float("nan"), 0.1)])
def test_impossible_fractions_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="expected both above 0 and a sum below 1"):
        split(make([9, 9]), validation, test)


def test_given_parts_are_kept(tmp_path: Path) -> None:
    parts = np.array([0, 0, 1, 2] * 4, dtype=np.int8)
    dataset = make([8, 8], parts=parts)
    found = split(dataset)
    assert (parts[found.train] == 0).all()
    assert (parts[found.validation] == 1).all()
    assert (parts[open_test(found, dataset, tmp_path)] == 2).all()


def test_missing_validation_is_taken_from_training_never_from_test(tmp_path: Path) -> None:
    parts = np.array([0, 0, 0, 2] * 10, dtype=np.int8)
    dataset = make([20, 20], parts=parts)
    found = split(dataset)
    assert (parts[found.validation] == 0).all()
    assert len(found.validation) == 6
    assert open_test(found, dataset, tmp_path).tolist() == np.flatnonzero(parts == 2).tolist()


def test_missing_test_is_taken_from_training(tmp_path: Path) -> None:
    parts = np.array([0, 0, -1, 1] * 10, dtype=np.int8)
    dataset = make([20, 20], parts=parts)
    found = split(dataset)
    assert found.validation.tolist() == np.flatnonzero(parts == 1).tolist()
    assert (parts[open_test(found, dataset, tmp_path)] <= 0).all()
    assert found.test_count == 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), groups=st.integers(12, 40))
def test_groups_stay_whole(seed: int, groups: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = np.random.default_rng(seed)
    dataset = make([100, 100], groups=rng.integers(0, groups, 200))
    found = split(dataset, seed=seed)
    assert dataset.groups is not None
    parts = [found.train, found.validation, open_test(found, dataset, tmp_path_factory.mktemp("ledger"))]
    assert sum(len(part) for part in parts) == 200
    sets = [set(dataset.groups[part]) for part in parts]
    assert sum(len(one) for one in sets) == len(set.union(*sets))
    assert all(set(dataset.labels[part]) == {0, 1} for part in parts)


def test_group_split_comes_close_to_the_fractions() -> None:
    rng = np.random.default_rng(0)
    dataset = make([600, 400], groups=rng.integers(0, 200, 1000))
    found = split(dataset, 0.15, 0.25)
    assert abs(found.test_count - 250) < 15
    assert abs(len(found.validation) - 150) < 15
    assert abs(dataset.labels[found.validation].mean() - 0.4) < 0.05


def test_class_in_too_few_groups_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        split(make([6, 6], groups=np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7])))
    assert str(caught.value) == (
        "tiny has too few groups of 'b' (2) to divide; expected at least 3 of each class; "
        "add some, or merge or remove these classes."
    )


def test_given_split_that_divides_a_group_is_refused() -> None:
    dataset = make([6, 6], groups=np.repeat(np.arange(6), 2), parts=np.array([0, 2] * 6, dtype=np.int8))
    with pytest.raises(InputError) as caught:
        split(dataset)
    assert str(caught.value) == (
        "the split that tiny came with divides 6 groups; expected each group in one part; "
        "move them, or leave --group out."
    )


def test_test_rows_are_not_shown_by_accident() -> None:
    assert "_test" not in repr(split(make([20, 20])))


def test_saved_split_is_loaded_as_it_was(tmp_path: Path) -> None:
    found = split(make([20, 20]))
    found.save(tmp_path)
    loaded = Split.load(tmp_path)
    assert loaded.train.tolist() == found.train.tolist()
    assert loaded.validation.tolist() == found.validation.tolist()
    assert loaded.test_hash == found.test_hash
    assert loaded.data_hash == "c" * 64


@pytest.mark.parametrize("name", ["train.npy", "validation.npy", "test.npy"])
def test_altered_rows_are_noticed(tmp_path: Path, name: str) -> None:
    split(make([20, 20])).save(tmp_path)
    rows = np.load(tmp_path / name, allow_pickle=False)
    rows[0] += 1
    np.save(tmp_path / name, rows)
    with pytest.raises(IntegrityError) as caught:
        Split.load(tmp_path)
    assert str(caught.value) == (
        f"the split in {tmp_path} is not the one that was written ({name} differs from its hash); "
        "expected train.npy, validation.npy, test.npy and split.json as they were saved; "
        "restore these files or start a new run."
    )


@pytest.mark.parametrize("change", ["missing", "noise", "other_data"])
def test_altered_description_is_noticed(tmp_path: Path, change: str) -> None:
    split(make([20, 20])).save(tmp_path)
    path = tmp_path / "split.json"
    if change == "missing":
        path.unlink()
    elif change == "noise":
        path.write_text("[]")
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), "data_hash": "d" * 64}))
    with pytest.raises(IntegrityError, match="is not the one that was written"):
        Split.load(tmp_path)
