"""Training by several workers: one leads, the others follow.

Rank 0 runs the whole job as if it were alone: console, ledger, clock, corrections, validation, checkpoints. The other
workers build the same network on the same rows and obey its commands: do your part of step 12 at this learning rate,
give the logits of your share of these rows, stop. So a run of many workers resumes, repeats and ends as a run of one.

The workers are processes of ``torch.distributed``, started by torchrun or in Ray's actors; starting them is the
business of `trimtab.launching`. Importing this package needs no torch, its modules do.
"""

from trimtab.training.distributed.worker import Worker, WorkerLost, current_team, threads_of_a_worker

__all__ = ["Worker", "WorkerLost", "current_team", "threads_of_a_worker"]
