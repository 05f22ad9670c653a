import pytest

from trimtab.findings import CODES, Finding, Trial, data_of_findings, in_order, load_findings, save_findings

TRIAL = Trial(
    remedy="dropout 0.2",
    settings={"dropout": 0.2},
    metric="log loss, validation",
    gain=0.02,
    low=0.01,
    high=None,
    p_value=0.001,
    has_helped=True,
    seconds=3.0,
)
FOUND = Finding(code="OVERFIT", state="found", severity="warning", summary="It overfits.", value=0.1, trials=(TRIAL,))


def test_findings_are_read_as_they_were_written(tmp_path):
    others = [Finding(code=code, state="not checked", summary="No time.") for code in CODES if code != "OVERFIT"]
    save_findings([FOUND, *others], tmp_path / "findings.json")
    assert load_findings(tmp_path / "findings.json") == [FOUND, *others]


def test_findings_say_which_data_they_are_about(tmp_path):
    save_findings([FOUND], tmp_path / "findings.json", data_hash="ab12")
    assert data_of_findings(tmp_path / "findings.json") == "ab12"
    save_findings([FOUND], tmp_path / "findings.json")
    assert data_of_findings(tmp_path / "findings.json") is None


def test_another_format_is_refused(tmp_path):
    (tmp_path / "findings.json").write_text('{"format": "x"}')
    with pytest.raises(ValueError, match=r"is of format x; expected trimtab-findings/1; write it anew\."):
        load_findings(tmp_path / "findings.json")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"code": "ODD", "state": "not found"}, "code is 'ODD'; expected one of LEAKAGE"),
        ({"code": "SHIFT", "state": "found"}, "SHIFT is found with severity None; expected a severity exactly"),
        ({"code": "SHIFT", "state": "not found", "severity": "note"}, "SHIFT is not found with severity note"),
        ({"code": "SHIFT", "state": "not found", "low": float("nan")}, "a figure of SHIFT is not finite"),
    ],
)
def test_what_does_not_belong_together_is_refused(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        Finding(summary="", **fields)


def test_the_most_severe_found_ones_come_first():
    critical = Finding(code="UNCALIBRATED", state="found", severity="critical", summary="")
    clean = Finding(code="LEAKAGE", state="not found", summary="")
    assert in_order([clean, FOUND, critical]) == [critical, FOUND, clean]


def test_a_code_has_a_page():
    assert Finding(code="NO_SIGNAL", state="not checked", summary="").page == "docs/findings.md#no-signal"
