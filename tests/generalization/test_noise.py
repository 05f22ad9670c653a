"""Labels that were changed are suspect, and hardly any others."""

import numpy as np

from trimtab.generalization.noise import doubt, usual_confidence


def probabilities(labels, *, sure=0.9, classes=4):
    shares = np.full((len(labels), classes), (1 - sure) / (classes - 1))
    shares[np.arange(len(labels)), labels] = sure
    return shares


def test_changed_labels_are_suspect_and_the_true_class_is_suggested():
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=400)
    given = truth.copy()
    changed = rng.choice(400, 60, replace=False)
    given[changed] = (truth[changed] + 1) % 4
    found = doubt(given, probabilities(truth))
    assert set(np.flatnonzero(found.is_suspect)) == set(changed)
    assert (found.suggested[changed] == truth[changed]).all()
    assert found.share == 0.15
    assert (found.margins[changed] > 0).all()


def test_labels_that_the_model_agrees_with_are_not():
    labels = np.arange(40) % 4
    assert not doubt(labels, probabilities(labels)).is_suspect.any()


def test_a_class_that_the_model_is_usually_surer_of_needs_more():
    labels = np.array([0, 0, 0, 1, 1, 1])
    shares = np.array([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.4, 0.6], [0.4, 0.6], [0.4, 0.6]])
    assert usual_confidence(labels, shares).tolist() == [np.mean([0.95, 0.95, 0.45]), 0.6]
    assert not doubt(labels, shares).is_suspect.any()


def test_a_class_without_rows_is_never_suggested():
    labels = np.zeros(5, np.int64)
    shares = np.tile([0.1, 0.8, 0.1], (5, 1))
    assert usual_confidence(labels, shares).tolist() == [0.1, 1, 1]
    assert not doubt(labels, shares).is_suspect.any()


def test_what_is_usual_may_come_from_other_rows():
    labels, shares = np.array([0]), np.array([[0.3, 0.7]])
    assert not doubt(labels, shares, np.array([0.9, 0.8])).is_suspect.any()
    assert doubt(labels, shares, np.array([0.9, 0.6])).is_suspect.all()
