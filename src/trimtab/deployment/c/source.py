"""The files in C that hold a model: its program as tables of numbers, after the kernels, behind one function."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.artifact import Artifact
from trimtab.deployment.c.program import FIELDS, KINDS, Program

OPTIONS = ("-O3", "-march=native")
ALIGNMENT = 64

_LINE_WIDTH = 110
_TAKEN = ("main",)  # names of other files here


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files by name, and what the compiled model will take.

    Attributes
    ----------
    name
        Of the model: of its files, and what its functions and types begin with.
    files
        Text by file name.
    weight_bytes
        Of constants.
    work_bytes
        Of the working memory that a caller passes.
    """

    name: str
    files: dict[str, str]
    weight_bytes: int
    work_bytes: int


def identifier(name: str) -> str:
    """Return a name in ASCII letters, digits and underscores that a C identifier may begin with."""
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    return found if found and found[0].isalpha() and found not in _TAKEN else f"model_{found}".rstrip("_")


def write_source(artifact: Artifact, program: Program, *, name: str, sha256: str) -> Source:
    """Return the files ``<name>.c``, ``<name>.h``, ``main.c`` and ``README.txt``.

    Parameters
    ----------
    artifact
        Says what goes in and what comes out.
    program
        Of the artifact.
    name
        An identifier, as of `identifier`.
    sha256
        Of the artifact's weights.
    """
    constants = (program.floats, program.wholes, program.bytes, program.steps)
    model = _Model(artifact, program, name, sha256, sum(array.nbytes for array in constants))
    files = {
        f"{name}.c": model.source(),
        f"{name}.h": model.header(),
        "main.c": model.example(),
        "README.txt": model.readme(),
    }
    return Source(name=name, files=files, weight_bytes=model.weight_bytes, work_bytes=model.work_bytes)


def kernels() -> str:
    """Return the text of ``kernels.c``."""
    return (resources.files("trimtab.deployment.c") / "kernels.c").read_text()


