"""trimtab.Classifier: scikit-learn's own suite, its tools, and what it takes as X."""

import doctest
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import trimtab
from trimtab import Classifier

# Checks that scikit-learn leaves out by itself, and where the same is tested here. No check is expected to fail.
SKIPPED = {
    "check_array_api_input": "needs SCIPY_ARRAY_API=1 when scipy is imported: in a process of its own, below",
    "check_classifier_data_not_an_array": "its second half needs pandas: frames of PyArrow are tested below",
}
EXPECTED_TO_FAIL: dict[str, str] = {}


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def people():
    """A frame with numbers, text, truth values and missing cells, and classes that follow age and job."""
    random = np.random.default_rng(0)
    age, job, member = random.integers(18, 80, 300), random.choice(["cook", "clerk", "smith"], 300), random.random(300)
    frame = pa.table(
        {
            "age": pa.array(age, mask=random.random(300) < 0.05),
            "job": pa.array(job.tolist()).dictionary_encode(),
            "member": pa.array((member < 0.5).tolist()),
        }
    )
    return frame, np.where(age / 80 + (job == "smith") > 0.9, "yes", "no")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:400].reshape(-1, 8, 8, 1) * 15.9375).astype(np.uint8), y[:400]


def fit(data, **settings):
    return Classifier(**{"steps": 60, **settings}).fit(*data)


# ---- scikit-learn's suite ----


@pytest.mark.slow
def test_it_passes_the_checks_that_scikit_learn_makes_of_estimators():
    results = check_estimator(
        Classifier(steps=120), expected_failed_checks=EXPECTED_TO_FAIL, on_skip=None, on_fail="raise"
    )
    assert len(results) > 50
    assert {result["check_name"] for result in results if result["status"] == "skipped"} <= SKIPPED.keys()
    assert {result["status"] for result in results} <= {"passed", "skipped"}


