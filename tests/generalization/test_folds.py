"""Folds: every row tested once, nothing known of what is tested, groups and moments whole, and refusals in words."""

import numpy as np
import pytest

from trimtab.data import Dataset, Table
from trimtab.errors import InputError
from trimtab.generalization.folds import Fold, Folding, decide_folding, make_folds, rare_classes


def make_dataset(rows: int = 90, *, groups: bool = False, times: bool = False, classes: int = 3) -> Dataset:
    random = np.random.default_rng(0)
    return Dataset(
        name="made-up",
        kind="table",
        labels=np.arange(rows) % classes,
        class_names=tuple("abcdefgh"[:classes]),
        content_hash="0" * 64,
        row_names=[f"row {row + 1}" for row in range(rows)],
        table=Table(columns={"x": random.normal(size=rows)}, kinds={"x": "number"}),
        groups=np.arange(rows) // 6 if groups else None,
        times=random.permutation(rows) // 2 if times else None,
    )


def folds_of(dataset: Dataset, pool=None, *, kind: str = "stratified", folds: int = 5, repeats: int = 1, seed: int = 0):
    pool = np.arange(len(dataset)) if pool is None else pool
    folding = Folding(kind=kind, folds=folds, repeats=repeats)
    return make_folds(dataset, pool, folding, selection_fraction=0.2, seed=seed)


def assert_is_sound(fold: Fold, pool) -> None:
    assert not set(fold.train) & set(fold.test)
    assert set(fold.train) | set(fold.test) <= set(pool)
    assert set(fold.selection) < set(fold.train)
    assert sorted([*fold.learned, *fold.selection]) == list(fold.train)
    for part in (fold.train, fold.selection, fold.test):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert len(part)


KINDS = [("stratified", False), ("grouped", True), ("stratified-grouped", True)]


@pytest.mark.parametrize(("kind", "has_groups"), KINDS)
def test_every_row_of_the_pool_is_tested_once_in_each_repeat(kind, has_groups):
    dataset, pool = make_dataset(groups=has_groups), np.arange(30, 90)
    found = folds_of(dataset, pool, kind=kind, folds=4, repeats=2)
    assert [fold.number for fold in found] == list(range(1, 9))
    assert [fold.repeat for fold in found] == [1, 1, 1, 1, 2, 2, 2, 2]
    for repeat in (1, 2):
        tested = np.concatenate([fold.test for fold in found if fold.repeat == repeat])
        assert sorted(tested) == list(pool)
    for fold in found:
        assert_is_sound(fold, pool)
    assert {tuple(fold.test) for fold in found[:4]} != {tuple(fold.test) for fold in found[4:]}


