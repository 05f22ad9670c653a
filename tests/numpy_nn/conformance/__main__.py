"""Run every suite, write the table of results and print its totals; one process, half a minute."""

from __future__ import annotations

import sys

from . import onnx_suite, report, torch_suite
from .outcome import failures


def main() -> int:
    """Return one if a case in scope failed."""
    text = report.text()
    report.PATH.parent.mkdir(exist_ok=True)
    report.PATH.write_text(text)
    wrong = failures([*onnx_suite.outcomes(), *torch_suite.outcomes()])
    print(text.split("## Totals")[1].split("## Out of scope")[0].strip())
    print(f"\nwritten to {report.PATH}\n{wrong}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
