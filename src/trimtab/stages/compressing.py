"""The ladder of a finished run, climbed: formats of its own network first, then smaller networks.

A smaller network is measured before it is trained, in the format that it would be delivered in: so the widest one
that is within the limits is trained, and no time is lost on others. Which ones are trained beside each other, for the
same seconds, is in `trimtab.stages.contenders`.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.compression.ladder import AS_TRAINED, Choice, choose_rung, is_finished
from trimtab.evaluation import Comparison, compare_accuracy
from trimtab.stages.contenders import Makers
from trimtab.stages.formats import FORMATS, Files
from trimtab.stages.rungs import Rungs
from trimtab.stages.smaller import Network, teach, train_smaller
from trimtab.stages.teachers import Teacher
from trimtab.storage import write_json

_SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)  # of the channels
_SHARES_WITHOUT_LIMITS = (0.75, 0.5, 0.25)
_ROOM = 0.8  # share of a limit on time that an untrained network may take in the middle: the limit is for p95
_FEWEST_SECONDS = 3.0  # of a training
_SHARE_PLANNED = 0.9  # of the time that is left
_USUAL_TRAININGS = 4  # of smaller networks: for how long one may be trained, before it is known how many there are
_SMALL_FORMATS = ("float32", "int8", "int8 with float layers")
_ROUNDED = "trained with rounding"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A pruned or distilled network against the same network trained alone for the same time, on validation rows."""

    network: str
    control: str
    comparison: Comparison


