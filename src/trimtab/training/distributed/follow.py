"""What the workers other than rank 0 do in training: build the same, then obey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.training.distributed import channel
from trimtab.training.distributed.share import Share
from trimtab.training.distributed.team import Team
from trimtab.training.distributed.worker import threads_of_a_worker
from trimtab.training.memory import keeping_memory
from trimtab.training.mode import Mode
from trimtab.training.recipe import Recipe
from trimtab.training.rows import Rows
from trimtab.training.stepper import using_threads


def follow(
    team: Team,
    builder: str,
    kwargs: Mapping[str, Any],
    training: Rows,
    validation: Rows,
    recipe: Recipe,
    *,
    is_sharded: bool = False,
) -> None:
    """Do this worker's share of what rank 0's `train_together` does, until it says stop.

    The parameters are those of `train_together`.

    Raises
    ------
    ValueError
        If a batch is too small for so many workers.
    WorkerLost
        If rank 0, or another worker, does not answer.
    """
    with using_threads("torch", threads_of_a_worker(recipe, team.worker)), keeping_memory():
        first = Share(builder, kwargs, training, recipe, is_sharded=is_sharded)
        _obey(first, {"validation": validation, "training": training})


def _obey(first: Share, known: Mapping[str, Rows]) -> None:
    shares = {0: first}
    while True:
        number, name, arguments = channel.receive()
        match name, arguments:
            case "stop", []:
                return
            case "copy", [mode, new]:
                shares[new] = shares[number].copy(Mode(**mode))
            case "use", [mode]:
                shares[number].use(Mode(**mode))
            case "forget", []:
                del shares[number]
            case "logits", [rows, count]:
                shares[number].logits(known[rows].first(count))
            case (("load_weights" | "load_optimizer"), []):
                getattr(shares[number], name)(channel.receive_arrays())
            case "add_gradients", [step, part, seed]:
                shares[number].add_gradients(step, None if part is None else slice(*part), seed=seed)
            case (("step" | "zero_grad" | "update" | "weights" | "optimizer_arrays"), _):
                getattr(shares[number], name)(*arguments)
            case _:
                raise ValueError(
                    f"there is no command '{name}'; expected one of LeadStepper; use one version everywhere."
                )
