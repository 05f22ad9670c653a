"""What can go wrong, said in one sentence: what was given, what was expected, what to do.

A caller's mistake in an argument is a ``ValueError`` or ``TypeError``; the classes here are outcomes that a
program may want to handle, and that the command line turns into an exit code without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TrimtabError(Exception):
    """An outcome worth one sentence; never raised itself, only through its leaves.

    Parameters
    ----------
    given
        What was found, with the name of the file, column or option.
    expected
        What would have been right (continues "expected ...").
    action
        What to do next, as an imperative.
    """

    exit_code = 2

    def __init__(self, given: str, expected: str, action: str) -> None:
        super().__init__(f"{given}; expected {expected}; {action}.")
        self.given, self.expected, self.action = given, expected, action


class InputError(TrimtabError):
    """The data, an option or a request cannot be used as it is."""


class OutputError(TrimtabError):
    """A result cannot be written where it was asked for."""


class IntegrityError(TrimtabError):
    """A file is not the one that was written: a hash, a size or a structure differs."""


class TrainingError(TrimtabError):
    """Training gave nothing that could be delivered."""


class ExportError(TrimtabError):
    """The exported model does not give the same answers as the trained one."""

    exit_code = 1


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "`` for the closest valid name, or an empty string when none is close."""
    options = list(valid)
    folded = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean '{folded[close[0]]}'? " if close else ""
