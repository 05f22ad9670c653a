"""What the steps of a run are computed in: precision, memory format and compilation, chosen together.

Which one is fastest is the question of `trimtab.training.probe`; how an engine computes in one is its stepper's.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.training.recipe import Recipe

MEMORY_FORMATS = ("contiguous", "channels_last")


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to compute the same steps; the last bits of the weights depend on it.

    Attributes
    ----------
    precision
        One of `trimtab.training.PRECISIONS`.
    memory_format
        One of `MEMORY_FORMATS`: how filters and pictures lie in memory. Means nothing to the NumPy engine and to
        networks without filters.
    is_compiled
        Whether ``torch.compile`` makes the network's code.
    """

    precision: str
    memory_format: str
    is_compiled: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> Mode:
        """Return the mode of a run whose length is fixed, where no clock may decide anything.

        The recipe's precision; channels last, which no processor seen so far was slower with; not compiled, because
        whether its cost pays is a question of the time that there is.
        """
        return cls(precision=recipe.precision, memory_format="channels_last")

    def __str__(self) -> str:
        """Return the words for a reader."""
        return f"{self.precision}, {self.memory_format}" + (", compiled" if self.is_compiled else "")
