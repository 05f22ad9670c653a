import json
import re

import numpy as np
import pytest

from trimtab import numpy_nn
from trimtab.artifact import Artifact
from trimtab.errors import InputError, IntegrityError
from trimtab.generalization.ensembles import Ensemble, Member, hash_ensemble, predict_out_of_fold, predict_rows
from trimtab.models import build
from trimtab.training.rows import Rows

KWARGS = {"in_features": 4, "hidden": [6], "num_classes": 3, "dropout": 0.0}
TABLE = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
COMPUTE = {"engine": "numpy", "threads": 1}


def a_model(seed: int) -> Artifact:
    network = build(numpy_nn, "mlp", KWARGS)
    network.reset_parameters(np.random.default_rng(seed))
    return Artifact(builder="mlp", kwargs=KWARGS, arrays=network.state_dict(), meta={"scale": float(seed)})


def read(artifact: Artifact, numbers: np.ndarray) -> Rows:
    """Each model brings the preprocessing that was fitted for it: a factor."""
    return Rows.of(artifact.meta["scale"] * TABLE[numbers], np.zeros(len(numbers), np.int64), num_classes=3)


@pytest.fixture
def ensemble(tmp_path):
    for seed in (1, 2, 3):
        a_model(seed).save(tmp_path / "cv" / f"{seed:02d}")
    paths = [tmp_path / "cv" / f"{seed:02d}" for seed in (1, 2, 3)]
    members = (Member.of("two", 0.75, paths[:2]), Member.of("one", 0.25, paths[2:]))
    return Ensemble(class_names=("a", "b", "c"), members=members, data_hash="d", test_hash="t", facts={"losses": [0.5]})


def test_the_vote_is_the_weighted_mean_of_all_models(ensemble):
    numbers = np.array([3, 0, 17])
    answers = [predict_rows(a_model(seed), read, numbers, **COMPUTE) for seed in (1, 2, 3)]
    expected = 0.375 * answers[0] + 0.375 * answers[1] + 0.25 * answers[2]
    found = ensemble.predict_proba(read, numbers, **COMPUTE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert ensemble.model_count == 3


def test_an_ensemble_is_read_as_it_was_written_also_from_elsewhere(ensemble, tmp_path):
    ensemble.save(tmp_path / "cv" / "ensemble")
    assert Ensemble.load(tmp_path / "cv" / "ensemble") == ensemble
    (tmp_path / "cv").rename(tmp_path / "moved")
    moved = Ensemble.load(tmp_path / "moved" / "ensemble")
    assert moved.members[0].models[0] == tmp_path / "moved" / "01"
    numbers = np.arange(30)
    assert moved.predict_proba(read, numbers, **COMPUTE).shape == (30, 3)


def test_ensembles_of_other_models_have_other_hashes(ensemble, tmp_path):
    ensemble.save(tmp_path / "cv" / "ensemble")
    before = hash_ensemble(tmp_path / "cv" / "ensemble")
    a_model(9).save(tmp_path / "cv" / "03")
    members = (*ensemble.members[:1], Member.of("one", 0.25, [tmp_path / "cv" / "03"]))
    Ensemble(class_names=("a", "b", "c"), members=members, data_hash="d", test_hash="t", facts={}).save(
        tmp_path / "cv" / "ensemble"
    )
    assert hash_ensemble(tmp_path / "cv" / "ensemble") != before


def test_a_model_that_was_replaced_is_refused(ensemble, tmp_path):
    a_model(9).save(tmp_path / "cv" / "02")
    with pytest.raises(IntegrityError, match=r"cv/02 is not the one that was selected; expected weights with the hash"):
        ensemble.predict_proba(read, np.arange(3), **COMPUTE)


def test_where_there_is_no_ensemble_that_is_said(tmp_path):
    words = (
        f"there is no ensemble at {tmp_path}; expected a folder with ensemble.json, which `trimtab ensemble` makes; "
        "run `trimtab ensemble` on a cross-validation first."
    )
    with pytest.raises(InputError, match=re.escape(words)):
        Ensemble.load(tmp_path)


@pytest.mark.parametrize("change", [{"format": "x"}, {"members": [{}]}, {"odd": 1}])
def test_a_file_of_another_form_is_refused(ensemble, tmp_path, change):
    ensemble.save(tmp_path)
    content = json.loads((tmp_path / "ensemble.json").read_text())
    (tmp_path / "ensemble.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(IntegrityError, match="is not an ensemble that was written whole"):
        Ensemble.load(tmp_path)


def test_each_model_answers_the_rows_that_it_was_not_trained_on():
    models, held_out = [a_model(1), a_model(2)], [np.array([0, 3, 5]), np.array([1, 2, 4])]
    found = predict_out_of_fold(models, held_out, read, **COMPUTE)
    for model, numbers in zip(models, held_out, strict=True):
        np.testing.assert_array_equal(found[numbers], predict_rows(model, read, numbers, **COMPUTE))
