"""trimtab: labelled data and a budget in, the best model that fits and the evidence out.

The public names. They are imported when they are first used: ``import trimtab`` loads neither torch nor NumPy.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime reports its use over the network and leaves files in the home directory unless told not to,
# and it reads this when it is imported: so it stands before everything else.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from trimtab.artifact import Artifact as Artifact
    from trimtab.auditing import audit as audit
    from trimtab.budget import Budget as Budget
    from trimtab.budget import Cost as Cost
    from trimtab.budget import Verdict as Verdict
    from trimtab.classifier import Classifier as Classifier
    from trimtab.compressing import Compressed as Compressed
    from trimtab.compressing import compress as compress
    from trimtab.crossvalidating import CrossValidation as CrossValidation
    from trimtab.crossvalidating import crossval as crossval
    from trimtab.deployment import Predictor as Predictor
    from trimtab.deployment import load as load
    from trimtab.diagnosing import Diagnosis as Diagnosis
    from trimtab.diagnosing import diagnose as diagnose
    from trimtab.ensembling import Ensembled as Ensembled
    from trimtab.ensembling import ensemble as ensemble
    from trimtab.errors import TrimtabError as TrimtabError
    from trimtab.opened import open_run as open_run
    from trimtab.packaging import package as package
    from trimtab.pipeline import Run as Run
    from trimtab.pipeline import Training as Training
    from trimtab.pipeline import run as run
    from trimtab.pipeline import train as train
    from trimtab.plan import Plan as Plan

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "artifact",
    "Budget": "budget",
    "Classifier": "classifier",
    "Compressed": "compressing",
    "Cost": "budget",
    "CrossValidation": "crossvalidating",
    "Ensembled": "ensembling",
    "Diagnosis": "diagnosing",
    "Plan": "plan",
    "Predictor": "deployment",
    "Run": "pipeline",
    "Training": "pipeline",
    "TrimtabError": "errors",
    "Verdict": "budget",
    "compress": "compressing",
    "crossval": "crossvalidating",
    "audit": "auditing",
    "ensemble": "ensembling",
    "diagnose": "diagnosing",
    "load": "deployment",
    "open_run": "opened",
    "package": "packaging",
    "run": "pipeline",
    "train": "pipeline",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trimtab' has no attribute '{name}'")
    return getattr(import_module(f"trimtab.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, also those that were not imported yet."""
    return __all__
