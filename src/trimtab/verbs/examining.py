"""The verbs that ask what a result is worth and what would help: audit, crossval, diagnose, ensemble."""

from __future__ import annotations

import argparse

from trimtab.verbs.making import add_data_options, plan_settings
from trimtab.verbs.verb import Verb, add_json_option, add_run_argument

_KINDS = ("stratified", "grouped", "stratified-grouped", "time", "leave-one-group-out")


def _add_crossval_options(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    parser.add_argument("--folds", type=int, metavar="N", help="parts that each are tested once (default 5)")
    parser.add_argument("--repeats", type=int, metavar="N", default=1, help="divide all rows anew so often (default 1)")
    parser.add_argument("--kind", choices=_KINDS, help="how rows are divided (default: what fits --group and --time)")
    parser.add_argument("--time", metavar="COLUMN", help="numbers or dates: test on what comes after the training rows")
    parser.add_argument("--out", metavar="DIR", help="directory (default runs/NAME-cv; a taken name gets -2)")
    add_json_option(parser)


def _crossval(options: argparse.Namespace) -> int:
    from trimtab.crossvalidating import crossval_verb

    return crossval_verb(options, plan_settings(options))


def _add_audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, breast_cancer or wine; a folder of class folders; a CSV, Parquet or npz file; or a run directory",
    )
    parser.add_argument("--target", metavar="NAME", help="label column of a table")
    parser.add_argument("--group", metavar="NAME", help="rows with one value in this column belong together")
    parser.add_argument("--skip-unreadable", action="store_true", default=None, help="go on without unreadable files")
    parser.add_argument("--image-size", type=int, metavar="N", help="pictures are squashed to this many pixels a side")
    parser.add_argument("--seed", type=int, metavar="N", help="of what is drawn at random (default 0)")
    parser.add_argument("--out", metavar="DIR", help="where everything goes (default runs/NAME-audit)")
    add_json_option(parser)


def _audit(options: argparse.Namespace) -> int:
    from trimtab.auditing import audit_verb

    return audit_verb(options)


def _add_ensemble_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN-CV", nargs="+", help="directories that `trimtab crossval` made")
    parser.add_argument("--members", type=int, metavar="N", default=5, help="rounds of selection (default 5)")
    parser.add_argument("--distill", action="store_true", help="train one student on the ensemble's probabilities")
    parser.add_argument("--minutes", type=float, metavar="X", help="of the student's run (default: of RUN-CV)")
    parser.add_argument("--steps", type=int, metavar="N", help="of the student (default: those of all folds together)")
    parser.add_argument("--megabytes", type=float, metavar="X", help="of the student, or of all members together")
    parser.add_argument("--milliseconds", type=float, metavar="X", help="p95 of the student, or of all members in turn")
    parser.add_argument("--distill-weight", type=float, metavar="X", help="share of the vote in the student's target")
    parser.add_argument("--distill-temperature", type=float, metavar="X", help="above 1 evens the vote out")
    parser.add_argument("--out", metavar="DIR", help="the student's run directory (default RUN-student)")
    add_json_option(parser)


def _ensemble(options: argparse.Namespace) -> int:
    from trimtab.ensembling import ensemble_verb

    return ensemble_verb(options)


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
    parser.add_argument("--audit", metavar="DIR", help="take over what `trimtab audit` found in these data")
    add_json_option(parser)


def _diagnose(options: argparse.Namespace) -> int:
    from trimtab.diagnosing import diagnose_verb

    return diagnose_verb(options)


EXAMINING = {
    "audit": Verb(
        summary="what is wrong with the data: copies, leaks, wrong labels, shift, rare classes",
        description="Look at the data alone, in seconds, before training on them: exact and near copies within and\n"
        "across parts, columns that know the answer, labels worth a second look, rare classes, and a given test\n"
        "part that differs from the training part. Found ones come first; docs/findings.md explains each code.",
        examples="examples:\n  trimtab audit ./photos\n  trimtab audit churn.csv --target Churn\n"
        "  trimtab audit ./photos --json | tail -1          for programs",
        add_options=_add_audit_options,
        act=_audit,
    ),
    "crossval": Verb(
        summary="k-fold figures with intervals, out-of-fold predictions and a model for each fold",
        description="Cross-validate what `trimtab run` would train. The test part that a run seals is in no fold;\n"
        "each fold fits its preprocessing and chooses its weights on its own training rows. --minutes holds all\n"
        "folds together. Interrupted, the same command goes on: finished folds are not trained again.",
        examples="examples:\n  trimtab crossval ./photos --folds 5 --minutes 20\n"
        "  trimtab crossval churn.csv --target Churn --repeats 3\n"
        "  trimtab crossval visits.csv --target outcome --group patient\n"
        "  trimtab crossval sales.csv --target returned --time day\n\n"
        "exit codes: 0 done, 3 done but later than --minutes, 2 bad input",
        add_options=_add_crossval_options,
        act=_crossval,
    ),
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
    "diagnose": Verb(
        summary="what holds a finished run back, shown by trial, and what to do next",
        description="Train a finished run again with one change at a time, the likeliest remedy first, and say which\n"
        "ones help: a cause is found only when its remedy does better on held-out rows, beyond chance.\n"
        "Trials take training and validation rows only; no label of a test row is looked at. Leaks, copies, rare\n"
        "classes and shift are looked for in the data, or taken over from an audit.",
        examples="examples:\n  trimtab diagnose runs/photos --minutes 20\n"
        "  trimtab diagnose runs/churn --audit runs/churn-audit --json\n"
        "  trimtab run runs/photos/diagnosis/overfit.toml          the remedy that helped most",
        add_options=_add_diagnose_options,
        act=_diagnose,
    ),
}
