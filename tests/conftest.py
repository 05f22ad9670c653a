"""Finished runs that several tests look at, each made once, small and quick."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples for the same code, so that what fails is what was changed. To look for new ones:
# pytest --hypothesis-profile explore
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.register_profile("same", derandomize=True, deadline=None)  # a busy machine is no mistake
settings.load_profile("same")

# Before torch is imported: waiting threads that spin make tests many times slower where others share the processor.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory):
    """A cache of the tests' own, for this process and for those it starts."""
    directory = tmp_path_factory.mktemp("cache")
    previous = os.environ.get("TRIMTAB_CACHE")
    os.environ["TRIMTAB_CACHE"] = str(directory)
    yield directory
    os.environ.pop("TRIMTAB_CACHE")
    if previous is not None:
        os.environ["TRIMTAB_CACHE"] = previous


@pytest.fixture(scope="session")
def trimtab():
    """Run the command line in a fresh process: ``trimtab("run", "digits", cwd=...)`` returns the finished process."""

    def run(*arguments: object, cwd: Path | None = None, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trimtab", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False)

    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A finished run on pictures."""
    import trimtab

    return trimtab.run("digits", out=tmp_path_factory.mktemp("runs") / "digits", steps=150, minutes=1)


@pytest.fixture(scope="session")
def people_csv(tmp_path_factory):
    """A table with numbers, categories, booleans and missing values; the target follows age and job."""
    random = np.random.default_rng(0)
    age, job = random.integers(18, 80, 600), random.choice(["cook", "clerk", "smith"], 600)
    member = random.random(600) < 0.5
    buys = (age / 80 + (job == "smith") + 0.2 * random.standard_normal(600)) > 0.9
    lines = ["age,job,member,buys"]
    for index in range(600):
        shown_age = "" if index % 17 == 0 else age[index]
        lines.append(f"{shown_age},{job[index]},{member[index]},{'yes' if buys[index] else 'no'}")
    path = tmp_path_factory.mktemp("tables") / "people.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def people_run(people_csv, tmp_path_factory):
    """A finished run on a table."""
    import trimtab

    out = tmp_path_factory.mktemp("runs") / "people"
    return trimtab.run(people_csv, target="buys", out=out, steps=150, minutes=1)
