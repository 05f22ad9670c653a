"""The trials of a diagnosis: how long they may be, in which order they are made, and what comes of them.

The cheapest evidence goes first: the gap between training rows and held-out rows says whether to try what holds a
network back or what gives it more, and the remedies of the likelier cause have the first claim on the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.console import Console
from trimtab.errors import TrainingError
from trimtab.generalization.evidence import Gap, gap_of
from trimtab.generalization.material import Material, Setup
from trimtab.generalization.remedies import Remedy, overfit_remedies, underfit_remedies
from trimtab.generalization.second_opinions import ROUNDS, SecondOpinions, second_opinions, work_of
from trimtab.generalization.trials import Bench, Outcome
from trimtab.plan import Plan
from trimtab.planning import Facts, model_kwargs
from trimtab.stages.job import Features
from trimtab.training import Recipe
from trimtab.training.mode import Mode

OVERFIT_SHARE, UNDERFIT_SHARE = 0.1, 0.5
"""Of the held-out loss that the gap is: the least for remedies against overfitting, the most for the others."""

_FRACTIONS = (1.0, 0.5, 0.25, 0.125)  # of the run's steps
_STEPS_LEAST = 10
_LEAST_TRAININGS = 4  # with each seed: the baseline and three remedies
_MOST_TRAININGS = 14  # the baseline and all remedies
_FEW_SEEDS = 3  # more are better only where there is time for all remedies
_SUSPECTS_LEAST, _SUSPECT_SHARE = 10, 0.03  # fewer cannot be told by training with other labels


@dataclass(frozen=True, kw_only=True)
class Course:
    """How trials are made.

    Attributes
    ----------
    seeds
        How many train each.
    fraction
        Of the run's steps that each takes.
    """

    seeds: int
    fraction: float


def plan_course(seconds: float, training_seconds: float, steps: int, *, seeds: int) -> Course | None:
    """Return the most thorough course that the time allows, or ``None`` if it allows no baseline and three remedies.

    Parameters
    ----------
    seconds
        For all trials.
    training_seconds, steps
        Of the run's training.
    seeds
        That are wanted at most, two or more; fewer where there is less time.
    """
    for count in range(seeds, _FEW_SEEDS, -1):
        if _MOST_TRAININGS * count * training_seconds <= seconds:
            return Course(seeds=count, fraction=1.0)
    for count, fraction in [(min(seeds, _FEW_SEEDS), 1.0), *((2, each) for each in _FRACTIONS)]:
        is_long_enough = fraction * steps >= _STEPS_LEAST or fraction == 1
        if is_long_enough and _LEAST_TRAININGS * count * fraction * training_seconds <= seconds:
            return Course(seeds=count, fraction=fraction)
    return None


def minutes_for_all(plan: Plan, training_seconds: float, steps: int, *, seeds: int) -> float:
    """Return the minutes, rounded up, that every trial at full length would take: an upper estimate."""
    remedies = [*overfit_remedies(plan, steps=steps), *underfit_remedies(plan, steps=steps)]
    trainings = max(_MOST_TRAININGS * seeds, seeds * (3 + sum(remedy.work for remedy in remedies)) + work_of(ROUNDS))
    minutes = 1.1 * trainings * training_seconds / 60 + 0.2
    unit = 10 ** (math.floor(math.log10(minutes)) - (minutes >= 10))  # two digits from ten on
    return float(f"{math.ceil(minutes / unit) * unit:.6g}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """What came of the trials.

    Attributes
    ----------
    bench
        With all outcomes.
    course
        How they were made.
    gap
        Between training rows and held-out rows.
    opinions
        About labels; ``None`` when there was no time.
    had_time_for_noise
        Whether training with other labels was tried, or too few are suspect.
    """

    bench: Bench
    course: Course
    gap: Gap
    opinions: SecondOpinions | None
    had_time_for_noise: bool

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes, with settings as a run of full length would have them."""
        return [replace(each, remedy=self._at_full_length(each.remedy)) for each in self.bench.outcomes]

    def untried(self, code: str) -> int:
        """Return how many remedies of a cause there was no time for."""
        return sum(remedy.cause == code for remedy in self.bench.untried)

    def _at_full_length(self, remedy: Remedy) -> Remedy:
        fraction, settings = self.course.fraction, dict(remedy.settings)
        if "steps" in settings:
            settings["steps"] = round(settings["steps"] / fraction)
        if "l1" in settings:
            settings["l1"] = float(f"{settings['l1'] * fraction:.2g}")
        return replace(remedy, settings=settings)


