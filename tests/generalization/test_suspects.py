"""Wrong labels are found where the problem is easy; hard rows are not taken for wrong labels."""

import numpy as np
import pytest

from trimtab.generalization.quick_model import out_of_fold, quick_inputs
from trimtab.generalization.suspects import doubt, estimate_noise, label_noise_finding, usual_confidence


def flipped(labels, share, classes, seed=2):
    rng = np.random.default_rng(seed)
    is_wrong = rng.random(len(labels)) < share
    return np.where(is_wrong, (labels + rng.integers(1, classes, len(labels))) % classes, labels), is_wrong


def finding_of(dataset, labels):
    dataset.labels[:] = labels
    return label_noise_finding(dataset, out_of_fold(quick_inputs(dataset), labels, dataset.num_classes))


def answers(labels, *, sure=0.9, classes=4):
    shares = np.full((len(labels), classes), (1 - sure) / (classes - 1))
    shares[np.arange(len(labels)), labels] = sure
    return shares


def test_the_confident_joint_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.15, 0.85], [0.1, 0.9], [0.45, 0.55], [0.05, 0.95]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # thresholds: 0.58 for class 0, 0.8 for class 1, which row 2 passes; row 4 is sure of nothing but right
    found = doubt(labels, probabilities)
    assert found.surest.tolist() == [2]
    assert found.suggested.tolist() == [0, 0, 1, 1, 1, 1]
    assert found.margins == pytest.approx([0, 0, 0.7, 0, 0, 0])


def test_the_surest_suspect_comes_first():
    probabilities = np.array([[0.95, 0.05]] * 8 + [[0.96, 0.04], [0.99, 0.01], [0.1, 0.9]])
    assert doubt(np.array([0] * 8 + [1, 1, 1]), probabilities).surest.tolist() == [9, 8]


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_wrong_labels_are_found_and_their_share_is_estimated(blobs, share):
    dataset = blobs(1500, distance=4.0, classes=3)
    labels, is_wrong = flipped(dataset.labels, share, 3)
    finding = finding_of(dataset, labels)
    assert finding.state == "found"
    assert finding.value == pytest.approx(share, abs=0.5 * share)
    assert finding.low < finding.value < finding.high
    found = doubt(labels, out_of_fold(quick_inputs(dataset), labels, 3)).surest
    assert is_wrong[found].mean() > 0.9
    assert np.isin(np.flatnonzero(is_wrong), found).mean() > 0.8


@pytest.mark.parametrize("distance", [0.0, 0.3, 0.6, 0.9, 1.2, 2.0, 3.0])
def test_hard_rows_are_not_taken_for_wrong_labels(blobs, distance):
    for seed in range(3):
        dataset = blobs(900, distance=distance, seed=seed)
        assert finding_of(dataset, dataset.labels).state != "found"


def test_where_all_is_hard_the_finding_says_that_it_cannot_tell(blobs):
    dataset = blobs(600, distance=0.4)
    finding = finding_of(dataset, dataset.labels)
    assert finding.state == "not applicable"
    assert finding.summary.endswith("but many rows are hard for it, so wrong labels cannot be told from hard rows.")


def test_few_rows_cannot_tell():
    labels = np.array([0, 1] * 20)
    noise = estimate_noise(labels, np.eye(2)[labels])
    assert not noise.can_tell
    assert noise.rate.value == 0
    assert noise.surest == 4


def test_changed_labels_are_suspect_and_the_true_class_is_suggested():
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=400)
    given = truth.copy()
    changed = rng.choice(400, 60, replace=False)
    given[changed] = (truth[changed] + 1) % 4
    found = doubt(given, answers(truth))
    assert set(np.flatnonzero(found.is_suspect)) == set(changed)
    assert (found.suggested[changed] == truth[changed]).all()
    assert found.share == 0.15
    assert (found.margins[changed] > 0).all()


def test_labels_that_the_model_agrees_with_are_not():
    labels = np.arange(40) % 4
    assert not doubt(labels, answers(labels)).is_suspect.any()


def test_a_class_that_the_model_is_usually_surer_of_needs_more():
    labels = np.array([0, 0, 0, 1, 1, 1])
    shares = np.array([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.4, 0.6], [0.4, 0.6], [0.4, 0.6]])
    assert usual_confidence(labels, shares).tolist() == [np.mean([0.95, 0.95, 0.45]), 0.6]
    assert not doubt(labels, shares).is_suspect.any()


def test_a_class_without_rows_is_never_suggested():
    labels = np.zeros(5, np.int64)
    shares = np.tile([0.1, 0.8, 0.1], (5, 1))
    assert usual_confidence(labels, shares).tolist() == [0.1, np.inf, np.inf]
    assert not doubt(labels, shares).is_suspect.any()


def test_what_is_usual_may_come_from_other_rows():
    labels, shares = np.array([0]), np.array([[0.3, 0.7]])
    assert not doubt(labels, shares, np.array([0.9, 0.8])).is_suspect.any()
    assert doubt(labels, shares, np.array([0.9, 0.6])).is_suspect.all()


def test_a_class_less_likely_than_the_label_is_no_objection():
    usual = np.array([0.9, 0.1])
    assert not doubt(np.array([0]), np.array([[0.8, 0.2]]), usual).is_suspect.any()
    assert doubt(np.array([0]), np.array([[0.4, 0.6]]), usual).is_suspect.all()