@pytest.mark.slow
def test_it_passes_the_check_that_needs_a_process_of_its_own():
    code = """
from sklearn.utils.estimator_checks import check_array_api_input
from trimtab import Classifier
check_array_api_input("Classifier", Classifier(steps=5), "numpy", expect_only_array_outputs=False)
print("passed")
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False, env=environment
    )
    assert result.stdout.strip() == "passed", result.stderr


def test_the_example_in_its_documentation_is_right():
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(Classifier, "Classifier", globs={})
    assert len(example.examples) == 5
    assert doctest.DocTestRunner().run(example).failed == 0


# ---- scikit-learn's tools ----


def test_cross_validation_scores_it_by_probabilities_too(cancer):
    scores = cross_validate(Classifier(steps=60), *cancer, cv=3, scoring=("accuracy", "roc_auc", "neg_log_loss"))
    assert scores["test_accuracy"].mean() > 0.9
    assert scores["test_roc_auc"].mean() > 0.97
    assert scores["test_neg_log_loss"].mean() > -0.3


def test_a_grid_search_in_a_pipeline_finds_its_settings(cancer):
    pipeline = make_pipeline(StandardScaler(), Classifier(steps=40, learning_rate=0.01))
    grid = {"classifier__hidden": [[4], (16, 8)], "classifier__batch_size": np.array([32, 64])}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*cancer)
    assert search.best_score_ > 0.85
    assert search.best_estimator_[-1].plan_.options["hidden"] in ([4], [16, 8])


def test_its_probabilities_can_be_calibrated(cancer):
    calibrated = CalibratedClassifierCV(Classifier(steps=40), method="sigmoid", cv=2).fit(*cancer)
    assert calibrated.score(*cancer) > 0.9


# ---- what it takes ----


def test_a_frame_of_numbers_and_categories_is_encoded_by_columns(people):
    frame, y = people
    fitted = fit(people, steps=200)
    assert fitted.score(frame, y) > 0.9
    assert fitted.feature_names_in_.tolist() == ["age", "job", "member"]
    kinds = [column["kind"] for column in fitted.artifact_.meta["encoder"]["columns"]]
    assert kinds == ["number", "category", "category"]
    assert fitted.classes_.tolist() == ["no", "yes"]


def test_frames_go_through_cross_validation(people):
    assert cross_validate(Classifier(steps=60), *people, cv=2, error_score="raise")["test_score"].mean() > 0.7


def test_a_frame_whose_columns_have_other_names_is_refused(people):
    fitted = fit(people, steps=1)
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        fitted.predict(people[0].rename_columns(["age", "trade", "member"]))
    with pytest.raises(ValueError, match="The feature names should match"):
        fitted.predict(people[0].select(["age", "job"]))


def test_values_and_gaps_that_were_not_seen_are_no_mistake(people):
    fitted = fit(people, steps=1)
    strange = pa.table({"age": pa.array([None], pa.int64()), "job": ["pilot"], "member": pa.array([None], pa.bool_())})
    assert fitted.predict_proba(strange).sum() == pytest.approx(1)


def test_text_where_numbers_were_is_refused(people):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is below
        fit(people, steps=1).predict(pa.table({"age": ["old"], "job": ["cook"], "member": [True]}))
    assert str(caught.value) == (
        "the column 'age' holds text ('old'); expected numbers, as when it was fitted; convert it."
    )


def test_a_table_that_torch_has_learned_is_predicted_by_numpy(cancer):
    fitted = fit(cancer, engine="torch", learning_rate=0.01)
    assert fitted.score(*cancer) > 0.9
    assert fitted.plan_.engine == "torch"
    assert fitted.predict_proba(cancer[0][:1]) == pytest.approx(fitted.predict_proba(cancer[0])[:1], rel=1e-12)


def test_missing_numbers_in_an_array_are_no_mistake(cancer):
    X, y = cancer
    holey = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    assert fit((holey, y), steps=150).score(holey, y) > 0.9


def test_infinite_numbers_are_refused(cancer):
    X = cancer[0].copy()
    X[3, 4] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        fit((X, cancer[1]))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.slow
def test_pictures_are_classified_by_a_convolutional_network(digits, engine):
    X, y = digits
    fitted = fit((X[:300], y[:300]), engine=engine, options={"channels": [16, 32]}, model="cnn", steps=150)
    assert fitted.score(X[300:], y[300:]) > 0.8
    assert fitted.artifact_.builder == "cnn"
    assert fitted.n_features_in_ == 64
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.predict_proba(X[:3]).shape == (3, 10)


def test_pictures_of_other_sizes_are_squashed_and_other_arrays_refused(digits):
    fitted = fit(digits, options={"channels": [4, 4]}, model="cnn", steps=1)
    assert fitted.predict(np.zeros((2, 20, 10, 1), np.uint8)).shape == (2,)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is below
        fitted.predict(np.zeros((2, 64)))
    assert str(caught.value) == "X is float64 [2, 64]; expected pictures, uint8 [N, H, W, 1 or 3]; convert it."
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is below
        fitted.predict(np.zeros((2, 8, 8, 3), np.uint8))
    assert str(caught.value) == "X has 3 channels; expected 1, as in fit; convert it."


def test_pictures_that_are_no_bytes_are_refused():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is below
        Classifier().fit(np.zeros((4, 8, 8, 1)), [0, 0, 1, 1])
    assert str(caught.value) == (
        "X is float64 [4, 8, 8, 1]; expected numbers [N, F], or pictures, uint8 [N, H, W, 1 or 3]; convert it."
    )


# ---- settings ----


def test_settings_reach_the_plan(cancer):
    settings = {"l1": 0.01, "dropout": 0.3, "optimizer": "sgd", "learning_rate": 0.02, "mixup": 0.2, "ema": 0.9}
    plan = fit(cancer, steps=2, random_state=7, **settings).plan_
    assert {name: getattr(plan, name) for name in settings} == settings
    assert (plan.steps, plan.seed, plan.engine, plan.minutes) == (2, 7, "numpy", None)


def test_the_same_random_state_gives_the_same_probabilities_and_another_one_others(cancer):
    X = cancer[0]
    first, again, other, drawn = (
        fit(cancer, steps=5, random_state=state).predict_proba(X) for state in (3, 3, 4, np.random.RandomState(0))
    )
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, drawn)


def test_a_copy_has_the_settings_and_nothing_learned(cancer):
    copied = clone(fit(cancer, steps=1, hidden=[8, 4]))
    assert copied.get_params()["hidden"] == [8, 4]
    assert not hasattr(copied, "classes_")


def test_the_history_tells_what_validation_said(cancer):
    history = fit(cancer).history_
    assert history[-1]["step"] == 60
    assert history[-1]["validation_loss"] < history[0]["validation_loss"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"steps": 5, "minutes": 1},
            "minutes and steps are given; expected one of them; leave the others out.",
        ),
        (
            {"steps": None, "epochs": 0},
            "epochs is 0; expected a whole number above 0; change it or leave it out.",
        ),
        (
            {"optimizer": "adam"},
            "optimizer is 'adam'; expected one of adamw, muon, sgd for a table; did you mean 'adamw'? change it or "
            "leave it out.",
        ),
        (
            {"validation_fraction": 0.95},
            "validation_fraction is 0.95; expected a number above 0, at most 0.9; change it or leave it out.",
        ),
        (
            {"model": "cnn"},
            "model is 'cnn'; expected one of mlp for a table; change it or leave it out.",
        ),
    ],
)
def test_a_setting_that_is_not_possible_is_named(cancer, settings, sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is below
        fit(cancer, **settings)
    assert str(caught.value) == sentence


def test_a_setting_of_the_wrong_type_is_named(cancer):
    with pytest.raises(TypeError) as caught:
        fit(cancer, batch_size="large")
    assert str(caught.value) == "batch_size is 'large', not a whole number; expected the types of Plan; correct them."


def test_one_class_is_too_few(cancer):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole sentence is below
        Classifier().fit(cancer[0], np.ones(len(cancer[0])))
    assert str(caught.value) == "y has 1 class; expected at least 2; add rows of another class."


# ---- the door ----


def test_trimtab_names_it_and_loads_scikit_learn_only_when_asked_for():
    code = (
        "import sys, trimtab; before = 'sklearn' in sys.modules; trimtab.Classifier; "
        "print(before, 'sklearn' in sys.modules, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.split() == ["False", "True", "False"], result.stderr
    assert "Classifier" in trimtab.__all__


def test_without_scikit_learn_it_says_what_to_install():
    code = """
import sys
sys.modules["sklearn"] = None
import trimtab
try:
    trimtab.Classifier
except ModuleNotFoundError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.strip() == (
        "sklearn is not installed; expected scikit-learn for trimtab.Classifier; pip install 'trimtab[run]'."
    ), result.stderr
