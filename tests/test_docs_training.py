"""docs/training.md: every option it names exists, every choice it names is one, no knob of training is left out."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from trimtab.cli import _parser
from trimtab.models import MODELS
from trimtab.plan import Plan
from trimtab.training import AUGMENTATIONS, OPTIMIZERS, SCHEDULES

PAGE = Path(__file__).parent.parent / "docs" / "training.md"
TEXT = PAGE.read_text()
COMMANDS = re.findall(r"^trimtab [^#\n]+", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_ones_that_the_parser_takes(command):
    options = _parser().parse_args(shlex.split(command)[1:])
    assert options.data in ("./photos", "runs/photos/plan.toml")


def test_every_option_that_is_named_exists():
    named = set(re.findall(r"`(--[a-z0-9-]+)", TEXT))
    known = {"--" + entry.name.replace("_", "-") for entry in fields(Plan)} | {"--no-flip", "--workers"}
    assert len(named) > 20
    assert named <= known


def test_every_setting_of_training_is_explained():
    elsewhere = {"engine", "epochs_at_most", "threads", "precision", "learning_rate"}
    settings = {entry.name for entry in fields(Plan) if entry.metadata["section"] == "training"} - elsewhere
    assert {name for name in settings if f"--{name.replace('_', '-')}" not in TEXT} == set()


@pytest.mark.parametrize("name", [*AUGMENTATIONS, *OPTIMIZERS, *SCHEDULES, *MODELS])
def test_every_choice_is_explained(name):
    assert f"`{name}`" in TEXT or f"--optimizer {name}" in TEXT


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert all((PAGE.parent / link).exists() for link in links)
