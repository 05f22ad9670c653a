"""ONNX's backend tests, run through the layers; docs/conformance.md lists every case that is out of scope, and why."""

from __future__ import annotations

import pytest
from tests.numpy_nn.conformance import onnx_suite
from tests.numpy_nn.conformance.outcome import failures

from trimtab import numpy_nn as nn


@pytest.mark.parametrize("operator", sorted(onnx_suite.OURS))
def test_every_case_in_scope_gives_the_values_that_onnx_gives(operator):
    found = [outcome for outcome in onnx_suite.outcomes() if operator in outcome.operator.split(" + ")]
    assert any(outcome.passed for outcome in found)
    assert failures(found) == ""


def test_every_case_of_the_suites_has_one_outcome():
    names = [(outcome.suite, outcome.case) for outcome in onnx_suite.outcomes()]
    assert len(names) == len(set(names)) == len(onnx_suite.cases()) > 1900


def test_a_wrong_layer_is_noticed(monkeypatch):
    right = nn.ReLU.forward
    monkeypatch.setattr(nn.ReLU, "forward", lambda layer, x: 1.01 * right(layer, x))
    case = next(case for case in onnx_suite.cases() if case.name == "test_relu")
    assert "Mismatched elements" in onnx_suite.outcome(case).failure
