"""What a run looks for in its data before it divides them: copies, which it keeps together, and rare classes.

Everything else that can be wrong with data is the work of `trimtab audit`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab.data import Dataset, Split
from trimtab.data.audits import Copies
from trimtab.data.audits.clusters import members
from trimtab.findings import save_findings
from trimtab.generalization.duplicates import duplicates_finding
from trimtab.generalization.imbalance import imbalance_finding
from trimtab.stages.job import Job


def audit_split(job: Job, dataset: Dataset, split: Split, copies: Copies) -> None:
    """Write ``data/audit.json``: what was found about copies and classes."""
    duplicates = duplicates_finding(dataset, copies, parts_of(dataset, split))
    found = [duplicates, imbalance_finding(dataset)]
    save_findings(found, job.directory.data / "audit.json", data_hash=dataset.content_hash)


def tell_copies(job: Job, dataset: Dataset, split: Split, copies: Copies) -> None:
    """Say how many sets of copies were kept together, and warn of those that were not."""
    parts, sets = parts_of(dataset, split), members(copies.numbers)
    divided = sum(len(np.unique(parts[rows])) > 1 for rows in sets)
    together = len(sets) - divided
    if together:
        word, verb = ("set", "is") if together == 1 else ("sets", "are")
        job.console.note(f"{together:,} {word} of copies {verb} kept together: none has rows in two parts")
    if divided:
        word, verb = ("set", "has") if divided == 1 else ("sets", "have")
        why = "nothing that came divided is moved" if dataset.parts is not None else "a class would be left out"
        job.warn(f"{divided:,} {word} of copies {verb} rows in several parts, which makes figures too good: {why}")


def parts_of(dataset: Dataset, split: Split) -> NDArray[np.int8]:
    """Return the part of each row: 0 training, 1 validation, 2 test; the seal stays closed, for these are the rest."""
    parts = np.full(len(dataset), 2, dtype=np.int8)
    parts[split.train], parts[split.validation] = 0, 1
    return parts
