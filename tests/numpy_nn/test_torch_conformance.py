"""PyTorch's own samples, run through the layers in float64: outputs, gradients, running statistics, optimizer paths."""

from __future__ import annotations

import pytest
from tests.numpy_nn.conformance import torch_modules, torch_optimizers, torch_suite
from tests.numpy_nn.conformance.outcome import failures
from tests.numpy_nn.conformance.torch_functions import FUNCTIONS

from trimtab import numpy_nn as nn


@pytest.mark.parametrize("operator", sorted(FUNCTIONS))
def test_outputs_and_gradients_of_every_sample_are_those_of_torch(operator):
    found = torch_suite.of_operator(operator)
    assert any(outcome.passed for outcome in found)
    assert failures(found) == ""


@pytest.mark.parametrize("module", sorted(torch_modules.OURS))
def test_a_module_with_the_same_arguments_and_state_does_what_that_of_torch_does(module):
    found = [outcome for outcome in torch_modules.outcomes() if outcome.operator == module]
    assert any(outcome.passed for outcome in found)
    assert failures(found) == ""


@pytest.mark.parametrize("optimizer", torch_optimizers.OURS)
def test_parameters_take_the_path_that_they_take_under_the_optimizer_of_torch(optimizer):
    found = [outcome for outcome in torch_optimizers.outcomes() if outcome.operator == optimizer]
    assert any(outcome.passed for outcome in found)
    assert failures(found) == ""


def test_a_wrong_gradient_is_noticed(monkeypatch):
    right = nn.Linear.backward
    monkeypatch.setattr(nn.Linear, "backward", lambda layer, grad: right(layer, grad) * (1 + 1e-8))
    found = torch_suite.of_operator.__wrapped__("nn.functional.linear")
    assert "gradient of input" in failures(found)
