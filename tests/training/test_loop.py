import dataclasses
import hashlib
import math

import numpy as np
import pytest

from trimtab.errors import TrainingError
from trimtab.training.batches import Rows
from trimtab.training.loop import train
from trimtab.training.stepper import make_stepper, using_threads, validate
from trimtab.training.watch import Watch


def digest(trained):
    return hashlib.sha256(b"".join(trained.arrays[key].tobytes() for key in sorted(trained.arrays))).hexdigest()


@pytest.fixture(autouse=True)
def _uncompiled(monkeypatch):
    """Hours on a clock that is moved by hand are no reason to compile for a minute."""
    monkeypatch.setattr("trimtab.training.probe._COMPILATION_SECONDS", math.inf)


class Clock:
    """Time that passes as steps are done, ``cost(step)`` seconds each, and whenever the probe reads it."""

    def __init__(self, budget, cost=lambda step: 1.0, probe=1.0):
        self.now, self.budget, self.cost, self.probe = 0.0, budget, cost, probe

    def watch(self, **calls):
        return Watch(
            clock=self.read,
            seconds_left=lambda: self.budget - self.now,
            on_step=self.tick,
            on_probe=self.end_probe,
            **calls,
        )

    def read(self):
        self.now += self.probe
        return self.now

    def end_probe(self, trial):
        self.probe = 0.0

    def tick(self, done, total):
        self.now += self.cost(done)


def test_training_learns(pictures, network, recipe, engine):
    trained = train(*network, *pictures, recipe(steps=80, engine=engine))
    assert trained.history[-1]["validation_accuracy"] > 0.9
    assert trained.history[-1]["validation_loss"] < trained.history[0]["validation_loss"]


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(pictures, network, recipe, engine):
    first, second = (digest(train(*network, *pictures, recipe(engine=engine))) for _ in range(2))
    assert first == second
    assert digest(train(*network, *pictures, recipe(engine=engine, seed=4))) != first


