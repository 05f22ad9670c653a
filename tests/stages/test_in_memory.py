import time
from dataclasses import replace

import numpy as np
import pytest

from trimtab.data import Dataset, Table
from trimtab.errors import InputError
from trimtab.plan import Plan
from trimtab.stages import in_memory
from trimtab.stages.features import features_of
from trimtab.stages.in_memory import fit_in_memory, hold_out, squash

CLASSES = np.repeat([0, 1, 2], [60, 39, 1])


def make_dataset(count, seed=0):
    random = np.random.default_rng(seed)
    values = random.standard_normal((count, 2))
    labels = (values[:, 0] > 0).astype(np.int64)
    columns = {"a": values[:, 0], "b": values[:, 1]}
    return Dataset(
        name="X",
        kind="table",
        labels=labels,
        class_names=("low", "high"),
        content_hash="",
        row_names=[""] * count,
        table=Table(columns=columns, kinds=dict.fromkeys(columns, "number")),
    )


def fit(count=40, *, epochs=None, holds_out=None, **settings):
    request = Plan(data="X", engine="numpy", threads=1, **settings)
    return fit_in_memory(make_dataset(count), request, epochs=epochs, holds_out=holds_out, started=time.perf_counter())


def test_each_class_gives_its_share_to_validation_but_never_its_only_row():
    training, validation = hold_out(CLASSES, 0.2, seed=0)
    assert np.array_equal(np.sort(np.concatenate([training, validation])), np.arange(100))
    assert np.bincount(CLASSES[validation], minlength=3).tolist() == [12, 7, 0]
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_every_class_stays_in_training_whatever_the_share(fraction):
    labels = np.array([0, 0, 1, 1, 1, 2])
    for seed in range(20):
        assert set(labels[hold_out(labels, fraction, seed=seed)[0]]) == {0, 1, 2}


def test_the_same_seed_holds_out_the_same_rows():
    first, second, other = (hold_out(CLASSES, 0.3, seed=seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_where_no_row_can_be_spared_the_rows_that_train_validate():
    training, validation = hold_out(np.array([0, 1, 2]), 0.3, seed=0)
    assert training.tolist() == validation.tolist() == [0, 1, 2]


def test_pictures_of_the_right_size_are_not_copied():
    images = np.zeros((3, 8, 8, 1), np.uint8)
    assert squash(images, 8) is images
    assert squash(images, 4).shape == (3, 4, 4, 1)


def test_steps_and_passes_fix_the_length():
    assert fit(steps=7).history[-1]["step"] == 7
    assert fit(epochs=3).plan.steps == 3 * (40 // 16)


def test_without_a_length_a_small_table_gets_a_few_hundred_steps():
    fitted = fit()
    assert fitted.plan.steps == 300
    assert fitted.plan.minutes is None
    assert fitted.history[-1]["validation_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("count", "settings", "parts"),
    [
        (40, {}, (40, 40)),
        (400, {}, (340, 60)),
        (400, {"holds_out": False}, (400, 400)),
        (40, {"holds_out": True, "validation_fraction": 0.25}, (30, 10)),
    ],
)
def test_rows_are_held_out_when_there_are_enough_or_when_asked_for(count, settings, parts, monkeypatch):
    seen = []

    def noting(*arguments):
        features = features_of(*arguments)
        seen.append((len(features.training), len(features.validation)))
        return features

    monkeypatch.setattr(in_memory, "features_of", noting)
    fit(count, steps=1, **settings)
    assert seen == [parts]


def test_minutes_end_training():
    started = time.perf_counter()
    fitted = fit(400, minutes=0.01, epochs_at_most=10**6, patience=0)
    assert fitted.plan.minutes == 0.01
    assert fitted.history[-1]["step"] > 10
    assert time.perf_counter() - started < 10


def test_a_table_in_which_nothing_varies_is_refused():
    constant = Table(columns={"a": np.ones(20)}, kinds={"a": "number"})
    dataset = replace(make_dataset(20), table=constant)
    with pytest.raises(InputError, match="no column of X varies within the 20 training rows"):
        fit_in_memory(dataset, Plan(data="X", engine="numpy", threads=1), started=time.perf_counter())
