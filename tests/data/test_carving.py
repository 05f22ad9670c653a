"""Copies stay in one part, classes keep their shares, and without copies nothing changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.data import Dataset, Table, make_split


def make(labels, **fields):
    labels = np.asarray(labels, dtype=np.int64)
    return Dataset(
        name="tiny",
        kind="table",
        labels=labels,
        class_names=tuple("abcdef"[: int(labels.max()) + 1]),
        content_hash="c" * 64,
        row_names=[f"row {row + 1}" for row in range(len(labels))],
        table=Table(columns={"x": np.arange(float(len(labels)))}, kinds={"x": "number"}),
        **fields,
    )


def parts_of(dataset, copies, *, validation=0.15, test=0.15, seed=0):
    """The part of each row: 0 training, 1 validation, 2 test."""
    found = make_split(dataset, validation_fraction=validation, test_fraction=test, seed=seed, copies=copies)
    parts = np.full(len(dataset), 2)
    parts[found.train], parts[found.validation] = 0, 1
    return parts


def divided(numbers, parts):
    """How many clusters have rows in several parts."""
    pairs = np.unique(np.stack([numbers, parts]), axis=1)
    return len(pairs[0]) - len(np.unique(pairs[0]))


@given(
    seed=st.integers(0, 1000),
    clusters=st.integers(60, 300),
    classes=st.integers(2, 4),
    has_mixed_labels=st.booleans(),
)
def test_copies_stay_in_one_part_and_every_part_has_every_class(seed, clusters, classes, has_mixed_labels):
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, clusters, 400)
    numbers = np.unique(numbers, return_index=True, return_inverse=True)[1][np.unique(numbers, return_inverse=True)[1]]
    labels = rng.integers(0, classes, 400)
    if not has_mixed_labels:
        labels = labels[numbers]
    labels[numbers[:10]] = np.arange(10) % classes
    parts = parts_of(make(labels), numbers, seed=seed)
    assert divided(numbers, parts) == 0
    assert {(int(part), int(label)) for part, label in zip(parts, labels, strict=True)} == {
        (part, label) for part in range(3) for label in range(classes)
    }


def test_shares_come_out_right_with_every_row_doubled():
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    doubled = np.concatenate([np.arange(1000), np.arange(1000)])
    parts = parts_of(make(np.concatenate([labels, labels])), doubled, validation=0.1, test=0.2)
    assert divided(doubled, parts) == 0
    assert np.bincount(parts).tolist() == [1400, 200, 400]
    assert np.bincount(np.concatenate([labels, labels])[parts == 2]).tolist() == [280, 80, 40]


def test_a_copied_row_is_as_likely_in_the_test_part_as_any_other():
    numbers = np.arange(200)
    numbers[1:200:10] = numbers[0:200:10]
    shares = [(parts_of(make(np.arange(200) % 2), numbers, seed=seed)[::10] == 2).mean() for seed in range(40)]
    assert abs(np.mean(shares) - 0.15) < 0.04


@pytest.mark.parametrize("fields", [{}, {"groups": np.arange(300) // 3}])
def test_without_copies_the_split_is_what_it_was(fields):
    dataset = make(np.arange(300) % 2, **fields)
    assert (parts_of(dataset, np.arange(300)) == parts_of(dataset, None)).all()


def test_one_large_cluster_does_not_fill_the_test_part():
    numbers = np.arange(400)
    numbers[:100] = 0
    parts = parts_of(make(np.arange(400) % 2), numbers)
    assert divided(numbers, parts) == 0
    assert np.bincount(parts).tolist() == [280, 60, 60]


def test_a_class_made_of_copies_of_one_row_is_divided_all_the_same():
    numbers = np.arange(100)
    numbers[80:], numbers[1] = 80, 0
    parts = parts_of(make(np.repeat([0, 1], [80, 20])), numbers)
    assert set(parts[80:].tolist()) == {0, 1, 2}
    assert parts[0] == parts[1]
    assert divided(numbers, parts) == 2  # of the class of copies alone


def test_groups_and_copies_are_kept_together_at_once():
    rng = np.random.default_rng(0)
    groups, numbers = rng.integers(0, 60, 600), np.arange(600)
    numbers[500:510] = np.arange(10)
    dataset = make(rng.integers(0, 2, 600), groups=groups)
    parts = parts_of(dataset, numbers)
    assert divided(groups, parts) == divided(numbers, parts) == 0


def test_groups_joined_by_copies_into_too_few_are_kept_without_the_copies():
    groups = np.repeat(np.arange(30), 10)
    numbers = np.arange(300)
    numbers[::10] = 0
    dataset = make(np.arange(300) % 2, groups=groups)
    assert (parts_of(dataset, numbers) >= 0).all()
    assert divided(groups, parts_of(dataset, numbers)) == 0


def test_a_given_test_part_keeps_its_copies():
    given_parts = np.array([0] * 160 + [2] * 40, dtype=np.int8)
    numbers = np.arange(200)
    numbers[160:180], numbers[20:30] = np.arange(20), np.arange(30, 40)
    numbers[30:40] = numbers[20:30] = np.arange(20, 30)
    parts = parts_of(make(np.arange(200) % 2, parts=given_parts), numbers)
    assert (parts == 2).tolist() == (given_parts == 2).tolist()
    assert divided(numbers[20:160], parts[20:160]) == 0
