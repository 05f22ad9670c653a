"""What generated C looks like: deterministic, self-contained, and true to the kernels; no compiler is needed here."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
from tests.deployment.c_cases import CASES, make_artifact, source_of

from trimtab.deployment.c import identifier, kernels, to_program
from trimtab.deployment.c.program import FIELDS, FORMS, KINDS
from trimtab.deployment.c.weights import PANEL, QUAD, in_panels, in_quads


def enumerated(first: str) -> list[str]:
    """The names of the enumeration in kernels.c that begins with this one."""
    body = next(body for body in re.findall(r"^enum \{\n(.*?)^\};", kernels(), re.M | re.S) if first in body)
    return re.findall(r"^    ([A-Z_]+)", body, re.M)


def test_kinds_forms_and_fields_are_those_of_the_kernels() -> None:
    assert enumerated("PIXELS") == list(KINDS)
    assert enumerated("FLOATS") == list(FORMS)
    body = re.search(r"typedef struct \{\n([^}]*)\} Step;", kernels())
    assert body is not None
    declarations = re.findall(r"int32_t ([a-z_, ]+);", body[1])
    assert [name for names in declarations for name in names.split(", ")] == list(FIELDS)
    assert f"PANEL = {PANEL}," in kernels()
    assert f"QUAD = {QUAD}," in kernels()


@pytest.mark.parametrize("label", ["resnet", "vit", "mlp"])
def test_the_same_artifact_gives_the_same_bytes(label: str) -> None:
    assert source_of(make_artifact(label)) == source_of(make_artifact(label))


def test_only_standard_headers_and_those_of_compilers_are_included() -> None:
    source = source_of(make_artifact("cnn"))
    included = set(re.findall(r"#\s*include (\S+)", source.files["pets.c"] + source.files["pets.h"]))
    assert included == {'"pets.h"', "<stddef.h>", "<stdint.h>", "<immintrin.h>", "<emmintrin.h>", "<wasm_simd128.h>"}


def test_the_header_says_what_goes_in_and_what_it_takes() -> None:
    artifact = make_artifact("cnn")
    source = source_of(artifact)
    defined = dict(re.findall(r"^#define PETS_(\w+) (\S+)$", source.files["pets.h"], re.M))
    assert defined == {
        "HEIGHT": "20",
        "WIDTH": "20",
        "CHANNELS": "3",
        "CLASSES": "3",
        "WEIGHT_BYTES": str(source.weight_bytes),
        "WORK_BYTES": str(source.work_bytes),
        "WEIGHTS_SHA256": f'"{artifact.sha256}"',
    }
    program = to_program(artifact)
    arrays = (program.floats, program.wholes, program.bytes, program.steps)
    assert source.weight_bytes == sum(array.nbytes for array in arrays)
    assert source.work_bytes == 4 * program.memory + 64


def test_a_table_has_a_function_for_encoded_rows() -> None:
    header = source_of(make_artifact("mlp")).files["pets.h"]
    assert "int pets_predict_row(const float *encoded, float *probabilities, pets_work *work);" in header
    assert "#define PETS_FEATURES 7" in header


def test_floats_are_written_exactly() -> None:
    text = source_of(make_artifact("mlp")).files["pets.c"]
    body = re.search(r"static const float floats\[\] ALIGNED = \{\n(.*?)\n\};", text, re.S)
    assert body is not None
    written = [float.fromhex(word.removesuffix("f")) for word in re.split(r",\s+", body[1])]
    assert np.array_equal(np.array(written, np.float32), to_program(make_artifact("mlp")).floats)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photos-2", "photos_2"),
        ("Köln 7", "k_ln_7"),
        ("7 seas", "model_7_seas"),
        ("main", "model_main"),
        ("é", "model"),
    ],
)
def test_a_run_of_any_name_gives_an_identifier(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_weights_that_are_not_finite_are_refused() -> None:
    artifact = make_artifact("mlp")
    artifact.arrays["8.weight"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^there are weights that are not finite$"):
        to_program(artifact)


@pytest.mark.parametrize(("key", "change"), [("9.weight", np.zeros((3, 8), np.float32)), ("0.weight", None)])
def test_arrays_of_another_network_are_refused(key: str, change: Any) -> None:
    artifact = make_artifact("mlp")
    arrays = {name: array for name, array in (artifact.arrays | {key: change}).items() if array is not None}
    with pytest.raises((ValueError, LookupError)):
        to_program(type(artifact)(builder="mlp", kwargs=artifact.kwargs, arrays=arrays, meta=artifact.meta))


def test_no_tensor_lies_on_another_that_is_still_needed() -> None:
    """Played through with marks in place of numbers: each step reads what was written for it."""
    for label in CASES:
        program = to_program(make_artifact(label))
        owner = np.full(program.memory, -1)
        made: dict[int, int] = {}
        for number, row in enumerate(program.steps.tolist()):
            step = dict(zip(FIELDS, row, strict=True))
            sources = {step["source"], step["other"]} if number else set()
            for place in sources:
                assert place in made, (label, number)
                assert owner[place] == made[place], (label, number)
            size = step["out_height"] * step["out_width"] * step["out_channels"]
            assert not sources & set(range(step["result"], step["result"] + size)), (label, number)
            owner[step["result"] : step["result"] + size] = number
            made[step["result"]] = number


def test_panels_hold_the_weights_of_one_input_beside_each_other() -> None:
    rows = np.arange(1, 18 * 5 + 1, dtype=np.int8).reshape(18, 5)
    panels, quads = in_panels(rows), in_quads(rows)
    assert panels.shape == (2, 5, PANEL)
    assert quads.shape == (2, 2, PANEL, QUAD)
    assert panels[1, 3, 1] == quads[1, 0, 1, 3] == rows[17, 3]
    assert quads[0, 1, 4].tolist() == [rows[4, 4], 0, 0, 0]
    assert not panels[1, :, 2:].any()
    assert not quads[1, :, 2:].any()


def test_generating_needs_no_training_library_and_no_onnx() -> None:
    code = """
        import sys
        for name in ("torch", "onnx", "onnxruntime", "sklearn", "PIL", "safetensors"):
            sys.modules[name] = None
        import numpy as np
        from trimtab import numpy_nn
        from trimtab.artifact import Artifact
        from trimtab.deployment.c import to_program, write_source
        from trimtab.models import build
        kwargs = {"in_channels": 3, "image_size": 8, "channels": [4, 8], "num_classes": 2}
        meta = {"kind": "image", "class_names": ["a", "b"], "image_size": 8, "channels": 3}
        meta |= {"mean": [0] * 3, "std": [1] * 3}
        arrays = build(numpy_nn, "cnn", kwargs).state_dict()
        artifact = Artifact(builder="cnn", kwargs=kwargs, arrays=arrays, meta=meta)
        source = write_source(artifact, to_program(artifact), name="pets", sha256="0" * 64)
        print(sorted(source.files))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['README.txt', 'main.c', 'pets.c', 'pets.h']", done.stderr
