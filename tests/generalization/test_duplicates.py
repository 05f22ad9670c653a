import numpy as np
import pytest

from trimtab.data.audits import Copies
from trimtab.generalization.duplicates import duplicates_finding, sets_in_order


@pytest.fixture
def rows(blobs):
    return blobs(200)


def copies_of(pairs, rows=200, exact=(), **fields):
    numbers, same = np.arange(rows), np.arange(rows)
    for first, second in pairs:
        numbers[second] = first
    for first, second in exact:
        same[second] = first
    return Copies(numbers=numbers, exact=same, method="a hash", **fields)


PARTS = np.repeat(np.array([0, 1, 2], dtype=np.int8), [120, 40, 40])


def test_no_copies(rows):
    finding = duplicates_finding(rows, copies_of([]))
    assert (finding.state, finding.summary) == ("not found", "None of the 200 rows is a copy of another.")


def test_equal_rows_that_mean_nothing_are_not_applicable(rows):
    finding = duplicates_finding(rows, copies_of([], note="the columns are coarse", are_meaningful=False))
    assert (finding.state, finding.summary) == ("not applicable", "The columns are coarse.")


def test_copies_across_given_parts_are_critical_and_counted(rows):
    rows.labels[[3, 170]] = 0
    rows.labels[5], rows.labels[130] = 0, 1
    finding = duplicates_finding(rows, copies_of([(3, 170), (5, 130)], exact=[(3, 170)]), PARTS)
    assert finding.severity == "critical"
    assert finding.value == 1 / 40
    assert finding.summary == (
        "1 of 40 test rows (2.5%) are copies of ones trained or validated on. 1 validation rows are copies of training "
        "rows. 4 of 200 rows have a copy, in 2 sets. In 1 of these the copies have different labels."
    )
    assert finding.remedy.startswith("Take the copies out of the training part")
    assert finding.remedy.endswith("Correct the labels that differ within a set.")
    shown = finding.evidence["sets_shown"]
    assert shown[0]["parts"] == ["training", "test"]
    assert [one["kind"] for one in shown] == ["exact", "near"]


def test_copies_within_one_part_are_a_note(rows):
    rows.labels[:2] = 0
    finding = duplicates_finding(rows, copies_of([(0, 1)]), PARTS)
    assert finding.severity == "note"
    assert finding.value == 2 / 200
    assert finding.remedy.startswith("`trimtab run` keeps copies in one part")


def test_different_labels_are_a_warning(rows):
    rows.labels[:2] = [0, 1]
    assert duplicates_finding(rows, copies_of([(0, 1)])).severity == "warning"


def test_sets_across_parts_come_first_then_those_with_different_labels(rows):
    rows.labels[[0, 1, 4, 150]] = 0
    rows.labels[2], rows.labels[3] = 0, 1
    found = sets_in_order(rows, copies_of([(0, 1), (2, 3), (4, 150)]), PARTS)
    assert [own.tolist() for own in found] == [[4, 150], [2, 3], [0, 1]]
