import numpy as np
import pytest

from trimtab.generalization.quick_model import quick_inputs
from trimtab.generalization.shift import shift_finding

PARTS = np.repeat(np.array([0, 2], dtype=np.int8), [400, 200])


def test_a_test_part_of_another_kind_is_found_and_the_column_named(blobs):
    dataset = blobs(600, parts=PARTS)
    dataset.table.columns["r"][400:] += 1.5
    finding = shift_finding(dataset, quick_inputs(dataset))
    assert (finding.state, finding.severity) == ("found", "critical")
    assert finding.low > 0.75
    assert finding.evidence["columns"][0]["name"] == "r"
    assert ", most of all by 'r' and " in finding.summary


def test_a_small_shift_is_less_severe(blobs):
    dataset = blobs(600, parts=PARTS)
    dataset.table.columns["r"][400:] += 0.7
    finding = shift_finding(dataset, quick_inputs(dataset))
    assert finding.state == "found"
    assert finding.severity in ("note", "warning")


def test_a_test_part_drawn_at_random_has_no_shift(blobs):
    states = []
    for seed in range(4):
        dataset = blobs(600, seed=seed, parts=np.random.default_rng(seed).permutation(PARTS))
        states.append(shift_finding(dataset, quick_inputs(dataset)).state)
    assert states.count("not found") >= 3


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (None, "The data came with no test rows of their own; a part drawn at random has none."),
        (
            np.repeat(np.array([0, 2], dtype=np.int8), [590, 10]),
            "The data came with 10 test rows of their own; too few",
        ),
    ],
)
def test_without_a_test_part_of_its_own_there_is_nothing_to_see(blobs, parts, sentence):
    dataset = blobs(600, parts=parts)
    finding = shift_finding(dataset, quick_inputs(dataset))
    assert finding.state == "not applicable"
    assert finding.summary.startswith(sentence)
