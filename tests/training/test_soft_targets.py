import re
from dataclasses import replace

import numpy as np
import pytest

from trimtab.training.batches import Batches, Rows, first_batch
from trimtab.training.soft_targets import soft_targets, softened
from trimtab.training.stepper import make_stepper, validate


def teacher(count: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(7).dirichlet(np.ones(classes), count).astype(np.float32)


def with_teacher(rows: Rows) -> Rows:
    return replace(rows, targets=teacher(len(rows), rows.num_classes))


def a_table(count: int = 48) -> Rows:
    random = np.random.default_rng(0)
    return Rows.of(random.standard_normal((count, 5), np.float32), random.integers(0, 3, count), num_classes=3)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_target_is_the_mixture_of_label_and_teacher(weight):
    rows = with_teacher(a_table())
    expected = (1 - weight) * np.eye(3)[rows.labels] + weight * rows.targets
    found = soft_targets(rows, weight=weight, temperature=1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_a_teacher_or_without_weight_there_is_nothing_but_labels():
    assert soft_targets(a_table(), weight=0.7, temperature=1.0) is None
    assert soft_targets(with_teacher(a_table()), weight=0.0, temperature=1.0) is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_is_that_of_a_softmax(temperature):
    probabilities = teacher(40, 5)
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    found = softened(probabilities, temperature)
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_a_teacher_that_is_certain_stays_finite_at_any_temperature():
    found = softened(np.eye(3, dtype=np.float32), 0.01)
    np.testing.assert_allclose(found, np.eye(3), atol=1e-6)
    assert np.isfinite(softened(np.eye(3, dtype=np.float32), 100)).all()


def test_the_teacher_is_not_changed():
    rows = with_teacher(a_table())
    before = rows.targets.copy()
    soft_targets(rows, weight=0.5, temperature=2.0)
    np.testing.assert_array_equal(rows.targets, before)


def test_targets_of_another_shape_are_refused():
    rows = replace(a_table(), targets=teacher(48, 4))
    words = (
        "targets are [48, 4] for 48 rows and 3 classes; expected a row of probabilities for each; "
        "give the teacher's for these rows."
    )
    with pytest.raises(ValueError, match=re.escape(words)):
        soft_targets(rows, weight=0.5, temperature=1.0)


def test_a_weight_that_is_no_share_is_refused():
    words = "distill_weight is 2 and distill_temperature 1; expected a share and a number above 0; change them."
    with pytest.raises(ValueError, match=re.escape(words)):
        soft_targets(with_teacher(a_table()), weight=2.0, temperature=1.0)


def test_each_row_of_a_batch_has_its_own_target(recipe):
    rows = with_teacher(Rows.of(a_table().inputs, np.arange(48) % 3, num_classes=3))
    whole = soft_targets(rows, weight=0.6, temperature=1.0)
    by_row = {row.tobytes(): target for row, target in zip(rows.inputs, whole, strict=True)}
    inputs, labels = Batches(rows, recipe(augment="none", distill_weight=0.6)).at(5)
    for row, target in zip(inputs, labels, strict=True):
        np.testing.assert_array_equal(target, by_row[row.tobytes()])


@pytest.mark.parametrize("mixing", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_targets_are_mixed_as_the_pictures_are(recipe, mixing):
    """Each picture has one value, and its target is linear in that value: so is that of a mixture."""
    values = np.arange(48, dtype=np.uint8)
    pictures = values[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    rows = Rows.of(pictures, np.zeros(48, np.int64), num_classes=2, mean=[0.0], std=[1 / 255])
    share = (values / 47).astype(np.float32)
    rows = replace(rows, targets=np.stack([share, 1 - share], axis=1))
    inputs, labels = Batches(rows, recipe(augment="none", distill_weight=1.0, **mixing)).at(2)
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels[:, 0], inputs.mean(axis=(1, 2, 3)) / 47, atol=0.5 / 47)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)


def test_parts_of_a_batch_with_a_teacher_are_slices_of_the_whole(pictures, recipe):
    batches = Batches(with_teacher(pictures[0]), recipe(distill_weight=0.5, mixup=0.3))
    whole = batches.at(7)
    for part in (slice(0, 4), slice(4, 16), slice(1, 12, 3)):
        for array, expected in zip(batches.at(7, part), whole, strict=True):
            np.testing.assert_array_equal(array, expected[part])


def test_a_teacher_without_weight_changes_no_batch(pictures, recipe):
    plain = Batches(pictures[0], recipe(mixup=0.2))
    taught = Batches(with_teacher(pictures[0]), recipe(mixup=0.2))
    for one, other in zip(plain.at(3), taught.at(3), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        first_batch(with_teacher(pictures[0]), recipe(distill_weight=0.5)), first_batch(pictures[0], recipe())
    )


def test_the_first_rows_keep_their_teacher(pictures):
    rows = with_teacher(pictures[0])
    np.testing.assert_array_equal(rows.first(10).targets, rows.targets[:10])
    assert pictures[0].first(10).targets is None


def test_both_engines_take_nearly_the_same_step_towards_a_teacher(recipe):
    rows, kwargs = with_teacher(a_table()), {"in_features": 5, "hidden": [16, 8], "num_classes": 3}
    settings = {"distill_weight": 0.8, "label_smoothing": 0.1, "augment": "none", "optimizer": "sgd"}
    steppers = [make_stepper("mlp", kwargs, rows, recipe(engine=engine, **settings)) for engine in ("torch", "numpy")]
    steppers[1].load_weights(steppers[0].weights())
    losses = [stepper.step(0, 0.01) for stepper in steppers]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    theirs, ours = (stepper.weights() for stepper in steppers)
    for key in theirs:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_network_learns_what_the_teacher_says_where_it_has_all_the_weight(recipe, engine):
    """The labels are chance; the teacher knows the sign of a feature."""
    random = np.random.default_rng(0)
    inputs = random.standard_normal((200, 4)).astype(np.float32)
    truth = (inputs[:, 0] > 0).astype(np.int64)
    rows = Rows.of(inputs, random.integers(0, 2, 200), num_classes=2)
    rows = replace(rows, targets=np.eye(2, dtype=np.float32)[truth] * 0.8 + 0.1)
    settings = recipe(engine=engine, augment="none", batch_size=50, distill_weight=1.0)
    stepper = make_stepper("mlp", {"in_features": 4, "hidden": [8], "num_classes": 2, "dropout": 0.0}, rows, settings)
    for step in range(60):
        stepper.step(step, 0.02)
    assert validate(stepper, replace(rows, labels=truth))[1] > 0.95
