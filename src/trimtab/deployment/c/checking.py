"""Whether generated C does what it should: its example, compiled by the compiler that is there, fed, and read.

What it should answer is for the caller to say. Without a compiler nothing is known, and that is said.

Legend: ``N`` examples, ``K`` classes.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.deployment.c.source import OPTIONS, Source

COMPILERS = ("cc", "gcc", "clang")
VERIFIED = "verified"
NOT_COMPILED = "failed to compile"
DIFFERS = "compiled but answers otherwise"
NOT_CHECKED = "not checked: no C compiler on the PATH"

_COMPILE_SECONDS = 600.0
_RUN_SECONDS = 600.0
_MESSAGE_LENGTH = 2000


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check found.

    Attributes
    ----------
    verdict
        `VERIFIED`, `NOT_COMPILED`, `DIFFERS` or `NOT_CHECKED`.
    compiler
        Its first line on itself; empty where there is none.
    options
        It was called with.
    examples
        That were answered.
    largest_difference
        Between two probabilities of the same class and example; ``None`` where nothing was answered.
    tolerance
        What that was allowed to be.
    label_flips
        Examples whose most probable class differs.
    message
        What went wrong, in the compiler's or the program's words.
    first
        Probabilities of the first example, in the order of the classes.
    """

    verdict: str
    compiler: str = ""
    options: tuple[str, ...] = ()
    examples: int = 0
    largest_difference: float | None = None
    tolerance: float | None = None
    label_flips: int = 0
    message: str = ""
    first: tuple[float, ...] | None = None

    def but(self, verdict: str, message: str) -> Check:
        """Return the same findings with another verdict."""
        return replace(self, verdict=verdict, message=message)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the first example's probabilities."""
        fields = {**asdict(self), "options": list(self.options)}
        del fields["first"]
        return fields


class CompileError(Exception):
    """What the compiler said when it failed."""


def check(
    source: Source, inputs: NDArray[Any], expected: NDArray[np.float32], class_names: Sequence[str], *, tolerance: float
) -> Check:
    """Compile the example in a temporary folder, run it on inputs [N, ...] and compare probabilities [N, K].

    Parameters
    ----------
    source
        The files.
    inputs
        uint8 pictures [N, H, W, C] or float32 rows [N, F], as the example reads them.
    expected
        What it should answer.
    class_names
        In order.
    tolerance
        For each probability. So the most probable class may differ only where two are about equally probable.
    """
    compiler = find_compiler()
    if compiler is None:
        return Check(verdict=NOT_CHECKED)
    about = _first_line(subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout)
    with tempfile.TemporaryDirectory(prefix="trimtab-c-") as name:
        try:
            program, options = _compile_as_told(source, Path(name), compiler)
        except CompileError as error:
            return Check(verdict=NOT_COMPILED, compiler=about, options=OPTIONS, message=str(error)[:_MESSAGE_LENGTH])
        try:
            found = answers(program, inputs, class_names)
        except (ValueError, subprocess.SubprocessError, OSError) as error:
            return Check(verdict=DIFFERS, compiler=about, options=options, message=str(error)[:_MESSAGE_LENGTH])
    difference = float(np.nan_to_num(np.abs(found - expected.astype(np.float64)), nan=np.inf).max())
    flips = int(np.sum(found.argmax(axis=1) != expected.argmax(axis=1)))
    return Check(
        verdict=VERIFIED if difference <= tolerance else DIFFERS,
        compiler=about,
        options=options,
        examples=len(found),
        largest_difference=difference if np.isfinite(difference) else None,
        tolerance=tolerance,
        label_flips=flips,
        first=tuple(found[0].tolist()),
    )


def find_compiler() -> str | None:
    """Return the first C compiler on the PATH."""
    return next((found for name in COMPILERS if (found := shutil.which(name)) is not None), None)


def compile_example(source: Source, folder: Path, compiler: str, options: Sequence[str] = OPTIONS) -> Path:
    """Write the files to a folder, compile the example there, and return the program.

    Raises
    ------
    CompileError
        If the compiler fails.
    """
    for name, text in source.files.items():
        (folder / name).write_text(text)
    program = folder / "example"
    command = [compiler, *options, "main.c", f"{source.name}.c", "-o", str(program)]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_COMPILE_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CompileError(str(error)) from error
    if done.returncode != 0:
        raise CompileError(done.stderr.strip() or f"{compiler} exits with {done.returncode}")
    return program


def answers(program: Path, inputs: NDArray[Any], class_names: Sequence[str]) -> NDArray[np.float64]:
    """Return the probabilities [N, K] that a compiled example prints for inputs [N, ...].

    Raises
    ------
    ValueError
        If it fails or prints anything else.
    subprocess.SubprocessError
        If it does not end.
    """
    done = subprocess.run(
        [str(program)], input=np.ascontiguousarray(inputs).tobytes(), capture_output=True, timeout=_RUN_SECONDS
    )
    if done.returncode != 0:
        raise ValueError(f"the program exits with {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return _parse(done.stdout.decode("utf-8", "surrogateescape"), len(inputs), class_names)


def _parse(text: str, count: int, class_names: Sequence[str]) -> NDArray[np.float64]:
    """Read for each example a line per class, with its probability and its name, and an empty line."""
    found, place = np.empty((count, len(class_names))), 0
    names = [name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for name in class_names]
    for row in found:
        for column, name in enumerate(names):
            space = text.find(" ", place)
            number, after = text[place:space], space + 1
            endings = [ending for ending in (f"{name}\n", f"{name} <\n") if text.startswith(ending, after)]
            if space < 0 or not endings:
                raise ValueError(f"the program prints '{text[place : place + 80]}'; expected the class '{name}'")
            row[column], place = float(number), after + len(endings[0])
        place += 1
    if place != len(text):
        raise ValueError(f"the program prints {len(text)} characters; expected {place}")
    return found


def _compile_as_told(source: Source, folder: Path, compiler: str) -> tuple[Path, tuple[str, ...]]:
    """Compile with the options of the README, or with the first of them alone where the compiler lacks the others."""
    try:
        return compile_example(source, folder, compiler), OPTIONS
    except CompileError:
        return compile_example(source, folder, compiler, OPTIONS[:1]), OPTIONS[:1]


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0]
