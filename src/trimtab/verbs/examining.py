"""The verbs that ask what a result is worth and what would help: diagnose."""

from __future__ import annotations

import argparse

from trimtab.verbs.verb import Verb, add_json_option, add_run_argument


def _add_diagnose_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    parser.add_argument(
        "--minutes", type=float, metavar="X", help="for everything (default 15%% of the run's, at least half a minute)"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", default=5, help="trainings of each remedy (default 5; fewer if time is short)"
    )
    parser.add_argument(
        "--points", type=float, metavar="X", default=2.0, help="accuracy points that test rows should show (default 2)"
    )
    parser.add_argument("--audit", metavar="DIR", help="what `trimtab audit` wrote about the data")
    add_json_option(parser)


def _diagnose(options: argparse.Namespace) -> int:
    from trimtab.diagnosing import diagnose_verb

    return diagnose_verb(options)


EXAMINING = {
    "diagnose": Verb(
        summary="what holds a finished run back, shown by trial, and what to do next",
        description="Train a finished run again with one change at a time, the likeliest remedy first, and say which\n"
        "ones help: a cause is found only when its remedy does better on held-out rows, beyond chance.\n"
        "Trials take training and validation rows only; the test rows are not looked at.",
        examples="examples:\n  trimtab diagnose runs/photos --minutes 20\n"
        "  trimtab diagnose runs/churn --audit runs/churn-audit --json\n"
        "  trimtab run runs/photos/diagnosis/overfit.toml          the remedy that helped most",
        add_options=_add_diagnose_options,
        act=_diagnose,
    ),
}
