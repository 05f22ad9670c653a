"""What is known about data and machine before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known before anything is spent.

    Attributes
    ----------
    kind
        ``"image"`` or ``"table"``.
    rows, classes, columns
        Counts; ``columns`` of a table without its target.
    side
        Pixels of the longer median side of the pictures; 0 for tables.
    is_one_size
        Whether all pictures have the same size.
    channels
        1 grey, 3 color; 0 for tables.
    threads
        Processor threads that this process may use.
    has_bfloat16
        Whether the processor multiplies bfloat16 in hardware.
    has_matrix_units
        Whether it has units that multiply matrices of bfloat16.
    has_torch
        Whether torch is installed.
    """

    kind: str
    rows: int
    classes: int
    columns: int = 0
    side: int = 0
    is_one_size: bool = True
    channels: int = 0
    threads: int = 1
    has_bfloat16: bool = False
    has_matrix_units: bool = False
    has_torch: bool = True
