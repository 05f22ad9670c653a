"""The verbs that make a model, or a part of one, from data: run, train, range-test, plan."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from trimtab.launching import LAUNCHERS
from trimtab.plan import Plan
from trimtab.verbs.verb import Verb, add_json_option


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the data and every field of a plan."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, breast_cancer or wine; a folder of class folders; a CSV, Parquet or npz file; or a plan.toml",
    )
    hints = get_type_hints(Plan)
    groups: dict[str, Any] = {}
    for entry in fields(Plan):
        section = entry.metadata["section"]
        groups.setdefault(section, parser.add_argument_group(section) if section not in groups else None)
        if entry.name not in ("data", "options"):
            _add_option(groups[section], entry.name, hints[entry.name], entry.metadata["comment"], entry.default)


def _add_option(group: Any, name: str, hint: Any, comment: str, default: Any) -> None:
    flag = "--" + name.replace("_", "-")
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] or [hint]
    if kinds[0] is bool:
        action = "store_true" if default is False else argparse.BooleanOptionalAction
        group.add_argument(flag, action=action, default=None, help=comment)
        return
    shown = "" if default in (None, MISSING) else f" (default {default})"
    metavar = {str: "NAME", int: "N", float: "X"}[kinds[0]]
    group.add_argument(flag, type=kinds[0], metavar=metavar, help=comment.replace("%", "%%") + shown)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    parser.add_argument("--out", metavar="DIR", help="run directory (default runs/NAME; a taken name gets -2)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that share each step (torch)")
    parser.add_argument(
        "--launcher", choices=LAUNCHERS, default="torchrun", help="what starts them: on this machine, or a Ray cluster"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the unfinished run; never start anew")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    from trimtab.running import run_verb

    return run_verb(options, plan_settings(options))


def _train(options: argparse.Namespace) -> int:
    from trimtab.running import train_verb

    return train_verb(options, plan_settings(options))


def _range_test(options: argparse.Namespace) -> int:
    from trimtab.running import range_test_verb

    return range_test_verb(options, plan_settings(options))


def _add_range_test_options(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    parser.add_argument("--out", metavar="DIR", help="where table and picture go (default runs/NAME-range-test)")
    add_json_option(parser)


def _plan(options: argparse.Namespace) -> int:
    from trimtab.running import plan_verb

    return plan_verb(options, plan_settings(options))


def plan_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a plan that were given."""
    names = {entry.name for entry in fields(Plan)} - {"data"}
    return {name: value for name, value in vars(options).items() if name in names and value is not None}


MAKING = {
    "run": Verb(
        summary="data and a budget in, a delivered and measured model out",
        description="Train the best model that fits the budget, measure it on sealed test rows, and deliver it.\n"
        "What is not given is decided from the data and the budget; `trimtab plan` shows the decisions beforehand.",
        examples="examples:\n  trimtab run digits\n  trimtab run ./photos --minutes 10 --megabytes 1 --milliseconds 5\n"
        "  trimtab run churn.csv --target Churn --minutes 2\n"
        "  trimtab run runs/photos/plan.toml          continue that run, or repeat it bit for bit\n\n"
        "exit codes: 0 every limit met, 3 a limit missed (by how much is printed), 2 bad input",
        add_options=_add_run_options,
        act=_run,
    ),
    "train": Verb(
        summary="train only: every setting by hand, the test rows stay sealed",
        description="Do what `trimtab run` does up to the trained network, and stop there. `trimtab run` on the\n"
        "directory's plan.toml goes on from it: measures it on the sealed test rows, compresses and delivers.",
        examples="examples:\n  trimtab train ./photos --minutes 15 --augment strong --optimizer muon\n"
        "  trimtab train ./photos --minutes 15 --dropout 0.2 --l1 1e-5 --l2 5e-4 --schedule one-cycle\n"
        "  trimtab train ./photos --minutes 15 --workers 4         four processes share each step\n"
        "  trimtab run runs/photos/plan.toml          the rest of the run",
        add_options=_add_run_options,
        act=_train,
    ),
    "range-test": Verb(
        summary="which learning rates train this network and which diverge (a sweep of 200 steps)",
        description="Learning-rate range test (Smith, 2017): train a fresh network while the learning rate grows from\n"
        "1e-5 to 10, and show the loss. What a run would do with your settings is swept; --steps sets the length.",
        examples="example:\n  trimtab range-test ./photos --optimizer sgd",
        add_options=_add_range_test_options,
        act=_range_test,
    ),
    "plan": Verb(
        summary="what a run would do, and what was found in the data; trains nothing",
        description="Print the resolved plan as commented TOML. Save it, change it, and give it to `trimtab run`.",
        examples="example:\n  trimtab plan ./photos --minutes 10 > plan.toml && trimtab run plan.toml",
        add_options=add_data_options,
        act=_plan,
    ),
}
