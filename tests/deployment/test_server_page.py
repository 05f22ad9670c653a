"""The check before a server is ready, and the page, around real bundles."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trimtab.artifact import Artifact
from trimtab.deployment import Predictor, load
from trimtab.deployment.server import example_request
from trimtab.deployment.server_check import example_input, golden_answer, self_check
from trimtab.deployment.server_page import render_page
from trimtab.errors import IntegrityError

Bundles = Callable[[Artifact], Path]


@pytest.fixture
def images(bundle_of: Bundles, image_artifact: Artifact) -> Predictor:
    return load(bundle_of(image_artifact))


@pytest.fixture
def tables(bundle_of: Bundles, table_artifact: Artifact) -> Predictor:
    return load(bundle_of(table_artifact))


def broken(*answers: list[list[float]]) -> Any:
    """A predictor that gives these answers in turn."""
    arrays = iter(np.array(answer, dtype=np.float32) for answer in answers)
    manifest = {"name": "pets", "preprocessing": {"image_size": 8, "channels": 3}}
    return SimpleNamespace(
        kind="image", class_names=("cat", "dog"), manifest=manifest, predict_proba=lambda data: next(arrays)
    )


@pytest.mark.parametrize("answer", [[[0.5, 0.4]], [[np.nan, 1.0]], [[1.5, -0.5]], [[1.0]], [[0.5, 0.5]] * 2])
def test_model_that_gives_no_distribution_fails_the_check(answer: list[list[float]]) -> None:
    with pytest.raises(IntegrityError, match=r"the model pets answers .*; expected the same 2 probabilities that sum"):
        self_check(broken(answer))


def test_model_that_is_not_stable_fails_the_check() -> None:
    with pytest.raises(IntegrityError) as caught:
        self_check(broken([[0.5, 0.5]], [[0.6, 0.4]]))
    assert str(caught.value) == (
        "the model pets answers differently to the same example; expected the same 2 probabilities that sum to 1 every "
        "time; export the bundle again, or compare the versions here with those in its manifest.json."
    )


def test_golden_answer_is_compared_when_the_manifest_has_one(images: Predictor) -> None:
    golden = golden_answer(images)
    images.manifest["golden"] = golden
    self_check(images)
    images.manifest["golden"] = [golden[1], golden[2], golden[0]]
    with pytest.raises(IntegrityError, match=r"the model pets answers \[.*\], where it was made \[.*\]; expected"):
        self_check(images)


def test_check_measures_the_median_time(tables: Predictor) -> None:
    ticks = iter(np.cumsum([0.0, *[0.001, 9.0] * 7]).tolist())
    assert self_check(tables, clock=lambda: next(ticks)).milliseconds == pytest.approx(1.0)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_made_up_picture_has_the_size_and_channels_of_the_model(images: Predictor, channels: int, mode: str) -> None:
    images.manifest["preprocessing"] = {"image_size": 9, "channels": channels}
    picture = Image.open(io.BytesIO(example_input(images)[0]))
    assert (picture.size, picture.mode) == ((9, 9), mode)


def test_made_up_row_is_one_that_the_model_knows(tables: Predictor) -> None:
    _, warnings = tables.predict_proba_with_warnings(example_input(tables))
    assert warnings == ()


def test_example_request_suits_the_bundle(images: Predictor, tables: Predictor) -> None:
    assert example_request(images, "http://x") == "curl --data-binary @picture.jpg http://x/predict"
    words = shlex.split(example_request(tables, "http://x"))
    assert words[:4] == ["curl", "-H", "Content-Type: application/json", "-d"]
    assert json.loads(words[4])["job"] == "cook"
    assert words[5] == "http://x/predict"


def facts_of(page: str) -> Any:
    (content,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(content)


def test_page_holds_the_facts_that_it_shows(tables: Predictor, images: Predictor) -> None:
    facts = facts_of(render_page(tables)[0])
    columns = facts.pop("columns")
    assert facts == {
        "name": "pets",
        "kind": "table",
        "class_names": ["no", "yes"],
        "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "method": "wilson", "level": 0.95},
        "megabytes": 0.5,
    }
    assert columns[:2] == [
        {"name": "job", "kind": "category", "typical": "cook", "values": ["cook", "Köchin", "smith"]},
        {"name": "age", "kind": "number", "typical": 38},
    ]
    assert columns[5] == {"name": "rare", "kind": "category", "typical": "", "values": []}
    assert facts_of(render_page(images)[0])["columns"] == []


def test_page_cannot_be_broken_out_of_by_a_name(images: Predictor) -> None:
    names = ["</script><script>alert(1)</script>", "<!--<script>", "\u2028"]
    images.manifest["class_names"] = names
    page, _ = render_page(images)
    assert facts_of(page)["class_names"] == names
    assert "alert(1)</script>" not in page
    assert page.count("<script") == 2


def test_policy_allows_the_script_and_style_of_the_page_and_nothing_else(images: Predictor) -> None:
    page, policy = render_page(images)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for element in ("script", "style"):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(f"{element}-src") == f"'sha256-{digest}'"
    assert rules.pop("connect-src") == "'self'"
    assert rules.pop("img-src") == "blob: data:"
    assert set(rules) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
    assert set(rules.values()) == {"'none'"}


def test_page_asks_nothing_of_other_machines_and_writes_no_markup(images: Predictor) -> None:
    page, _ = render_page(images)
    addresses = [address for address in re.findall(r"https?://[^\s'\"]+", page) if "www.w3.org" not in address]
    assert addresses == []
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", " onclick="):
        assert way not in page