@pytest.mark.parametrize(("unsaved", "newest"), [(math.inf, 20), (0.0, 26)])
@pytest.mark.parametrize(("optimizer", "ema"), [("adamw", 0.0), ("adamw", 0.9), ("muon", 0.9), ("sgd", 0.9)])
def test_a_run_killed_anywhere_resumes_to_the_same_weights(
    pictures, network, recipe, engine, tmp_path, monkeypatch, optimizer, ema, unsaved, newest
):
    monkeypatch.setattr("trimtab.training.loop._CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("trimtab.training.loop._UNSAVED_SECONDS", unsaved)
    monkeypatch.setattr("trimtab.training.loop._SAVING_SHARE", math.inf)
    settings = recipe(engine=engine, optimizer=optimizer, ema=ema)
    whole = train(*network, *pictures, settings)

    class Killed(BaseException):
        pass

    def die_at(step):
        def on_step(done, total):
            if done == step:
                raise Killed

        return Watch(on_step=on_step)

    resumed = []
    for step in (13, 27):
        with pytest.raises(Killed):
            train(*network, *pictures, settings, watch=die_at(step), checkpoints=tmp_path)
    trained = train(
        *network,
        *pictures,
        settings,
        watch=Watch(on_resume=lambda history, step: resumed.append(step)),
        checkpoints=tmp_path,
    )
    assert resumed == [newest]
    assert digest(trained) == digest(whole)
    columns = ("epoch", "step", "train_loss", "validation_loss", "learning_rate")
    assert [[row[name] for name in columns] for row in trained.history] == [
        [row[name] for name in columns] for row in whole.history
    ]


def test_a_damaged_checkpoint_is_passed_over(pictures, network, recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.training.loop._CHECKPOINT_SECONDS", 0.0)
    whole = train(*network, *pictures, recipe(), checkpoints=tmp_path)
    (newest,) = tmp_path.glob("step_*")
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (newest / "model.safetensors").write_bytes(bytes(content))
    again = train(*network, *pictures, recipe(), checkpoints=tmp_path)
    assert digest(again) == digest(whole)


def test_a_timed_run_ends_within_its_time_with_the_learning_rate_at_zero(pictures, network, recipe):
    clock = Clock(200.0)
    trained = train(*network, *pictures, recipe(steps=None), watch=clock.watch())
    assert 0.9 * 200 <= clock.now <= 200
    assert trained.history[-1]["learning_rate"] < 0.03 * 0.01


def test_a_machine_that_slows_down_shortens_the_run(pictures, network, recipe):
    clock = Clock(400.0, cost=lambda step: 1.0 if step < 100 else 3.0)
    corrections = []
    trained = train(*network, *pictures, recipe(steps=None), watch=clock.watch(on_correction=corrections.append))
    assert clock.now <= 1.02 * 400
    assert corrections[0].total_steps > trained.corrections[-1].total_steps
    assert any(correction.reason == "steps were slower than planned" for correction in corrections)
    assert trained.history[-1]["learning_rate"] < 0.1 * 0.01


def test_a_timed_run_is_repeated_bit_for_bit_by_its_corrections(pictures, network, recipe, engine):
    clock = Clock(300.0, cost=lambda step: 0.7 if step < 120 else 2.0 + step % 3)
    settings = recipe(engine=engine, steps=None, patience=6)
    original = train(*network, *pictures, settings, watch=clock.watch())
    assert len(original.corrections) > 1
    replayed = train(*network, *pictures, settings, replay=original.corrections, mode=original.mode)
    assert digest(replayed) == digest(original)
    assert replayed.corrections == original.corrections


def test_a_run_stopped_by_the_user_is_repeated_too(pictures, network, recipe):
    stopped = train(*network, *pictures, recipe(steps=50), watch=_stop_after(33))
    assert stopped.ending == "stopped by the user"
    assert stopped.history[-1]["step"] == 33
    replayed = train(*network, *pictures, recipe(steps=50), replay=stopped.corrections)
    assert digest(replayed) == digest(stopped)
    assert replayed.corrections == stopped.corrections


def _stop_after(step):
    seen = []
    return Watch(on_step=lambda done, total: seen.append(done), wants_to_stop=lambda: seen[-1] >= step)


def test_the_time_of_the_probe_is_not_taken_for_steps(pictures, network, recipe):
    clock = Clock(400.0, probe=10.0)
    trained = train(*network, *pictures, recipe(steps=None), watch=clock.watch())
    assert clock.now <= 400
    totals = [correction.total_steps for correction in trained.corrections]
    assert totals == sorted(totals), "a slow probe is corrected upwards only"


def test_a_machine_that_speeds_up_near_the_end_is_used_to_the_end(pictures, network, recipe):
    clock = Clock(600.0, cost=lambda step: 3.0 if step < 180 else 0.5)
    train(*network, *pictures, recipe(steps=None, epochs_at_most=500), watch=clock.watch())
    assert 0.95 * 600 <= clock.now <= 600


@pytest.mark.parametrize("patience", [0, 100])
def test_a_slow_stretch_does_not_shorten_the_run_for_good(pictures, network, recipe, patience):
    clock = Clock(400.0, cost=lambda step: 4.0 if 40 <= step < 50 else 1.0)
    train(*network, *pictures, recipe(steps=None, patience=patience), watch=clock.watch())
    assert 0.93 * 400 <= clock.now <= 400


def test_an_end_brought_forward_is_not_put_off_again(pictures, network, recipe):
    training, validation = pictures
    labels = validation.labels.copy()
    labels[:20] = labels[:20][::-1].copy()  # hard enough that validation stalls while there is much time left
    hard = dataclasses.replace(validation, labels=labels)
    trained = train(*network, training, hard, recipe(steps=None, patience=2), watch=Clock(5000.0).watch())
    stalls = [index for index, entry in enumerate(trained.corrections) if "no better" in entry.reason]
    assert stalls
    assert all("faster" not in entry.reason for entry in trained.corrections[stalls[0] :])


def test_a_loss_that_stops_being_a_number_keeps_the_best_weights_before(
    pictures, network, recipe, engine, tmp_path, monkeypatch
):
    settings = recipe(engine=engine, steps=400, optimizer="sgd", learning_rate=1e6, weight_decay=0.5)
    monkeypatch.setattr("trimtab.training.loop.learning_rate_factor", lambda schedule, progress: max(0, progress - 0.5))
    trained = train(*network, *pictures, settings, checkpoints=tmp_path)
    assert trained.ending == "the loss was not a number any more: the best weights before that are kept"
    assert all(np.isfinite(array).all() for array in trained.arrays.values())
    assert trained.history[-1]["train_loss"] is None
    replayed = train(*network, *pictures, settings, replay=trained.corrections)
    assert digest(replayed) == digest(trained)
    assert replayed.corrections == trained.corrections


@pytest.mark.parametrize("stop", [3, 30])
def test_a_repetition_can_be_stopped_too(pictures, network, recipe, stop):
    original = train(*network, *pictures, recipe(steps=40))
    stopped = train(*network, *pictures, recipe(steps=40), replay=original.corrections, watch=_stop_after(stop))
    assert stopped.history[-1]["step"] == stop


def test_a_stalled_run_brings_its_end_forward(pictures, network, recipe):
    training, validation = pictures
    nonsense = dataclasses.replace(validation, labels=validation.labels[::-1].copy())
    trained = train(*network, training, nonsense, recipe(steps=1000, patience=2))
    assert trained.corrections[-1].total_steps < 1000
    assert "no better validation loss" in trained.ending
    assert trained.history[-1]["learning_rate"] < 0.03 * 0.01


def test_the_best_weights_by_validation_are_returned(pictures, network, recipe, engine):
    settings = recipe(engine=engine, steps=60, learning_rate=0.05, schedule="constant")
    trained = train(*network, *pictures, settings)
    with using_threads(engine, settings.threads):
        stepper = make_stepper(*network, pictures[0], settings)
        stepper.load_weights(trained.arrays)
        loss, _ = validate(stepper, pictures[1])
    assert loss == min(row["validation_loss"] for row in trained.history)


def test_a_loss_that_is_no_number_says_what_to_do(pictures, network, recipe, engine):
    settings = recipe(engine=engine, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(TrainingError) as caught:
        train(*network, *pictures, settings)
    assert str(caught.value) == (
        "training diverged: after 10 steps with learning rate 1e+30 no weights were finite; expected a loss that "
        "falls; lower it with --learning-rate or look for wrong values in the data."
    )


def test_passes_over_the_data_are_limited(pictures, network, recipe):
    trained = train(*network, *pictures, recipe(steps=None, epochs_at_most=3), watch=Clock(1e9).watch())
    assert trained.corrections[-1].total_steps == 30
    assert "3 passes" in trained.ending


def test_tables_train_too(recipe, engine):
    features = np.random.default_rng(0).standard_normal((300, 5), dtype=np.float32)
    rows = Rows.of(features, (features[:, 0] + features[:, 1] > 0).astype(np.int64))
    kwargs = {"in_features": 5, "hidden": [16], "num_classes": 2}
    trained = train("mlp", kwargs, rows, rows, recipe(engine=engine, steps=100, augment="none"))
    assert trained.history[-1]["validation_accuracy"] > 0.9
    assert math.isfinite(trained.seconds)
