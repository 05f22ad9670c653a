"""Teachers: a run, and ONNX files of any origin, each asked its own way, or refused in a sentence."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import trimtab
from trimtab.artifact import Artifact
from trimtab.console import Console
from trimtab.data import Split, open_source
from trimtab.data.images import resize_image
from trimtab.errors import InputError
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.stages.teachers import open_teacher, reader_of

NETWORK = {"model": "cnn", "options": {"channels": [16, 32, 32]}, "engine": "numpy", "minutes": 2}
PLAN = Plan(data="digits", engine="numpy", threads=1)
ROWS = np.array([3, 700, 41, 1200])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trimtab.run("digits", out=tmp_path_factory.mktemp("teacher") / "run", steps=60, **NETWORK).directory


@pytest.fixture(scope="module")
def digits(whole):
    return open_source("digits").load(image_size=8), Split.load(whole / "data" / "split")


def foreign(path, shape, *, classes=10, makes_probabilities=False, inputs=1):
    """Write a linear model of pictures in another layout, and return its weights [values, classes]."""
    values = int(np.prod(shape[1:]))
    weights = np.random.default_rng(5).normal(0, 0.5, (values, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["picture"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    if makes_probabilities:
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ["picture", "mask"][:inputs]]
    out = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [shape[0], classes])
    graph = helper.make_graph(nodes, "foreign", given, [out], [numpy_helper.from_array(weights, "weights")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return weights


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_a_run_teaches_with_its_own_network(whole, digits):
    dataset, split = digits
    teacher = open_teacher(whole, dataset, split, PLAN)
    artifact = Artifact.load(whole / "model")
    from trimtab.generalization.ensembles import predict_rows

    expected = predict_rows(artifact, reader_of(dataset), ROWS, engine="numpy", threads=1)
    np.testing.assert_array_equal(teacher.answers(ROWS), expected)
    assert (teacher.sha256, teacher.models, teacher.doubt) == (artifact.sha256, 1, "")


def test_a_file_of_our_own_has_its_preprocessing_inside(whole, digits):
    dataset, split = digits
    teacher = open_teacher(whole / "bundle" / "model.onnx", dataset, split, PLAN)
    expected = trimtab.load(whole).predict_proba(np.asarray(dataset.images)[ROWS])
    np.testing.assert_allclose(teacher.answers(ROWS), expected, atol=1e-5)
    assert "cannot be known" in teacher.doubt


@pytest.mark.parametrize("makes_probabilities", [False, True])
@pytest.mark.parametrize("batch", ["N", 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_another_file_gets_pictures_at_its_size_in_its_layout_and_normalized(
    digits, tmp_path, layout, batch, makes_probabilities
):
    dataset, split = digits
    shape = [batch, 1, 12, 12] if layout == "NCHW" else [batch, 12, 12, 1]
    weights = foreign(tmp_path / "other.onnx", shape, makes_probabilities=makes_probabilities)
    plan = Plan(data="digits", engine="numpy", threads=1, teacher_mean="0.3", teacher_std="0.25")
    found = open_teacher(tmp_path / "other.onnx", dataset, split, plan).answers(ROWS)
    pictures = np.stack([resize_image(picture, 12) for picture in np.asarray(dataset.images)[ROWS]])
    expected = softmax(((pictures / 255 - 0.3) / 0.25).reshape(len(ROWS), -1) @ weights)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_other_numbers_to_normalize_with_make_another_teacher(digits, tmp_path):
    dataset, split = digits
    foreign(tmp_path / "other.onnx", ["N", 1, 8, 8])
    plans = [PLAN, Plan(data="digits", engine="numpy", threads=1, teacher_mean="0.5")]
    hashes = {open_teacher(tmp_path / "other.onnx", dataset, split, plan).sha256 for plan in plans}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("shape", "settings", "plan", "sentence"),
    [
        (["N", 1, 8, 8], {"classes": 7}, {}, "answers with [7] numbers for a picture; expected 10, one for each class"),
        (["N", 1, 8, 8], {"inputs": 2}, {}, "'mask': tensor(float) [N, 1, 8, 8]; expected one input of float [N, 1, H"),
        (
            ["N", 3, 8, 8],
            {},
            {},
            "takes 'picture': tensor(float) [N, 3, 8, 8]; expected one input of float [N, 1, H, W",
        ),
        (["N", 1, 8, 8], {}, {"teacher_std": "0"}, "--teacher-std is '0'; expected a number, or 1 with commas between"),
        (["N", 1, 8, 8], {}, {"teacher_mean": "dark"}, "--teacher-mean is 'dark'; expected a number"),
        (["N", 1, 8, 8], {}, {"teacher_mean": "0.1,0.2"}, "--teacher-mean is '0.1,0.2'; expected a number"),
    ],
)
def test_what_cannot_teach_is_refused(digits, tmp_path, shape, settings, plan, sentence):
    dataset, split = digits
    foreign(tmp_path / "other.onnx", shape, **settings)
    plan = Plan(data="digits", threads=1, **plan)
    with pytest.raises(InputError, match=re.escape(sentence)):
        open_teacher(tmp_path / "other.onnx", dataset, split, plan).answers(ROWS)


def test_no_teacher_a_broken_file_or_a_file_for_a_table_are_refused(digits, tmp_path):
    dataset, split = digits
    with pytest.raises(InputError, match=r"there is no teacher at .*nobody; expected a folder with ensemble\.json"):
        open_teacher(tmp_path / "nobody", dataset, split, PLAN)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(trimtab.TrimtabError, match=r"broken\.onnx cannot be loaded"):
        open_teacher(tmp_path / "broken.onnx", dataset, split, PLAN)
    with pytest.raises(InputError, match=r"wine is a table; expected a file as teacher for pictures alone"):
        open_teacher(tmp_path / "broken.onnx", open_source("wine").load(), split, PLAN)


def test_a_run_that_knows_the_test_rows_or_other_data_teaches_nobody(whole, tmp_path):
    for data, settings, sentence in [
        ("digits", {"seed": 1}, "was trained on rows that are test rows of this run"),
        ("wine", {"model": "mlp", "options": {}}, "was made from other data than wine is now"),
    ]:
        with pytest.raises(InputError, match=sentence):
            trimtab.train(data, out=tmp_path / "run", teacher=str(whole), steps=3, **{**NETWORK, **settings})
        assert not (tmp_path / "run").exists()


def test_a_run_learns_from_another_run_and_says_so(whole, tmp_path):
    settings = {**NETWORK, "options": {"channels": [4, 8, 8]}}
    made = trimtab.train("digits", out=tmp_path / "run", teacher=str(whole), steps=20, **settings)
    (event,) = Ledger(made.directory / "ledger.jsonl").events("teacher")
    assert event["teacher"] == Artifact.load(whole / "model").sha256
    assert event["models"] == 1


@pytest.mark.slow
def test_compress_learns_from_another_teacher_and_does_not_take_over_what_the_former_taught(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    told: list[str] = []
    console = Console(is_quiet=True)
    console.warn = told.append  # type: ignore[method-assign]
    limit = 0.4e-6 * (run / "compression" / "as-trained" / "int8" / "model.onnx").stat().st_size
    settings = {"megabytes": limit, "max_drop": 90, "minutes": 0.5, "console": console}
    first = trimtab.compress(run, **settings)
    taught = next(rung.network for rung in first.rungs if "distilled" in rung.network)
    folder = first.directory / taught.replace("%", "").replace(",", "").replace(" ", "-")
    made_of = json.loads((folder / "network.json").read_text())["made_of"]
    trimtab.compress(run, teacher=run / "bundle" / "model.onnx", **settings)
    assert json.loads((folder / "network.json").read_text())["made_of"] != made_of
    assert any("cannot be known" in text for text in told)
