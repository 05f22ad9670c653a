"""The table of results, as Markdown: what was run, what agreed, and what was not run for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import onnx
import torch

from . import onnx_suite, torch_suite
from .outcome import Outcome, Reason

PATH = Path(__file__).parents[3] / "docs" / "conformance.md"
COMMAND = "python -m tests.numpy_nn.conformance"
INTRODUCTION = """\
# Conformance of trimtab.numpy_nn

Test suites that others wrote, run through the layers, losses and optimizers of `trimtab.numpy_nn`. The test suite runs
them too, and checks that this file says what they give. Everything comes out of installed packages. To run them and to
write this file anew:

```sh
.venv/bin/{command}
```

- **ONNX's backend tests** ({onnx}): graphs with inputs and expected outputs, computed by ONNX's reference code or
  exported from PyTorch. Outputs are compared in float32 with ONNX's own tolerances.
- **PyTorch's samples** ({torch}): the inputs that PyTorch tests its own operators, modules and optimizers with. In
  float64, outputs, gradients (with respect to the input and to every parameter, along one random direction), places of
  maxima, running statistics and the paths of optimizers are compared with what PyTorch computes; they may differ by
  1e-10 of the largest value, or by 1e-10 where all values are below one. A convolution that Winograd's algorithm can
  compute is computed by it as well: the layer takes it only for more channels than the samples have.

A case is *in scope* when its operators are layers, losses or optimizers of ours and its settings are ones that they
offer; that is settled before anything is computed. All cases in scope are run. The adapters only lay arrays out: a
signal becomes an image of height one, an input without a batch a batch of one, padding that a layer has no argument
for is written into the image, constant factors are folded into weights. They compute nothing that a layer should.
"""
OTHERS = """\
Not counted above: {graphs} of ONNX's graphs hold operators that are not ours, and PyTorch has samples for {operators}
other operators, {modules} other modules and {optimizers} other optimizers.
"""


def text() -> str:
    """Return the whole file."""
    ours, others = _split([*onnx_suite.outcomes(), *torch_suite.outcomes(), *torch_suite.unused()])
    parts = [
        INTRODUCTION.format(command=COMMAND, **versions()),
        "## Totals\n\n" + _table(("Suite", "Cases", "In scope", "Passed", "Out of scope"), _totals(ours)),
        _others(others),
        "## By operator\n\n" + _table(("Suite", "Operator", "In scope", "Passed", "Out of scope"), _by_operator(ours)),
        "## Out of scope\n\n" + _table(("Reason", "Cases", "Which"), _by_reason(ours)),
        "## Compared in part\n\nWhat the suite holds and a layer or loss does not return.\n\n"
        + _table(("Operator", "Not compared", "Cases"), _by_uncompared(ours)),
    ]
    return "\n".join(parts)


def versions() -> dict[str, str]:
    """Return the versions that the numbers hold for, in words."""
    return {"onnx": f"onnx {onnx.__version__}", "torch": f"torch {torch.__version__.split('+')[0]}"}


def _split(outcomes: list[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    others = [outcome for outcome in outcomes if outcome.reason is Reason.OTHER_OPERATORS]
    return [outcome for outcome in outcomes if outcome.reason is not Reason.OTHER_OPERATORS], others


def _others(others: list[Outcome]) -> str:
    count = Counter(outcome.suite for outcome in others)
    kinds = {"operators": "torch op_db", "modules": "torch module_db", "optimizers": "torch optim_db"}
    graphs = sum(number for suite, number in count.items() if suite.startswith("onnx"))
    return OTHERS.format(graphs=f"{graphs:,}", **{kind: count[suite] for kind, suite in kinds.items()})


def _counts(outcomes: list[Outcome]) -> tuple[int, int, int]:
    out = sum(outcome.reason is not None for outcome in outcomes)
    return len(outcomes) - out, sum(outcome.passed for outcome in outcomes), out


def _totals(outcomes: list[Outcome]) -> Iterator[tuple]:
    for suite, found in _grouped(outcomes, lambda outcome: outcome.suite):
        yield suite, len(found), *_counts(found)
    yield "all", len(outcomes), *_counts(outcomes)


def _by_operator(outcomes: list[Outcome]) -> Iterator[tuple]:
    for (suite, operator), found in _grouped(outcomes, lambda outcome: (outcome.suite, outcome.operator)):
        yield suite, operator, *_counts(found)


def _by_reason(outcomes: list[Outcome]) -> Iterator[tuple]:
    out = [outcome for outcome in outcomes if outcome.reason is not None]
    for reason, found in _grouped(out, lambda outcome: outcome.reason.value):
        named = [outcome.case for outcome in found if outcome.suite.startswith("onnx")]
        counted = Counter(f"{o.suite} {o.operator}" for o in found if not o.suite.startswith("onnx"))
        yield reason, len(found), ", ".join(named + [f"{name} ({number})" for name, number in counted.items()])


def _by_uncompared(outcomes: list[Outcome]) -> Iterator[tuple]:
    part = [outcome for outcome in outcomes if outcome.uncompared]
    for (operator, names), found in _grouped(part, lambda outcome: (outcome.operator, outcome.uncompared)):
        yield operator, ", ".join(names), len(found)


def _grouped(outcomes: list[Outcome], key) -> Iterator[tuple]:
    for value, group in groupby(sorted(outcomes, key=key), key=key):
        yield value, list(group)


def _table(head: tuple[str, ...], rows: Iterable[tuple]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(f'{v:,}' if isinstance(v, int) else v for v in line)} |\n" for line in lines)
