"""The learning-rate range test of a plan: the network, data and batches of a run, swept over learning rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.evaluation.plots import plot_range_test
from trimtab.stages.job import Features, Job
from trimtab.stages.learning import recipe_of
from trimtab.storage import write_text

if TYPE_CHECKING:
    from trimtab.training.range_test import RangeTest

_STEPS = 200


def sweep(job: Job, features: Features, directory: Path) -> RangeTest:
    """Sweep the plan's optimizer over learning rates and write ``range_test.csv`` and ``.svg`` into a directory."""
    from trimtab.training.range_test import learning_rate_range_test
    from trimtab.training.stepper import make_stepper, using_threads

    recipe = recipe_of(job)
    with using_threads(recipe.engine, recipe.threads):
        stepper = make_stepper(str(job.plan.model), features.kwargs, features.training, recipe)
        found = learning_rate_range_test(stepper, steps=job.plan.steps or _STEPS)
    directory.mkdir(parents=True, exist_ok=True)
    lines = [f"{rate:.9g},{loss:.9g}" for rate, loss in zip(found.rates, found.losses, strict=True)]
    write_text(directory / "range_test.csv", "\n".join(["learning_rate,loss", *lines]) + "\n")
    plot_range_test(found.rates, found.losses, found.suggestion, directory / "range_test.svg")
    return found
