"""Generated C answers as the NumPy engine: every builder, in every form of weights, on every path of the kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.deployment.c_cases import (
    CASES,
    WARNINGS,
    make_artifact,
    make_inputs,
    needs_compiler,
    run_c,
    run_numpy,
)

pytestmark = needs_compiler

QUICK = ("-O1", "-march=native", *WARNINGS)
PLAIN = ("-O1", "-DTRIMTAB_PLAIN", *WARNINGS)
SANITIZED = ("-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COUNT = 40


@pytest.mark.parametrize("label", CASES)
def test_a_float_model_answers_as_numpy(label: str, tmp_path: Path) -> None:
    artifact = make_artifact(label)
    expected = run_numpy(artifact, COUNT)
    assert expected.std(axis=0).max() > 0.02
    np.testing.assert_allclose(run_c(artifact, make_inputs(artifact, COUNT), tmp_path, QUICK), expected, atol=5e-6)
