from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.training.conftest import make_pictures

from trimtab.training.distributed import channel
from trimtab.training.distributed.lead import LeadStepper

WHOLE = make_pictures(40, 0)
KNOWN = {
    "validation": replace(WHOLE, numbers=WHOLE.numbers[30:], labels=WHOLE.labels[30:]),
    "training": replace(WHOLE, numbers=WHOLE.numbers[:30], labels=WHOLE.labels[:30]),
}


@pytest.fixture
def said(monkeypatch):
    """What is said to the other workers."""
    commands = []
    monkeypatch.setattr(channel, "send", lambda name, *arguments, to=0: commands.append((to, name, *arguments)))
    return commands


class Share:
    """A share of nothing."""

    recipe, is_sharded = None, False
    inner = SimpleNamespace(mode=None)

    def logits(self, rows):
        return len(rows)

    def step(self, step, rate):
        raise RuntimeError

    def copy(self, mode):
        return Share()


def test_rows_that_all_hold_are_named_not_sent(said):
    lead = LeadStepper(Share(), KNOWN)
    assert lead.logits(KNOWN["training"].first(7)) == 7
    assert lead.logits(KNOWN["validation"]) == 10
    assert said == [(0, "logits", "training", 7), (0, "logits", "validation", 10)]


@pytest.mark.parametrize("rows", [KNOWN["validation"].mirrored(), make_pictures(10, 1), WHOLE])
def test_other_rows_are_refused_before_anybody_is_told(said, rows):
    with pytest.raises(ValueError, match="expected those of validation or training"):
        LeadStepper(Share(), KNOWN).logits(rows)
    assert not said


def test_a_copy_that_is_gone_is_forgotten_by_all(said, monkeypatch):
    monkeypatch.setattr("trimtab.training.distributed.lead.asdict", lambda mode: {})
    lead = LeadStepper(Share(), KNOWN)
    first, second = lead.copy(None), lead.copy(None)
    first.logits(KNOWN["validation"])
    del first
    third = lead.copy(None)
    third.logits(KNOWN["validation"])
    assert second.recipe is None
    assert [command[:2] for command in said] == [
        (0, "copy"),
        (0, "copy"),
        (1, "logits"),
        (1, "forget"),
        (0, "copy"),
        (3, "logits"),
    ]


def test_after_an_error_in_the_middle_of_a_command_nobody_is_told_to_stop(said):
    """The others may be waiting for this worker's part, and would take the word for it."""
    lead = LeadStepper(Share(), KNOWN)
    lead.stop()
    with pytest.raises(RuntimeError):
        lead.step(0, 0.1)
    lead.stop()
    assert [command[1] for command in said] == ["stop", "step"]
