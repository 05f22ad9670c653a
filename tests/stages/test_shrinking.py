"""The formats that a run tries, which it delivers, and what it says of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import trimtab
from trimtab.ledger import Ledger
from trimtab.plan import Plan
from trimtab.stages.formats import FORMATS
from trimtab.stages.shrinking import formats_of, seconds_of_formats, usual_formats

NETWORK = {"model": "cnn", "options": {"channels": [16, 32, 32]}, "engine": "numpy", "steps": 120}


def run(out, **settings):
    return trimtab.run("digits", out=out, **NETWORK, **settings)


def table_of(made):
    return json.loads((made.directory / "compression" / "table.json").read_text())


@pytest.fixture(scope="module")
def unlimited(tmp_path_factory):
    return run(tmp_path_factory.mktemp("unlimited") / "run", max_drop=5)


@pytest.fixture(scope="module")
def sizes(unlimited):
    return {row["variant"]: row["megabytes"] for row in table_of(unlimited)}


def test_without_limits_float_and_int8_are_tried_and_the_smallest_that_passes_is_delivered(unlimited):
    rows = table_of(unlimited)
    assert [row["variant"] for row in rows] == ["float32", "int8"]
    assert [row["delivered"] for row in rows] == [False, True]
    assert "the smallest that loses at most" in rows[1]["reason"]
    assert not (unlimited.directory / "compression" / "table.svg").exists()


def test_with_a_limit_the_most_exact_format_within_it_is_delivered_and_no_other_is_made(sizes, tmp_path):
    made = run(tmp_path / "run", megabytes=0.6 * sizes["float32"], max_drop=5)
    assert [row["variant"] for row in table_of(made)] == ["float32", "float16"]
    assert trimtab.load(made.directory).manifest["model"]["variant"] == "float16"
    assert made.verdict.is_met


def test_when_float_is_within_the_limits_it_is_delivered(sizes, tmp_path):
    made = run(tmp_path / "run", megabytes=2 * sizes["float32"])
    assert [row["variant"] for row in table_of(made)] == ["float32"]


def test_when_only_what_may_lose_too_much_is_within_the_limits_it_is_delivered_with_a_warning(sizes, tmp_path):
    made = run(tmp_path / "run", megabytes=0.6 * sizes["float32"], max_drop=0)
    assert made.verdict.is_met
    assert any("is the most accurate within the limits, and may lose up to" in text for text in made.warnings)
    assert "may lose" in (made.directory / "report.html").read_text()


def test_when_nothing_fits_the_nearest_is_delivered_marked_and_all_formats_are_on_the_page(sizes, tmp_path):
    made = run(tmp_path / "run", megabytes=0.01 * sizes["float32"])
    assert not made.verdict.is_met
    assert not any("within the limits" in text for text in made.warnings)
    tried = [row["variant"] for row in table_of(made)]
    assert set(tried) >= {"float32", "float16", "int8 weights", "int8", "int4 weights"}
    assert "Size, time and accuracy" in (made.directory / "report.html").read_text()


def test_compress_takes_over_the_rungs_of_the_run(unlimited):
    folder = unlimited.directory / "compression" / "as-trained"
    before = (folder / "int8" / "rung.json").stat().st_mtime_ns
    made = trimtab.compress(unlimited.directory, megabytes=0.1, max_drop=5, minutes=0.2)
    assert made.rungs[0].name == "float32"
    assert (folder / "int8" / "rung.json").stat().st_mtime_ns == before


def test_the_delivered_file_is_the_rung_and_the_ledger_says_why(unlimited):
    chosen = unlimited.directory / "compression" / "as-trained" / "int8" / "model.onnx"
    assert (unlimited.directory / "bundle" / "model.onnx").read_bytes() == chosen.read_bytes()
    decided = Ledger(unlimited.directory / "ledger.jsonl").events("decision")
    assert ("variant", "int8") in [(event["name"], event["value"]) for event in decided]


def test_both_engines_answer_alike_for_weights_in_four_bits(sizes, tmp_path):
    made = run(tmp_path / "run", megabytes=0.6 * sizes["int8"], max_drop=100)
    pictures = [np.full((8, 8), 16 * value, np.uint8) for value in range(8)]
    onnx, numpy = (trimtab.load(made.directory, engine=engine) for engine in ("onnx", "numpy"))
    assert onnx.manifest["model"]["variant"] == "int4 weights"
    np.testing.assert_allclose(onnx.predict_proba(pictures), numpy.predict_proba(pictures), atol=1e-4)


def test_formats_of_a_plan():
    assert formats_of(Plan(data="x")) == ("float32", "int8 dynamic", "int8", "int8 with float layers")
    assert formats_of(Plan(data="x", milliseconds=1)) == FORMATS
    assert formats_of(Plan(data="x", quantize=False)) == ("float32",)
    assert formats_of(Plan(data="x", quantize=False, megabytes=1)) == ("float32", "float16")


def test_more_formats_and_layers_to_look_for_take_more_seconds():
    plain, limited = Plan(data="x", model="cnn"), Plan(data="x", model="cnn", megabytes=1)
    assert usual_formats(plain) < usual_formats(limited) < len(FORMATS)
    assert seconds_of_formats(plain) < seconds_of_formats(limited)
    assert seconds_of_formats(Plan(data="x", model="separable_cnn")) > seconds_of_formats(plain)