@pytest.mark.parametrize(("kind", "has_groups"), KINDS)
def test_the_same_seed_gives_the_same_folds_and_another_one_others(kind, has_groups):
    dataset = make_dataset(groups=has_groups)
    first, again, other = (folds_of(dataset, kind=kind, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.train, two.train)
        np.testing.assert_array_equal(one.selection, two.selection)
    assert any(list(one.test) != list(two.test) for one, two in zip(first, other, strict=True))


def test_stratified_folds_and_their_selections_have_the_classes_in_equal_shares():
    dataset = make_dataset()
    for fold in folds_of(dataset):
        assert np.bincount(dataset.labels[fold.test]).tolist() == [6, 6, 6]
        assert np.bincount(dataset.labels[fold.selection]).tolist() == [5, 5, 5]


@pytest.mark.parametrize("kind", ["grouped", "stratified-grouped", "leave-one-group-out"])
def test_no_group_stands_in_two_parts(kind):
    dataset = make_dataset(groups=True)
    found = folds_of(dataset, kind=kind)
    assert len(found) == (15 if kind == "leave-one-group-out" else 5)
    for fold in found:
        assert_is_sound(fold, range(90))
        parts = [set(dataset.groups[rows]) for rows in (fold.learned, fold.selection, fold.test)]
        assert len(set.union(*parts)) == sum(map(len, parts))


@pytest.mark.parametrize(("kind", "has_groups"), KINDS)
def test_copies_stay_in_one_part(kind, has_groups):
    dataset, copies = make_dataset(groups=has_groups), np.arange(90)
    copies[[3, 40, 77]], copies[[10, 88]] = 3, 10
    folding = Folding(kind=kind, folds=4, repeats=1)
    found = make_folds(dataset, np.arange(90), folding, selection_fraction=0.2, seed=0, copies=copies)
    assert sorted(np.concatenate([fold.test for fold in found])) == list(range(90))
    for fold in found:
        assert_is_sound(fold, range(90))
        for together in ({3, 40, 77}, {10, 88}):
            assert any(together <= set(part) for part in (fold.learned, fold.selection, fold.test))


def test_folds_of_rows_without_copies_are_those_that_they_would_be_had_nobody_looked():
    dataset, folding = make_dataset(), Folding(kind="stratified", folds=4, repeats=1)
    looked = make_folds(dataset, np.arange(90), folding, selection_fraction=0.2, seed=0, copies=np.arange(90))
    for fold, other in zip(looked, folds_of(dataset, folds=4), strict=True):
        for part in ("train", "selection", "test"):
            assert np.array_equal(getattr(fold, part), getattr(other, part))


def test_by_time_a_fold_is_tested_on_what_comes_after_its_training_rows():
    dataset = make_dataset(times=True)
    found = folds_of(dataset, kind="time")
    assert len(found) == 5
    for fold in found:
        assert_is_sound(fold, range(90))
        assert dataset.times[fold.train].max() < dataset.times[fold.test].min()
        assert dataset.times[fold.learned].max() <= dataset.times[fold.selection].min()
    assert [len(fold.test) for fold in found] == [15] * 5


def test_all_rows_of_a_rare_class_are_never_taken_away_from_training():
    dataset = make_dataset()
    labels = np.where(np.arange(90) < 2, 2, np.arange(90) % 2)
    rare = Dataset(**{**vars(dataset), "labels": labels})
    found = folds_of(rare)
    assert rare_classes(rare, np.arange(90), Folding()) == ["c"]
    for fold in found:
        assert len(set(labels[fold.learned])) == len(set(labels[fold.train]))


def test_what_was_asked_for_decides_the_kind():
    def kind(**given):
        defaults = {"kind": None, "folds": None, "repeats": 1, "has_groups": False, "has_times": False}
        return decide_folding(**defaults | given)

    assert kind() == Folding(kind="stratified", folds=5, repeats=1)
    assert kind(has_groups=True).kind == "stratified-grouped"
    assert kind(has_times=True).kind == "time"
    assert kind(kind="leave-one-group-out", has_groups=True).kind == "leave-one-group-out"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"kind": "stratifed"},
            "kind is 'stratifed'; expected one of stratified, grouped, stratified-grouped, time, leave-one-group-out; "
            "did you mean 'stratified'? pick one.",
        ),
        (
            {"kind": "grouped"},
            "kind is 'grouped' and there are no groups; expected the column of groups; give --group COLUMN.",
        ),
        (
            {"kind": "time"},
            "kind is 'time' and there are no times; expected the column that says when; give --time COLUMN.",
        ),
        (
            {"kind": "stratified", "has_groups": True},
            "kind is 'stratified' and there is a column of groups, which it would divide; expected one of grouped, "
            "stratified-grouped, leave-one-group-out; change --kind, or leave --group out.",
        ),
        (
            {"kind": "stratified", "has_times": True},
            "kind is 'stratified' and there is a column of times; expected kind time; leave --time or --kind out.",
        ),
        (
            {"kind": "leave-one-group-out", "has_groups": True, "folds": 3},
            "folds is 3 and kind is 'leave-one-group-out'; expected as many folds as there are groups; "
            "leave --folds out.",
        ),
        ({"folds": 1}, "folds is 1; expected 2 or more; leave --folds out for 5."),
        (
            {"repeats": 3, "has_times": True},
            "repeats is 3 and kind is 'time'; expected 1, since every repeat would have the same folds; "
            "leave --repeats out.",
        ),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(given, sentence):
    defaults = {"kind": None, "folds": None, "repeats": 1, "has_groups": False, "has_times": False}
    with pytest.raises(InputError) as caught:
        decide_folding(**defaults | given)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("dataset", "kind", "folds", "sentence"),
    [
        (
            make_dataset(9),
            "stratified",
            5,
            "made-up has 3 rows of its largest class outside its test part; expected at least 5 for 5 folds; "
            "lower --folds, or give more data.",
        ),
        (
            make_dataset(18, groups=True),
            "grouped",
            4,
            "made-up has 3 groups outside its test part; expected at least 4 for 4 folds; "
            "lower --folds, or give more data.",
        ),
        (
            make_dataset(12, groups=True),
            "leave-one-group-out",
            5,
            "a fold of made-up has one group to train on; expected 2 at least, one of which chooses the weights; "
            "give more groups.",
        ),
        (
            make_dataset(8, times=True),
            "time",
            4,
            "made-up has 4 moments outside its test part; expected at least 5 for 4 folds; "
            "lower --folds, or give more data.",
        ),
    ],
)
def test_too_little_data_is_said_in_a_sentence(dataset, kind, folds, sentence):
    with pytest.raises(InputError) as caught:
        folds_of(dataset, kind=kind, folds=folds)
    assert str(caught.value) == sentence
