"""``trimtab package``: a delivered model in the form that another place runs, checked before it is called delivered."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import InputError, nearest

if TYPE_CHECKING:
    from trimtab.deployment.c.packaging import CPackage

_FAILED = 1
_DIFFERENT = 3


def package(run: str | Path, *, format: str, out: str | Path | None = None) -> CPackage:
    """Write a run's delivered model in another form, and check that it answers as the bundle does.

    Parameters
    ----------
    run
        A run directory, a folder in it that holds a bundle (``compression``), or a bundle.
    format
        ``"c"``: source code without dependencies. See `trimtab.deployment.c`.
    out
        The folder to write; an earlier package there is replaced. ``package/<format>`` in the run unless given; of a
        bundle alone, beside it.

    Raises
    ------
    InputError
        If there is no bundle or no such format, the model cannot take that form, or ``out`` holds something else.
    IntegrityError
        If a file of the bundle was altered.
    """
    if format not in FORMATS:
        known = ", ".join(FORMATS)
        raise InputError(f"there is no format '{format}'", f"one of {known}", f"{nearest(format, FORMATS)}pick one")
    return FORMATS[format](Path(run), _folder(Path(run), format) if out is None else Path(out))


def _c(run: Path, out: Path) -> CPackage:
    from trimtab.deployment.c.packaging import package_c

    return package_c(run, out)


FORMATS: Mapping[str, Callable[[Path, Path], CPackage]] = {"c": _c}
"""What makes a package of each format, by name: from a run and the folder to write."""


def _folder(run: Path, format: str) -> Path:
    from trimtab.deployment import find_bundle

    bundle = find_bundle(run)
    return run / "package" / format if bundle != run else run.with_name(f"{run.resolve().name}-{format}")


# ---- the verb ----


def package_verb(options: argparse.Namespace) -> int:
    """Write the package, print what it is and what its check found, and return the exit code."""
    from trimtab.deployment.c import checking

    made = package(options.run, format=options.format, out=options.out)
    found, source = made.check, made.source
    print(f"written    {made.directory}: {', '.join(sorted(source.files))}")
    print(f"memory     {source.weight_bytes:,} bytes of constants, {source.work_bytes:,} bytes of working memory")
    print(f"check      {found.verdict}{_details(made)}")
    if found.message:
        print(f"           {found.message.splitlines()[0]}")
    if found.verdict == checking.VERIFIED:
        print(f"delivered  {made.directory}")
    if options.json:
        print(json.dumps({"directory": str(made.directory), **made.to_dict()}))
    return {checking.NOT_COMPILED: _FAILED, checking.DIFFERS: _DIFFERENT}.get(found.verdict, 0)


def _details(made: CPackage) -> str:
    found = made.check
    if found.largest_difference is None:
        return f" ({found.compiler})" if found.compiler else ""
    compared = f"{found.examples} examples differ by at most {found.largest_difference:.1g}"
    flips = f", {found.label_flips} of other classes" if found.label_flips else ", all of the same class"
    return f": {compared}{flips} ({found.compiler}, {' '.join(found.options)})"
