"""Which smaller networks are trained for a run: its own made narrower in three ways, and one of another kind.

Of each width there are what is left of the run's network, trained further; the same network from scratch with a
teacher; and, as the control, from scratch without. With limits there is also the network that a plan would choose for
them, where it is of another kind than the run's: with a teacher and, again as the control, without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.compression.ladder import Wanted
from trimtab.compression.prune import narrower_widths
from trimtab.errors import InputError
from trimtab.models.channels import Argument, with_widths
from trimtab.plan import Plan
from trimtab.planning import model_kwargs, resolve
from trimtab.stages.case import Case
from trimtab.stages.smaller import Network, cut, score

PRUNED, DISTILLED, ALONE = "pruned", "distilled", "alone"
_BRIEF = 0.2  # of the seconds of a network, for each step of pruning but the last
_OF_DATA = ("data", "target", "group", "skip_unreadable", "validation_fraction", "test_fraction", "image_size", "seed")
_KEPT = (*_OF_DATA, "engine", "threads", "flip", "calibrate")  # of the run's plan, for a network of another kind


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """Networks that get the same seconds, in the order in which they are trained.

    Attributes
    ----------
    networks
        By name; among them may be some that others are cut from.
    controls
        What a network is compared with to see what pruning or the teacher was worth, by its name.
    """

    networks: Mapping[str, Network]
    controls: Mapping[str, str]

    @property
    def shown(self) -> list[str]:
        """Names of those that are measured: not of those that others are cut from."""
        return [name for name in self.networks if name in self.controls or name in self.controls.values()]

    @property
    def trainings(self) -> int:
        """How many times the seconds of one network they take."""
        return len(self.shown)


@dataclass(kw_only=True, eq=False)
class Makers:
    """What makes contenders for a run.

    Attributes
    ----------
    case
        The run.
    importance
        That channels are pruned by.
    pruning_steps
        In how many steps: a network is trained a little after each but the last.
    place_of
        From a network's name to its folder.
    """

    case: Case
    importance: str
    pruning_steps: int
    place_of: Callable[[str], Path]

    def cut_to(self, share: float) -> Artifact:
        """Return the run's network with about this share of its channels, not trained since."""
        own = self.case.artifact
        return cut(own, self._scores, narrower_widths(own.builder, own.kwargs, share))

    def of_width(self, share: float) -> Contenders:
        """Return the networks of about this share of the run's channels."""
        own, percent = self.case.artifact, f"{100 * share:.0f}%"
        kwargs = with_widths(own.builder, own.kwargs, narrower_widths(own.builder, own.kwargs, share))
        pruned, alone = f"pruned to {percent}", f"{percent} as wide, {ALONE}"
        taught = f"{percent} as wide, {DISTILLED}"
        networks = self._pruned(share, pruned) | {
            taught: Network(builder=own.builder, kwargs=kwargs),
            alone: Network(builder=own.builder, kwargs=kwargs, has_teacher=False),
        }
        return Contenders(networks=networks, controls={pruned: alone, taught: alone})

    def of_another_kind(self, wanted: Wanted, minutes: float) -> Contenders | None:
        """Return the networks that a plan chooses for some limits; ``None`` where they are of the run's kind."""
        plan = self._plan_for(wanted, minutes)
        if plan is None:
            return None
        kwargs = model_kwargs(plan, self.case.facts, in_features=self.case.features.kwargs.get("in_features"))
        widths = "-".join(map(str, kwargs.get("channels", ())))
        name = f"{plan.model} {widths}".strip()
        taught, alone = f"{name}, {DISTILLED}", f"{name}, {ALONE}"
        network = Network(builder=str(plan.model), kwargs=kwargs, plan=plan)
        return Contenders(
            networks={taught: network, alone: replace(network, has_teacher=False)}, controls={taught: alone}
        )

    def _plan_for(self, wanted: Wanted, minutes: float) -> Plan | None:
        own = self.case.plan
        if self.case.features.meta["kind"] != "image" or not wanted.has_limits:
            return None
        kept = {entry.name: getattr(own, entry.name) for entry in fields(Plan) if entry.name in _KEPT}
        kept |= {"megabytes": wanted.megabytes, "milliseconds": wanted.milliseconds, "minutes": max(minutes, 0.1)}
        try:
            plan, _ = resolve(Plan(**kept), self.case.facts)
        except InputError:  # what the run was told fits no other kind of network
            return None
        return None if plan.model == own.model else plan

    def _pruned(self, share: float, name: str) -> dict[str, Network]:
        """Return the pruned network by its name, after those that it is cut from, step by step."""
        own, steps, before = self.case.artifact, self.pruning_steps, ""
        found = dict[str, Network]()
        for step in range(1, steps + 1):
            widths = narrower_widths(own.builder, own.kwargs, share ** (step / steps))
            own_name = name if step == steps else f"{name}, step {step}"
            found[own_name] = Network(
                builder=own.builder,
                kwargs=with_widths(own.builder, own.kwargs, widths),
                start=partial(self._cut_from, before, widths),
                origin=f"by {self.importance}, step {step} of {steps}",
                part=1 - _BRIEF * (steps - 1) if step == steps else _BRIEF,
            )
            before = own_name
        return found

    def _cut_from(self, before: str, widths: Mapping[Argument, int]) -> Mapping[str, NDArray[Any]]:
        """Return what is left of the run's network, or of one that was cut from it before."""
        if not before:
            return cut(self.case.artifact, self._scores, widths).arrays
        artifact = Artifact.load(self.place_of(before) / "model")
        return cut(artifact, score(self.case, artifact, self.importance), widths).arrays

    @cached_property
    def _scores(self) -> Sequence[NDArray[Any]]:
        return score(self.case, self.case.artifact, self.importance)
