"""The corridor: a room imports only the ground floor and rooms to its left, and serving needs no training library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trimtab

ROOT = Path(trimtab.__file__).parent
GROUND = ("errors", "storage", "budget", "machine", "ledger", "artifact", "plan", "directory", "findings")
CORRIDOR = ("data", "models", "numpy_nn", "training", "evaluation", "generalization", "planning")
CORRIDOR += ("compression", "deployment", "report")
FAR_END = (
    "console",
    "interrupt",
    "stages",
    "request",
    "launching",
    "pipeline",
    "opened",
    "predictions",
    "looks",
    "figures",
    "diagnosing",
)
FAR_END += (
    "smoke",
    "running",
    "auditing",
    "crossvalidating",
    "ensembling",
    "compressing",
    "packaging",
    "classifier",
    "verbs",
    "cli",
    "__main__",
)
ORDER = {name: index for index, name in enumerate((*GROUND, *CORRIDOR, *FAR_END))}
KNOW_TORCH = ("training/torch_", "training/distributed/", "smoke.py")
HEAVY = ("torch", "sklearn", "pyarrow", "matplotlib", "onnx", "jinja2", "pandas", "scipy", "tqdm")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports anywhere but under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trimtab":
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("trimtab.")}
    return names & ORDER.keys()


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_every_file_is_in_a_known_room():
    assert {room_of(path) for path in FILES} <= ORDER.keys()
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_left(path):
    room = room_of(path)
    to_the_right = {name for name in imported_rooms(path) if ORDER[name] > ORDER[room]}
    assert not to_the_right, f"{room} must not know {to_the_right}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_torch_engine_and_the_check_of_the_machine_know_torch(path):
    imports = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    name = str(path.relative_to(ROOT))
    assert "torch" not in imports or name.startswith(KNOW_TORCH)


def fresh(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_importing_trimtab_and_its_torch_free_rooms_loads_nothing_heavy():
    rooms = ["data", "models", "numpy_nn", "planning", "evaluation", "deployment", "compression", "report", "cli"]
    rooms += ["training", "training.loop", "training.numpy_steps", "training.stacked_loop", "generalization.folds"]
    rooms += ["generalization.fold_files", "generalization.fold_figures"]
    imports = "; ".join(f"import trimtab.{room}" for room in rooms)
    result = fresh(f"import sys; import trimtab; {imports}; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert result.stdout.strip() == "[]", result.stderr


def test_serving_works_where_no_training_library_can_be_imported():
    """Data, metrics and everything that serves a bundle, with torch and its company made unimportable."""
    code = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None
import numpy as np
import trimtab.deployment.server, trimtab.predictions
from trimtab.data import Table, TableEncoder, decode_image
from trimtab.evaluation import evaluate
from trimtab.models import measure_size
table = Table(columns={{"age": np.array([1.0, 2.0, np.nan])}}, kinds={{"age": "number"}})
encoder = TableEncoder.fit(table, np.arange(3))
assert encoder.encode(table).shape[0] == 3
figures = evaluate(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), class_names=("a", "b"))
print(round(figures.metrics["accuracy"].value, 3))
"""
    result = fresh(code)
    assert result.stdout.strip() == "0.667", result.stderr


def test_importing_trimtab_takes_under_three_tenths_of_a_second():
    code = "import time; t = time.perf_counter(); import trimtab; print(time.perf_counter() - t)"
    assert min(float(fresh(code).stdout) for _ in range(3)) < 0.3


def test_help_takes_under_half_a_second_of_processor_time():
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', 'trimtab', '--help'], check=True, "
        "stdout=subprocess.DEVNULL); u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime)"
    )
    assert min(float(fresh(code).stdout) for _ in range(3)) < 0.5


def test_nothing_is_pickled_and_no_text_is_executed():
    forbidden = ("import pickle", "pickle.load", "torch.load(", "torch.save(", "joblib.load", "allow_pickle=True")
    for path in FILES:
        text = path.read_text()
        assert not [word for word in forbidden if word in text], path


def test_no_file_is_long():
    assert {str(path): count for path in FILES if (count := len(path.read_text().splitlines())) > 400} == {}
