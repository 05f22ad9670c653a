"""What a user asked for: some data with settings, a plan, or a run directory to go on with or to repeat.

It only reads; `trimtab.pipeline` acts on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.directory import RunDirectory
from trimtab.errors import nearest
from trimtab.plan import Plan, check_types

if TYPE_CHECKING:
    from trimtab.stages.job import Replay


def read_request(
    data: str | Path, plan: Plan | None, settings: dict[str, Any], out: str | Path | None
) -> tuple[Plan, Replay | None, str | Path | None]:
    """Return the plan to resolve, what to repeat, and the directory asked for.

    Raises
    ------
    TypeError
        If a plan is given twice, or a setting is not a field of `Plan`.
    """
    file = _plan_file(data)
    if file is not None:
        if plan is not None:
            raise TypeError(f"run() was given the plan in {file} and another one; expected one; leave one out.")
        return _repeat(file, settings, out)
    return plan_to_resolve(data, settings, plan), None, out


def plan_to_resolve(data: str | Path, settings: Mapping[str, Any], plan: Plan | None = None) -> Plan:
    """Return the plan for some data with these settings; what nobody decided is left open.

    Raises
    ------
    TypeError
        If a setting is not a field of `Plan`.
    """
    known = {entry.name for entry in dataclasses.fields(Plan)}
    for name in settings:
        if name not in known:
            raise TypeError(f"run() has no setting '{name}'; expected a field of Plan; {nearest(name, known)}use one.")
    check_types(settings)
    if settings.get("teacher"):  # for the plan to mean the same from another directory
        settings = {**settings, "teacher": str(Path(settings["teacher"]).resolve())}
    file = _plan_file(data)
    if file is not None:
        return dataclasses.replace(Plan.from_toml(file), **settings)
    is_path = not _is_builtin(data) and Path(data).exists()
    text = str(Path(data).resolve()) if is_path else str(data)
    base = Plan(data=text) if plan is None else dataclasses.replace(plan, data=text)
    return dataclasses.replace(base, **settings)


def _plan_file(data: str | Path) -> Path | None:
    """Return the plan that is meant: a TOML file, or that of a run directory."""
    if _is_builtin(data):
        return None
    if str(data).endswith(".toml"):
        return Path(data)
    directory = RunDirectory(Path(data))
    return directory.plan if directory.plan.exists() and directory.ledger.exists() else None


def _is_builtin(data: str | Path) -> bool:
    from trimtab.data.builtin import BUILTINS

    return isinstance(data, str) and data in BUILTINS


def _repeat(
    path: Path, settings: dict[str, Any], out: str | Path | None
) -> tuple[Plan, Replay | None, str | Path | None]:
    """Return the plan in a file; in a run directory, continue that run or repeat it step by step."""
    from trimtab.stages.job import Replay

    plan = plan_to_resolve(path, settings)
    directory = RunDirectory(path.parent)
    if path.name != directory.plan.name or not directory.ledger.exists():
        return plan, None, out
    replay = Replay.of(directory, plan)
    return plan, replay, out or directory.path