@dataclass(kw_only=True, eq=False)
class Climb:
    """The way up.

    Attributes
    ----------
    rungs
        What was found so far, and what measures.
    importance
        That channels are pruned by.
    pruning_steps
        In how many steps: a network is trained a little after each but the last.
    teacher
        That networks learn from.
    minutes
        That were given: networks trained within others are not taken over.
    claims
        What pruning and a teacher were worth.
    notes
        What a reader should know, without a full stop.
    """

    rungs: Rungs
    importance: str
    pruning_steps: int
    teacher: Teacher
    minutes: float
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def climb(self) -> Choice:
        """Try rung after rung until one is good enough, or until there is none left, or no time."""
        self._formats_of_the_run()
        if self._is_worth_training():
            self._train_with_rounding()
        if self._is_worth_training():
            self._smaller_networks()
        return choose_rung(self.rungs.found, self.rungs.wanted)

    def _is_finished(self) -> bool:
        return is_finished(self.rungs.found, self.rungs.wanted)

    def _is_worth_training(self) -> bool:
        """Return whether a trained network may be better than what there is: not where no rows could show it."""
        rungs = self.rungs
        can_be_shown = rungs.least_bound <= rungs.wanted.max_drop
        is_any_within = any(not rungs.wanted.excesses(rung) for rung in rungs.found)
        return not self._is_finished() and rungs.has_time() and (can_be_shown or not is_any_within)

    def _smaller_networks(self) -> None:
        widths = 1 if self.rungs.wanted.has_limits else len(_SHARES_WITHOUT_LIMITS)
        for place, share in enumerate(self._shares()):
            if not self._smaller(share, max(1, widths - place)) or self._is_finished():
                return

    def _formats_of_the_run(self) -> None:
        files = self.rungs.files(AS_TRAINED, self.rungs.case.artifact)
        for group, number_format in enumerate(FORMATS):
            if group and not self.rungs.has_time():
                self.notes.append(f"there was no time left to try {number_format}: give more --minutes")
                return
            self.rungs.add(AS_TRAINED, number_format, files, group)
            if not group:
                self._check_rows()
            if self._is_finished():
                return

    def _check_rows(self) -> None:
        """Say so where the validation rows are too few to show a loss as small as is asked for."""
        least, wanted = self.rungs.least_bound, self.rungs.wanted.max_drop
        if least > wanted:
            rows = len(self.rungs.judge.labels)
            self.notes.append(
                f"{rows:,} validation rows cannot show that less than {least:.2g} points are lost, even where no "
                f"answer changes: give --max-drop {math.ceil(10 * least) / 10:g} or more"
            )

    def _train_with_rounding(self) -> None:
        """Train on with int8's rounding, where int8 is small and fast enough but loses too much."""
        int8, wanted = self.rungs.of(AS_TRAINED, "int8"), self.rungs.wanted
        is_needed = int8 is not None and not wanted.excesses(int8) and wanted.loses_too_much(int8)
        if not is_needed or self.rungs.case.plan.engine != "torch":
            return
        own, seconds = self.rungs.case.artifact, self._seconds(trainings=_USUAL_TRAININGS)
        network = Network(
            builder=own.builder, kwargs=own.kwargs, start=lambda: own.arrays, origin="as trained", is_rounding=True
        )
        if not self._has_room(_ROUNDED, seconds):
            return
        files = self.rungs.files(_ROUNDED, dict(self._train_all({_ROUNDED: network}, seconds))[_ROUNDED])
        for number_format in ("float32", "int8"):
            self.rungs.add(_ROUNDED, number_format, files, len(FORMATS))

    # ---- smaller networks ----

    def _shares(self) -> Iterator[float]:
        """Yield the shares of channels to keep: with limits those within them, the widest first."""
        if not self.rungs.wanted.has_limits:
            yield from _SHARES_WITHOUT_LIMITS
            return
        is_any_within = False
        for share in _SHARES:
            if is_any_within or (self.rungs.has_time() and self._is_within(share)):
                is_any_within = True
                yield share
        if not is_any_within:
            why = f"even {100 * _SHARES[-1]:.0f}% of the channels are too many for the limits"
            why = why if self.rungs.has_time() else "there was no time left to look for a width: give more --minutes"
            self.notes.append(why)

    def _is_within(self, share: float) -> bool:
        """Return whether a network of so many channels would be within the limits, by measuring it untrained."""
        folder, wanted = self.rungs.folder / "untrained", self.rungs.wanted
        judge = replace(self.rungs.judge, loses_too_much=lambda _: False)  # what it answers says nothing yet
        try:
            made = Files(self._makers.cut_to(share), folder, judge).make("int8")
            assert made is not None  # noqa: S101 - it is always made
            timing = self.rungs.time(made, seconds=0.4)
            is_small = timing.megabytes <= (wanted.megabytes or math.inf)
            return is_small and timing.one.p50_ms <= _ROOM * (wanted.milliseconds or math.inf)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _smaller(self, share: float, widths: int) -> bool:
        """Train the networks of one of so many widths and measure them; return whether there was time."""
        every = [self._makers.of_width(share)]
        if self._group == len(FORMATS) + 1:  # the first ones
            # Of the minutes given, not of those left: the same network in each attempt.
            another = self._makers.of_another_kind(self.rungs.wanted, self.minutes / _USUAL_TRAININGS)
            every += [] if another is None else [another]
        seconds = self._seconds(trainings=sum(each.trainings for each in every) * widths)
        if not self._has_room(every[0].shown[0], seconds):
            return False
        group, networks = self._group, {name: network for each in every for name, network in each.networks.items()}
        shown = {name for each in every for name in each.shown}
        for name, trained in self._train_all(networks, seconds):
            if name in shown:
                files = self.rungs.files(name, trained)
                for number_format in _SMALL_FORMATS:
                    self.rungs.add(name, number_format, files, group)
        for each in every:
            self._claim(each.controls)
        return True

    @property
    def _group(self) -> int:
        """The number of the next group of smaller networks."""
        return len(FORMATS) + 1 + len({rung.group for rung in self.rungs.found if rung.group > len(FORMATS)})

    def _seconds(self, *, trainings: int) -> float:
        """Return the seconds of each of so many trainings, with time kept for measuring what they give.

        The teacher is asked before.
        """
        rungs, _ = self.rungs.found, self._answers
        measuring = len(_SMALL_FORMATS) * max((rung.seconds for rung in rungs), default=0.0)
        return _SHARE_PLANNED * self.rungs.seconds_left() / trainings - measuring

    def _has_room(self, name: str, seconds: float) -> bool:
        """Return whether there is time for a training, or was; note it where there is none."""
        if seconds >= _FEWEST_SECONDS or (self.rungs.place_of(name) / "model").exists():
            return True
        self.notes.append(f"there was no time left to train '{name}': give more --minutes")
        return False

    def _train_all(self, networks: Mapping[str, Network], seconds: float) -> Iterator[tuple[str, Artifact]]:
        """Yield networks, each trained for so many seconds, or for those that an earlier attempt began with."""
        rungs = self.rungs
        made_of = {
            name: network.describe(rungs.case.artifact.sha256, self.teacher.sha256, self.minutes)
            for name, network in networks.items()
        }
        seconds = _settle({rungs.place_of(name): text for name, text in made_of.items()}, seconds)
        rungs.keys |= made_of
        for name, network in networks.items():
            yield name, self._train(name, network, network.part * seconds)

    def _train(self, name: str, network: Network, seconds: float) -> Artifact:
        rungs, folder, left = self.rungs, self.rungs.place_of(name), self.rungs.seconds_left()
        if not (folder / "model").exists():
            rungs.console.stage("training", f"{name}, {seconds:.0f} s")
        return train_smaller(
            rungs.case,
            network,
            folder,
            self._answers,
            rungs.console,
            seconds=lambda: rungs.seconds_left() - left + seconds,
        )

    def _claim(self, controls: Mapping[str, str]) -> None:
        """Compare what was pruned and distilled with the control, in floating point."""
        rungs = self.rungs
        for name, control in controls.items():
            both = (rungs.answers[each, "float32"] for each in (control, name))
            compared = compare_accuracy(rungs.judge.labels, *both, groups=rungs.case.groups)
            self.claims.append(Claim(network=name, control=control, comparison=compared))
            interval = f"[{100 * compared.low:+.2f}, {100 * compared.high:+.2f}]"
            rungs.console.note(f"{name} against {control}: {100 * compared.difference:+.2f} points {interval}")

    @cached_property
    def _makers(self) -> Makers:
        rungs = self.rungs
        return Makers(
            case=rungs.case, importance=self.importance, pruning_steps=self.pruning_steps, place_of=rungs.place_of
        )

    @cached_property
    def _answers(self) -> NDArray[np.float32]:
        return teach(self.rungs.case, self.teacher, self.rungs.folder / "teacher.npz")


def _settle(made_of: Mapping[Path, str], seconds: float) -> float:
    """Return the seconds that each of some networks gets: those of an earlier attempt at one of them, if there was one.

    Notes them in each network's folder, and clears away what is of another network.
    """
    begun = {folder: _begun(folder / "network.json", text) for folder, text in made_of.items()}
    seconds = next((earlier for earlier in begun.values() if earlier is not None), round(seconds, 1))
    for folder, earlier in begun.items():
        if earlier is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_json(folder / "network.json", {"made_of": made_of[folder], "seconds": seconds})
    return seconds


def _begun(path: Path, made_of: str) -> float | None:
    """Return the seconds that an earlier attempt at the same network was given."""
    try:
        earlier = json.loads(path.read_text())
        return float(earlier["seconds"]) if earlier["made_of"] == made_of else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
