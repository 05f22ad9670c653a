"""The verbs of the command line: for each its options, its help, and what it does."""

from __future__ import annotations

from trimtab.verbs.examining import EXAMINING
from trimtab.verbs.making import MAKING
from trimtab.verbs.packing import PACKING
from trimtab.verbs.shrinking import SHRINKING
from trimtab.verbs.using import USING
from trimtab.verbs.verb import Verb

__all__ = ["VERBS", "Verb"]

VERBS: dict[str, Verb] = MAKING | EXAMINING | SHRINKING | PACKING | USING
