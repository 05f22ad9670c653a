import json

import pytest

from trimtab.errors import IntegrityError
from trimtab.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", clock=lambda: 12.5)
    ledger.append("opened", rows=3)
    ledger.append("decided", name="model", value="cnn")
    return ledger


def test_events_come_back_in_order_with_their_fields(ledger):
    again = Ledger(ledger.path)
    assert [event["event"] for event in again.events()] == ["opened", "decided"]
    assert again.events("decided")[0]["value"] == "cnn"
    assert again.events("opened")[0]["time"] == 12.5


def test_a_changed_line_is_noticed(ledger):
    ledger.path.write_text(ledger.path.read_text().replace('"rows": 3', '"rows": 4'))
    with pytest.raises(IntegrityError, match=r"line 1 of .* does not continue the chain of hashes"):
        Ledger(ledger.path)


def test_a_removed_line_is_noticed(ledger):
    ledger.path.write_text("".join(ledger.path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(IntegrityError, match="line 1"):
        ledger.verify()


def test_a_torn_last_line_is_cut_off_and_recorded(ledger):
    with ledger.path.open("ab") as file:
        file.write(b'{"event": "half')
    again = Ledger(ledger.path)
    assert ledger.path.read_bytes().endswith(b"half"), "reading changes nothing"
    assert [event["event"] for event in again.events()] == ["opened", "decided"]
    again.append("after")
    assert [event["event"] for event in again.events()] == ["opened", "decided", "torn_line_removed", "after"]
    Ledger(ledger.path).verify()
    assert all(json.loads(line) for line in ledger.path.read_text().splitlines())


def test_values_that_json_does_not_have_are_refused(ledger):
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.append("measured", value=float("nan"))
    assert len(Ledger(ledger.path).events()) == 2
