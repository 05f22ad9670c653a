"""The verbs that ask whether data and models hold what they promise: audit."""

from __future__ import annotations

import argparse

from trimtab.verbs.verb import Verb, add_json_option


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
}