@dataclass(frozen=True)
class _Model:
    artifact: Artifact
    program: Program
    name: str
    sha256: str
    weight_bytes: int

    @property
    def work_bytes(self) -> int:
        return self._work_floats * 4

    @property
    def _work_floats(self) -> int:
        return self.program.memory + ALIGNMENT // 4  # the kernels begin at the next multiple

    @property
    def _macro(self) -> str:
        return self.name.upper()

    @property
    def _class_names(self) -> list[str]:
        return list(self.artifact.meta["class_names"])

    @property
    def _is_picture(self) -> bool:
        return bool(self.artifact.meta["kind"] == "image")

    @property
    def _sizes(self) -> dict[str, int]:
        """Constants of the header that say how much goes in."""
        width, channels = (int(number) for number in self.program.steps[0][[FIELDS.index("width"), _CHANNELS]])
        if not self._is_picture:
            return {"FEATURES": channels}
        return {"HEIGHT": width, "WIDTH": width, "CHANNELS": channels}

    @property
    def _prototype(self) -> str:
        given = "predict(const uint8_t *pixels" if self._is_picture else "predict_row(const float *encoded"
        return f"int {self.name}_{given}, float *probabilities, {self.name}_work *work)"

    def header(self) -> str:
        sizes = "\n".join(f"#define {self._macro}_{key} {value}" for key, value in self._sizes.items())
        return f"""\
/* {_comment(self.name)}: a classifier made by trimtab. */
#ifndef {self._macro}_H
#define {self._macro}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{sizes}
#define {self._macro}_CLASSES {len(self._class_names)}
#define {self._macro}_WEIGHT_BYTES {self.weight_bytes}
#define {self._macro}_WORK_BYTES {self.work_bytes}
#define {self._macro}_WEIGHTS_SHA256 "{self.sha256}"

/* The memory that a prediction works in; nothing else is written to, and nothing is kept in it from call to call. It
   belongs to the caller, who so decides where it lies; with one for each thread, threads may predict side by side. */
typedef struct {{
    float numbers[{self._macro}_WORK_BYTES / 4];
}} {self.name}_work;

extern const char *const {self.name}_class_names[{self._macro}_CLASSES];

{self._contract()}
{self._prototype};

#ifdef __cplusplus
}}
#endif

#endif
"""

    def _contract(self) -> str:
        """Return the comment on the function."""
        sentence = "Writes a probability for each class, and returns the place of the largest."
        if self._is_picture:
            order = {1: "brightness", 3: "red, green, blue"}.get(self._sizes["CHANNELS"], "the channels in their order")
            return (
                f"/* {sentence}\n   pixels: {self._macro}_HEIGHT rows of {self._macro}_WIDTH pixels, of each {order};\n"
                "   resize pictures of other sizes first, everything after that is done in here. */"
            )
        return (
            f"/* {sentence}\n   encoded: {self._macro}_FEATURES numbers, what trimtab's encoder in Python makes of\n"
            "   a row (README.txt says how). */"
        )

    def source(self) -> str:
        program = self.program
        classes = ",\n    ".join(_literal(name) for name in self._class_names)
        given, element = ("pixels", "uint8_t") if self._is_picture else ("encoded", "float")
        steps = ",\n".join(_step(row) for row in program.steps.tolist())
        return f"""\
/* {_comment(self.name)}: a classifier made by trimtab. First the kernels, which are the same in all such files. */
#include "{self.name}.h"

#include <stddef.h>
#include <stdint.h>

{kernels()}
/* ---- this model ---- */

#if defined(__GNUC__)
#define ALIGNED __attribute__((aligned({ALIGNMENT})))
#else
#define ALIGNED
#endif

static const float floats[] ALIGNED = {{
{_lines(_hexadecimal(program.floats))}
}};

static const int32_t wholes[] ALIGNED = {{
{_lines(map(str, _never_empty(program.wholes)))}
}};

static const int8_t bytes[] ALIGNED = {{
{_lines(map(str, _never_empty(program.bytes)))}
}};

/* {", ".join(FIELDS)} */
static const Step steps[] = {{
{steps}
}};

static const Model model = {{
    steps, floats, wholes, bytes, {len(program.steps)}, {len(self._class_names)}, {program.logits},
    {int(self.artifact.has_mirror)}, {float(np.float32(self.artifact.meta.get("temperature", 1.0))).hex()}f
}};

const char *const {self.name}_class_names[{self._macro}_CLASSES] = {{
    {classes}
}};

int {self._prototype[4:]}
{{
    return predict(&model, (const {element} *){given}, probabilities, work->numbers);
}}
"""

    def example(self) -> str:
        count = " * ".join(f"{self._macro}_{key}" for key in self._sizes)
        element, function = ("uint8_t", "predict") if self._is_picture else ("float", "predict_row")
        what = "pictures as raw bytes" if self._is_picture else "encoded rows as raw floats"
        return f"""\
/* Reads {what} from the standard input, one after the other, and prints the probabilities of each. */
#include <stdio.h>

#include "{self.name}.h"

static {self.name}_work work;
static {element} input[{count}];
static float probabilities[{self._macro}_CLASSES];

int main(void)
{{
    while (fread(input, sizeof input, 1, stdin) == 1) {{
        const int best = {self.name}_{function}(input, probabilities, &work);
        int i;
        for (i = 0; i < {self._macro}_CLASSES; i++)
            printf("%.9g %s%s\\n", probabilities[i], {self.name}_class_names[i], i == best ? " <" : "");
        printf("\\n");
    }}
    return 0;
}}
"""

    def readme(self) -> str:
        return f"""\
{self.name}: a classifier as C, made by trimtab. It needs nothing but a C99 compiler.

    cc {" ".join(OPTIONS)} main.c {self.name}.c -o {self.name}

{self._usage()}

{self._files()}

Nothing is allocated and no state is kept. Compile without -ffast-math: it changes roundings that 8-bit models rely on.
Weights: SHA-256 {self.sha256}
"""

    def _files(self) -> str:
        """Return a line for each file."""
        what = {
            f"{self.name}.c": f"the model: kernels and weights ({self.weight_bytes:,} bytes of constants, compiled)",
            f"{self.name}.h": f"its one function and its sizes ({self.work_bytes:,} bytes of memory from the caller)",
            "main.c": "an example",
        }
        width = max(map(len, what)) + 4
        return "\n".join(f"{name:<{width}}{text}" for name, text in what.items())

    def _usage(self) -> str:
        if self._is_picture:
            side, channels = self._sizes["WIDTH"], self._sizes["CHANNELS"]
            mode, bytes_each = ("L", "a byte") if channels == 1 else ("RGB", f"{channels} bytes")
            return f"""\
    ./{self.name} < picture.raw

reads pictures of {side} x {side} pixels, {bytes_each} each, row by row, and prints the probability of each class.
Resize other pictures first; trimtab does it as Pillow:

    Image.open("picture.png").convert("{mode}").resize(({side}, {side}), Image.Resampling.BILINEAR).tobytes()"""
        return f"""\
    ./{self.name} < rows.raw

reads rows of {self._sizes["FEATURES"]} floats and prints the probability of each class. What makes these numbers of
the columns stays in Python:

    import json
    from trimtab.data import TableEncoder
    encoder = TableEncoder.from_dict(json.load(open("bundle/manifest.json"))["preprocessing"]["encoder"])
    table, warnings = encoder.parse_rows([{{"column": value, ...}}])
    encoder.encode(table).tofile("rows.raw")"""


_CHANNELS = FIELDS.index("channels")


def _step(row: list[int]) -> str:
    return f"    {{{', '.join([KINDS[row[0]], *map(str, row[1:])])}}}"


def _hexadecimal(values: NDArray[np.float32]) -> list[str]:
    """Return float constants that stand for exactly these numbers."""
    found = [value.hex() for value in _never_empty(values).tolist()]
    return [re.sub(r"\.?0*p\+?", "p", text) + "f" for text in found]


def _never_empty(values: NDArray[Any]) -> NDArray[Any]:
    """Return at least one number, since C has no empty arrays."""
    return values if len(values) else np.zeros(1, values.dtype)


def _lines(words: Iterable[str]) -> str:
    """Return the words, separated by commas, in lines of about the same width."""
    lines: list[str] = []
    line: list[str] = []
    width = 0
    for word in words:
        if width + len(word) > _LINE_WIDTH:
            lines.append(", ".join(line))
            line, width = [], 0
        line.append(word)
        width += len(word) + 2
    return ",\n".join([*lines, ", ".join(line)])


def _literal(text: str) -> str:
    """Return a string constant with these characters in UTF-8; all but plain ones as octal numbers."""
    plain = re.compile(r"[A-Za-z0-9 _.,:;+*/()<>=!#$%&'-]")
    content = text.encode("utf-8", "surrogatepass")
    return '"' + "".join(chr(byte) if plain.match(chr(byte)) else f"\\{byte:03o}" for byte in content) + '"'


def _comment(text: str) -> str:
    return text.replace("*/", "")
