"""The trials of a run that looks for remedies by itself: at full length, on its own rows, within seconds that are left.

Each training is the run's own with another seed: its planned length, its patience, its rows. Networks for tables are
tried by the NumPy engine on one thread: the same networks and steps as by PyTorch, without the overhead that most of
a small step is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.generalization.conclusions import Concluded, best_of, conclude
from trimtab.generalization.evidence import Gap, gap_of, judge_fixed
from trimtab.generalization.material import Material, Setup
from trimtab.generalization.remedies import Remedy, run_remedies
from trimtab.generalization.trials import Bench
from trimtab.interrupt import interruptible
from trimtab.stages.job import Features, Job, mode_of
from trimtab.stages.page import read_history
from trimtab.stages.trying import OVERFIT_SHARE, UNDERFIT_SHARE, setup_with
from trimtab.training.order import steps_per_epoch

_MOST_SEEDS, _USUAL_SEEDS, _LEAST_SEEDS = 5, 3, 2  # two tell little about how much seeds matter
_LEAST_TRAININGS = 4  # with each seed: the baseline and three remedies
_RISEN = 1.05  # times its lowest value, the validation loss in the end
_NUMPY_SHARE = 0.5  # of the seconds by PyTorch that a small network for tables takes, at most


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a training takes, and how long all trials may.

    Attributes
    ----------
    seconds
        That the run's training took.
    steps
        That it planned.
    seconds_left
        Gives the seconds until all trials must be over.
    """

    seconds: float
    steps: int
    seconds_left: Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class RunTrials:
    """What came of them.

    Attributes
    ----------
    concluded
        What each trial has shown.
    untried
        Names of remedies that there was no time for.
    rows, seeds
        Validation rows, and trainings of the baseline.
    seconds
        That all took.
    was_stopped
        Whether the user wanted the run to finish with what there is.
    """

    concluded: Sequence[Concluded]
    untried: Sequence[str]
    rows: int
    seeds: int
    seconds: float
    was_stopped: bool

    @property
    def best(self) -> Concluded | None:
        """The remedy to take over, if there is one."""
        return None if self.was_stopped else best_of(self.concluded)

    @property
    def verified(self) -> str:
        """What the best remedy was shown to gain, for the plan."""
        return "" if self.best is None else f"verified on {self.rows:,} validation rows: {_gains(self.best)}"

    @property
    def summary(self) -> str:
        """What came of it, in one sentence."""
        count = "1 remedy" if len(self.concluded) == 1 else f"{len(self.concluded)} remedies"
        how = f"{count} tried in {self.seconds:.0f} s, {self.seeds} seeds, {self.rows:,} validation rows"
        if self.best is None:
            return f"{how}: none is shown to help"
        return f"{how}: {self.best.remedy.name} helps, {_gains(self.best)}"

    @property
    def others(self) -> str:
        """The trials that were not taken over, with what each gained in log loss."""
        others = [each for each in self.concluded if each is not self.best]
        return ", ".join(
            f"{each.remedy.name} ({each.trial.gain:+.3f}{', helped too' if each.trial.has_helped else ''})"
            for each in others
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the ledger."""
        tried = [{**asdict(each.trial), "accuracy_gain": each.accuracy_gain} for each in self.concluded]
        names = ("rows", "seeds", "was_stopped")
        return {
            "tried": tried,
            "untried": list(self.untried),
            "seconds": round(self.seconds, 3),
            "accepted": None if self.best is None else self.best.remedy.name,
            **{name: getattr(self, name) for name in names},
        }


def try_on_run(
    job: Job, features: Features, artifact: Artifact, timing: Timing, groups: NDArray[Any] | None
) -> RunTrials | str:
    """Return what came of the trials, or why there were none.

    Parameters
    ----------
    job, features, artifact
        The run, what its network reads, and the trained network.
    timing
        Of its training.
    groups
        [N], of the validation rows.

    Raises
    ------
    TrainingError
        If the baseline diverges.
    """
    expected = timing.seconds * (_NUMPY_SHARE if _is_table(features) and job.plan.engine == "torch" else 1.0)
    few = f"{max(0.0, timing.seconds_left()):.0f} s are left for trials, too few for trainings of {expected:.1f} s"
    if _LEAST_TRAININGS * _LEAST_SEEDS * expected > timing.seconds_left():
        return few
    gap = _gap(job, features, artifact)
    queue = _queue(job, features, timing, gap)
    if not queue:
        return f"log loss is {gap.training:.3g} on training rows and {gap.held_out:.3g} on validation rows, a small gap"
    started = job.seconds()
    job.ledger.append("remedies_begun", seconds=round(started, 3))
    job.console.note(f"training left time: looking for remedies, for {timing.seconds_left():.0f} s at most")
    with interruptible(job.console) as wants_to_stop:
        bench = _bench(job, features, timing, groups, wants_to_stop)
        if not _run_baselines(bench, queue):
            return "stopped by the user" if wants_to_stop() else few
        for remedy in queue:
            bench.attempt(remedy)
        was_stopped = wants_to_stop()
    return RunTrials(
        concluded=conclude(bench.outcomes, units=bench.material.units),
        untried=[remedy.name for remedy in bench.untried],
        rows=len(features.validation),
        seeds=len(bench.baselines),
        seconds=job.seconds() - started,
        was_stopped=was_stopped,
    )


def _is_table(features: Features) -> bool:
    return bool(features.meta["kind"] == "table")


def _gap(job: Job, features: Features, artifact: Artifact) -> Gap:
    """Return the gap of the trained network, from as many training rows as there are validation rows."""
    from trimtab.training.stepper import predict_probabilities

    def answers(rows: Any) -> NDArray[np.float32]:
        return predict_probabilities(artifact, rows, engine=str(job.plan.engine), threads=job.plan.threads or 1)

    sample = features.training.first(max(200, len(features.validation)))
    held_out = judge_fixed(answers(features.validation), features.validation.labels)
    own = judge_fixed(answers(sample), sample.labels).log_probabilities
    return gap_of([held_out], [own[None]], sample.labels)


def _queue(job: Job, features: Features, timing: Timing, gap: Gap) -> list[Remedy]:
    """Return what is worth trying, the likeliest first."""
    return run_remedies(
        job.plan,
        steps=timing.steps,
        pass_steps=_pass_steps(job, features),
        hold_back=(gap.is_there and gap.share >= OVERFIT_SHARE) or _has_risen(job),
        give_more=gap.share <= UNDERFIT_SHARE,
        is_limited_in_size=job.plan.megabytes is not None or job.plan.milliseconds is not None,
    )


def _has_risen(job: Job) -> bool:
    """Return whether validation got worse again: the weights that were kept are from before, and show no gap."""
    losses = [row["validation_loss"] for row in read_history(job.directory.history) if "validation_loss" in row]
    return losses[-1] > _RISEN * min(losses) if losses else False


def _pass_steps(job: Job, features: Features) -> int:
    return steps_per_epoch(len(features.training), job.plan.batch_size or 1)


def _bench(
    job: Job, features: Features, timing: Timing, groups: NDArray[Any] | None, wants_to_stop: Callable[[], bool]
) -> Bench:
    """Return where trials are made, with the first seed only."""
    plan, is_table = job.plan, _is_table(features)
    quick = {"engine": "numpy", "threads": 1, "precision": "float32"} if is_table else {}

    def setup_of(settings: Mapping[str, Any]) -> Setup:
        passes = settings.get("epochs_at_most")
        steps = timing.steps if passes is None else min(timing.steps, passes * _pass_steps(job, features))
        return setup_with(plan, job.facts, features, {**settings, **quick, "steps": steps})

    mode = mode_of(dict(job.ledger.events("trained")[-1]))
    return Bench(
        material=Material.of(features.training, features.validation, seed=plan.seed, groups=groups).unwatched(),
        setup_of=setup_of,
        seeds=[(plan.seed + 1) % 2**32],
        mode=None if is_table else replace(mode, is_compiled=False),
        seconds_left=lambda: 0.0 if wants_to_stop() else timing.seconds_left(),
        training_seconds=timing.seconds,
    )


def _run_baselines(bench: Bench, queue: Sequence[Remedy]) -> bool:
    """Train the baseline, and again with as many more seeds as there is time for; return whether there was."""
    if not bench.run_baselines():
        return False
    seeds = how_many_seeds(bench.training_seconds, bench.seconds_left(), sum(remedy.work for remedy in queue))
    if seeds < _LEAST_SEEDS:
        return False
    bench.seeds = [(bench.seeds[0] + index) % 2**32 for index in range(seeds)]
    return bench.run_baselines()


def how_many_seeds(training_seconds: float, seconds: float, work: float) -> int:
    """Return the most seeds that leave time for all remedies, three or two when there is time for some, or none.

    Half of the remedies are expected to be given up after the first seed, with which the baseline is trained already.

    Parameters
    ----------
    training_seconds, seconds
        Of one training, and for all of them.
    work
        Of all remedies with one seed, in trainings.
    """
    for count in range(_MOST_SEEDS, _USUAL_SEEDS, -1):
        if (count - 1 + work * (1 + count) / 2) * training_seconds <= seconds:
            return count
    for count in (_USUAL_SEEDS, _LEAST_SEEDS):
        if (_LEAST_TRAININGS * count - 1) * training_seconds <= seconds:
            return count
    return 0


def _gains(each: Concluded) -> str:
    """Return what a remedy gained: log loss with its interval, and points of accuracy."""
    trial = each.trial
    interval = "" if trial.low is None or trial.high is None else f" [{trial.low:.3f}, {trial.high:.3f}]"
    return f"log loss {trial.gain:.3f}{interval} lower, accuracy {100 * (each.accuracy_gain or 0.0):+.1f} points"
