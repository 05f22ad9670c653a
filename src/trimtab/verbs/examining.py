"""The verbs that ask whether a model generalizes, and what would help: ensemble."""

from __future__ import annotations

import argparse

from trimtab.verbs.verb import Verb, add_json_option


def _add_ensemble_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN-CV", nargs="+", help="directories that `trimtab crossval` made")
    parser.add_argument("--members", type=int, metavar="N", default=5, help="rounds of selection (default 5)")
    parser.add_argument("--distill", action="store_true", help="train one student on the ensemble's probabilities")
    parser.add_argument("--minutes", type=float, metavar="X", help="of the student's run (default: of RUN-CV)")
    parser.add_argument("--megabytes", type=float, metavar="X", help="of the student, or of all members together")
    parser.add_argument("--milliseconds", type=float, metavar="X", help="p95 of the student, or of all members in turn")
    parser.add_argument("--distill-weight", type=float, metavar="X", help="share of the vote in the student's target")
    parser.add_argument("--distill-temperature", type=float, metavar="X", help="above 1 evens the vote out")
    parser.add_argument("--out", metavar="DIR", help="the student's run directory (default RUN-student)")
    add_json_option(parser)


def _ensemble(options: argparse.Namespace) -> int:
    from trimtab.ensembling import ensemble_verb

    return ensemble_verb(options)


EXAMINING = {
    "ensemble": Verb(
        summary="fold models that vote, selected out of fold; --distill delivers one student of them",
        description="Select among the configurations of one or more cross-validations those whose average has the\n"
        "lowest log loss out of fold, let their fold models vote, and compare one fold model, the ensemble and, with\n"
        "--distill, its student on the sealed test rows with paired tests: one look at them, which the ledger notes.",
        examples="examples:\n  trimtab ensemble runs/photos-cv\n"
        "  trimtab ensemble runs/photos-cv --distill --minutes 10      a run at runs/photos-student\n"
        "  trimtab ensemble runs/photos-cv runs/photos-cv-2 --members 10 --megabytes 8\n\n"
        "exit codes: 0 done, 3 the student missed a limit (by how much is printed), 2 bad input",
        add_options=_add_ensemble_options,
        act=_ensemble,
    ),
}
