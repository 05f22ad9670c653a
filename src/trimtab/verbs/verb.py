"""What a verb of the command line is, and the options that several share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One word after ``trimtab``."""

    summary: str
    description: str
    examples: str
    add_options: Callable[[argparse.ArgumentParser], None]
    act: Callable[[argparse.Namespace], int]


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """Add the run directory that a verb works on."""
    parser.add_argument("run", metavar="RUN", help="a run directory, such as runs/photos")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add the switch for programs that read what a verb prints."""
    parser.add_argument("--json", action="store_true", help="the last line of standard output is one JSON object")
