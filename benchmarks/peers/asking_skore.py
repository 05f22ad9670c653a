"""What skore is asked about the cases of benchmarks/diagnosis.py, and which of its checks speak of which cause.

It gets a run's training rows, all other rows to test on, which choose nothing there, and the same network. Checks that
belong to no cause, and slow ones where they say nothing, are left out; so are golden features of digits, whose many
pixels would each be trained on alone.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from injected import Arrays, Case
from peers.systems import HERE, install, pinned_versions

from trimtab.data import Split

SKORE = {
    "OVERFIT": ("SKD001",),
    "UNDERFIT": ("SKD002", "SKD009"),
    "NO_SIGNAL": ("SKD002",),
    "LEAKAGE": ("SKD011",),
    "IMBALANCE": ("SKD004", "SKD005"),
}
SLOW = {"SKD009": ("UNDERFIT",), "SKD011": ("LEAKAGE", "UNDERFIT", "NO_SIGNAL", "IMBALANCE")}  # and on clean data
BESIDE_THE_POINT = ("SKD006", "SKD007", "SKD008", "SKD010", "SKD012", "SKD013", "SKD014", "SKD015", "SKD016")


def hand_over(case: Case, seed: int, data: Arrays, run: Any, work: Path) -> None:
    """Write the rows as the run divided them, and the network's settings, for skore."""
    split = Split.load(run.directory / "data" / "split")
    is_training = np.isin(np.arange(len(data.labels)), split.train)
    skipped = [code for code, causes in SLOW.items() if case.cause not in ("clean", *causes)]
    skipped += ["SKD011"] if case.kind == "digits" else []
    settings = {
        name: getattr(run.plan, name) for name in ("steps", "batch_size", "learning_rate", "weight_decay", "seed")
    }
    settings |= {"hidden": list(run.plan.options["hidden"]), "ignore": [*BESIDE_THE_POINT, *skipped]}
    parts = {"X_train": data.features[is_training], "X_test": data.features[~is_training]}
    parts |= {"y_train": data.labels[is_training], "y_test": data.labels[~is_training]}
    np.savez(work / f"{name_of(case.cause, case.kind, case.grade, seed)}.npz", settings=json.dumps(settings), **parts)


def name_of(cause: str, kind: str, grade: int, seed: int) -> str:
    return f"{cause.lower()}-{kind}-{grade}-{seed}"


def ask_skore(cells: list[dict[str, Any]], environments: Path, work: Path) -> dict[str, str]:
    """Let skore check what was handed over, add to each cell which causes it names; return its versions."""
    python = install("skore", environments)
    subprocess.run([str(python), str(HERE / "check_skore.py"), str(work)], check=True)
    for cell in cells:
        place = work / f"{name_of(*(cell[name] for name in ('cause', 'kind', 'grade', 'seed')))}.json"
        if place.exists():
            answer = json.loads(place.read_text())
            cell["skore"] = {cause: speaks_of(cause, answer["checks"]) for cause in SKORE} | answer
    return pinned_versions("skore", python)


def speaks_of(cause: str, checks: dict[str, dict[str, str]]) -> bool | None:
    """Return whether one of the checks that belong to a cause shows an issue or a tip; ``None`` if none was asked."""
    asked = {code: checks[code] for code in SKORE[cause] if code in checks and checks[code]["section"] != "ignored"}
    return any(is_said(code, check) for code, check in asked.items()) if asked else None


def is_said(code: str, check: dict[str, str]) -> bool:
    is_about_a_fault = code != "SKD009" or "significantly worse" in check["explanation"]
    return check["section"] in ("issue", "tip") and is_about_a_fault