def try_remedies(
    plan: Plan,
    facts: Facts,
    features: Features,
    course: Course,
    *,
    groups: NDArray[Any] | None,
    mode: Mode,
    steps: int,
    training_seconds: float,
    seconds_left: Callable[[], float],
    console: Console,
) -> Tried | None:
    """Train baselines and remedies as long as there is time; ``None`` when it did not even suffice for baselines.

    Parameters
    ----------
    plan, facts, features
        Of the run.
    course
        How trials are made.
    groups
        [N], of the validation rows.
    mode
        That the run computed in; it is not compiled here.
    steps, training_seconds
        Of the run's training.
    seconds_left
        Until all must be over.
    console
        Where progress goes.

    Raises
    ------
    TrainingError
        If the baseline diverges.
    """
    own_steps = max(1, round(course.fraction * steps))
    bench = Bench(
        material=Material.of(features.training, features.validation, seed=plan.seed, groups=groups),
        setup_of=lambda settings: setup_with(plan, facts, features, {"steps": own_steps, "patience": 0, **settings}),
        seeds=[(plan.seed + 1 + index) % 2**32 for index in range(course.seeds)],
        mode=replace(mode, is_compiled=False),
        seconds_left=seconds_left,
        training_seconds=course.fraction * training_seconds,
    )
    if not bench.run_baselines():
        return None
    gap = _gap(bench)
    console.stage("baseline", f"log loss {gap.training:.3g} on training rows, {gap.held_out:.3g} on held-out rows")
    first, second = _queues(plan, gap, own_steps, course)
    for remedy in first:
        _attempt(bench, remedy, console)
    opinions, had_time = _doubt_labels(bench, console)
    for remedy in second:
        _attempt(bench, remedy, console)
    return Tried(bench=bench, course=course, gap=gap, opinions=opinions, had_time_for_noise=had_time)


def setup_with(plan: Plan, facts: Facts, features: Features, settings: Mapping[str, Any]) -> Setup:
    """Return what a training is made of that has these settings in place of the plan's."""
    changed = replace(plan, **settings)
    if not facts.has_bfloat16:
        changed = replace(changed, precision="float32")
    names = {entry.name for entry in fields(Recipe)} & {entry.name for entry in fields(Plan)}
    kwargs = model_kwargs(changed, facts, in_features=features.kwargs.get("in_features"))
    return Setup(
        builder=str(changed.model),
        kwargs=kwargs,
        recipe=Recipe(**{name: getattr(changed, name) for name in names if getattr(changed, name) is not None}),
    )


def _gap(bench: Bench) -> Gap:
    labels = bench.material.training.labels[bench.material.watched]
    return gap_of(bench.baselines, [recorded.training for recorded in bench.recorded], labels)


def _queues(plan: Plan, gap: Gap, steps: int, course: Course) -> tuple[list[Remedy], list[Remedy]]:
    """Return the remedies of the likelier cause, and those of the other one; none where the gap rules a cause out."""
    held_back = gap.is_there and gap.share >= OVERFIT_SHARE
    given_more = gap.share <= UNDERFIT_SHARE and course.fraction == 1  # cut short, it lacks steps in any case
    overfit = overfit_remedies(plan, steps=steps) if held_back else []
    underfit = underfit_remedies(plan, steps=steps) if given_more else []
    return (overfit, underfit) if gap.share > UNDERFIT_SHARE else (underfit, overfit)


def _attempt(bench: Bench, remedy: Remedy, console: Console, labels: NDArray[np.int64] | None = None) -> None:
    outcome = bench.attempt(remedy, labels)
    if outcome is None:
        return
    if outcome.has_diverged:
        console.stage("trial", f"{remedy.name}: diverged")
        return
    seeds = len(outcome.gains)
    gain = f"log loss {-outcome.gains.mean():+.4f}, accuracy {100 * outcome.right_gains.mean():+.2f} points"
    console.stage("trial", f"{remedy.name}: {gain}, {seeds} {'seed' if seeds == 1 else 'seeds'}")


def _doubt_labels(bench: Bench, console: Console) -> tuple[SecondOpinions | None, bool]:
    """Look for suspect labels and try others; return the doubts and whether there was time for all that.

    The rows stay and get the class that the networks give them which did not see them: without them a network would
    have fewer rows, and no hard ones, and would lose by that about what it gains.
    """
    rounds = next((count for count in range(ROUNDS, 0, -1) if bench.fits(work_of(count) + 1)), 0)
    if not rounds:
        return None, False
    try:
        opinions = second_opinions(bench, rounds)
    except TrainingError:
        return None, False
    if opinions is None:
        return None, False
    doubts = opinions.training
    console.stage("labels", f"{doubts.is_suspect.sum():,} of {len(doubts.is_suspect):,} training labels are suspect")
    if doubts.is_suspect.sum() < _SUSPECTS_LEAST or doubts.share < _SUSPECT_SHARE:
        return opinions, True
    before = len(bench.outcomes)
    _attempt(bench, Remedy(cause="LABEL_NOISE", name="likelier labels for suspects"), console, doubts.suggested)
    return opinions, len(bench.outcomes) > before
