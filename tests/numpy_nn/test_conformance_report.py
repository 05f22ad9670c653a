"""The table of results in docs/ says what the suites give."""

from __future__ import annotations

import pytest
from tests.numpy_nn.conformance import onnx_suite, report, torch_suite
from tests.numpy_nn.conformance.outcome import Reason


def test_the_table_says_what_the_suites_give_now():
    written = report.PATH.read_text()
    missing = [version for version in report.versions().values() if f"({version})" not in written]
    if missing:
        pytest.skip(f"the table is of the versions in requirements.lock; installed are {missing}")
    assert written == report.text(), f"run {report.COMMAND} and look at what changed in {report.PATH.name}"


def test_every_reason_in_the_table_of_reasons_is_one_that_some_case_needs():
    used = {outcome.reason for outcome in [*onnx_suite.outcomes(), *torch_suite.outcomes()]}
    assert used - {None} == set(Reason)
