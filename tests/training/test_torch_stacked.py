"""Networks trained together are those trained alone, up to the last bits of sums."""

import dataclasses

import numpy as np
import pytest

from trimtab.artifact import Artifact
from trimtab.errors import TrainingError
from trimtab.training.loop import train
from trimtab.training.rows import Rows
from trimtab.training.stacked_loop import Member, train_together
from trimtab.training.stepper import predict_probabilities
from trimtab.training.torch_stacked import make_stacked
from trimtab.training.torch_steps import make_stepper
from trimtab.training.watch import Watch

HIDDEN = [24, 12]


def make_rows(count: int, width: int, seed: int) -> Rows:
    """Rows of three classes that their first numbers tell apart, more or less."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    features = random.normal(size=(count, width)).astype(np.float32)
    features[:, :3] += 1.5 * np.eye(3, dtype=np.float32)[labels]
    return Rows.of(features, labels)


def make_member(width: int, seed: int, *, dropout: float = 0.2, rows: int = 150) -> Member:
    kwargs = {"in_features": width, "hidden": HIDDEN, "num_classes": 3, "dropout": dropout}
    return Member(kwargs=kwargs, training=make_rows(rows, width, seed), validation=make_rows(40, width, seed + 100))


@pytest.fixture
def members():
    """Three networks, of which one has fewer features; passes over their rows have the same number of steps."""
    return [make_member(10, 0), make_member(10, 1, rows=158), make_member(7, 2)]


@pytest.fixture
def settings(recipe):
    return recipe(augment="none", threads=1, steps=60, label_smoothing=0.05, weight_decay=0.1, batch_size=16)


def alone(member: Member, settings):
    return train("mlp", member.kwargs, member.training, member.validation, settings)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_step_together_is_a_step_of_each_alone(settings, dropout):
    members = [make_member(10, 0, dropout=dropout), make_member(7, 1, dropout=dropout)]
    together = make_stacked(members, settings)
    steppers = [make_stepper("mlp", member.kwargs, member.training, settings) for member in members]
    for step in range(20):
        losses = together.step(step, 0.003)
        np.testing.assert_allclose(losses, [stepper.step(step, 0.003) for stepper in steppers], rtol=1e-4)
    for index, stepper in enumerate(steppers):
        found, expected = together.weights(index), stepper.weights()
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert found[name].shape == array.shape
            assert found[name].dtype == array.dtype
            # Normalization takes away what a bias before it adds, so rounding alone moves these.
            if name not in ("0.bias", "4.bias", "1.running_mean", "5.running_mean"):
                np.testing.assert_allclose(found[name], array, atol=2e-4, err_msg=name)


def test_each_network_ends_as_it_does_alone(members, settings):
    settings = dataclasses.replace(settings, learning_rate=0.003)
    for member, found in zip(members, train_together(members, settings), strict=True):
        expected = alone(member, settings)
        assert [row["step"] for row in found.history] == [row["step"] for row in expected.history]
        for name in ("train_loss", "validation_loss"):
            values = [[row[name] for row in each.history] for each in (found, expected)]
            np.testing.assert_allclose(*values, rtol=1e-2, err_msg=name)
        artifacts = [
            Artifact(builder="mlp", kwargs=dict(member.kwargs), arrays=each.arrays) for each in (found, expected)
        ]
        answers = [predict_probabilities(each, member.validation, engine="torch", threads=1) for each in artifacts]
        # Rounding alone moves a bias before a normalization, whose running mean follows a little behind.
        np.testing.assert_allclose(*answers, atol=1e-2)
        assert found.corrections == expected.corrections


def test_the_best_weights_are_kept_and_not_the_last(members, settings):
    """At a constant and far too high rate later weights are worse than earlier ones."""
    rough = dataclasses.replace(settings, schedule="constant", learning_rate=0.3, steps=120)
    for member, found in zip(members, train_together(members, rough), strict=True):
        losses = [row["validation_loss"] for row in found.history]
        artifact = Artifact(builder="mlp", kwargs=dict(member.kwargs), arrays=found.arrays)
        answers = predict_probabilities(artifact, member.validation, engine="torch", threads=1)
        chosen = answers[np.arange(len(answers)), member.validation.labels]
        assert -np.log(chosen).mean() == pytest.approx(min(losses), rel=1e-3)


def test_the_same_steps_give_the_same_weights_bit_for_bit(members, settings):
    first, again = train_together(members, settings), train_together(members, settings)
    for one, two in zip(first, again, strict=True):
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, two.arrays[name])


def test_a_trial_changes_nothing(members, settings):
    network, untouched = make_stacked(members, settings), make_stacked(members, settings)
    twin = network.copy()
    for step in range(3):
        twin.step(step, 0.01)
    for name, array in network.weights(0).items():
        np.testing.assert_array_equal(array, untouched.weights(0)[name])
    np.testing.assert_array_equal(network.step(0, 0.01), untouched.step(0, 0.01))


def test_a_timed_run_ends_when_its_time_does(members, settings):
    clock = Clock()
    watch = Watch(seconds_left=lambda: 3.0 - clock.now, clock=clock.read, on_step=lambda done, total: clock.pass_(0.01))
    timed = dataclasses.replace(settings, steps=None, epochs_at_most=10_000)
    found = train_together(members, timed, watch=watch)
    assert 0.9 * 3.0 <= clock.now <= 3.1
    assert found[0].ending in ("the time was used up", "the time was up")


class Clock:
    """A clock that moves a little whenever it is read, and by a step's time at each step."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        self.now += 1e-4
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def test_patience_ends_it_when_none_gets_better(members, settings):
    patient = dataclasses.replace(settings, patience=2, steps=1000, learning_rate=0.1, schedule="constant")
    found = train_together(members, patient)
    assert found[0].history[-1]["step"] < 1000
    assert "no better validation loss" in found[0].ending


def test_divergence_is_said(members, settings):
    with pytest.raises(TrainingError, match=r"training diverged: after .* steps with learning rate 1e\+30"):
        train_together(members, dataclasses.replace(settings, learning_rate=1e30, steps=30))
