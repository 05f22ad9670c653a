import numpy as np
import pytest

from trimtab.generalization.imbalance import imbalance_finding


@pytest.mark.parametrize(
    ("counts", "state", "severity"),
    [((50, 50), "not found", None), ((100, 10), "found", "note"), ((1000, 10), "found", "warning")],
)
def test_classes_are_unbalanced_from_ten_to_one_on(make_table, counts, state, severity):
    labels = np.repeat([0, 1], counts)
    finding = imbalance_finding(make_table({"x": np.arange(float(len(labels)))}, labels))
    assert (finding.state, finding.severity) == (state, severity)
    assert finding.value == counts[0] / counts[1]


def test_what_is_rare_is_named(make_table):
    labels = np.repeat([0, 1], (90, 9))
    finding = imbalance_finding(make_table({"x": np.arange(99.0)}, labels))
    assert finding.summary == "'a' has 90 rows and 'b' 9, 10 to 1: always answering 'a' is right in 90.9%."


def test_classes_of_one_size_are_said_to_be(make_table):
    finding = imbalance_finding(make_table({"x": np.arange(60.0)}, np.repeat([0, 1, 2], 20)))
    assert finding.summary == "Every class has 20 rows."
