"""The page of a diagnosis shows every finding and every trial, and loads nothing."""

from trimtab.evaluation.plots.trials import plot_trials
from trimtab.findings import Finding, Trial
from trimtab.report.diagnosis_page import write_diagnosis_page

HELPED = Trial(
    remedy="dropout 0.4",
    settings={"dropout": 0.4},
    metric="log loss of 200 validation rows",
    gain=0.05,
    low=0.02,
    high=0.08,
    p_value=0.001,
    has_helped=True,
    seconds=3.0,
)
DIVERGED = Trial(
    remedy="L1 <b>", metric="none", gain=0.0, low=None, high=None, p_value=None, has_helped=False, seconds=1.0
)
FOUND = Finding(
    code="OVERFIT", state="found", severity="warning", summary="It is so.", remedy="Do it.", trials=(HELPED, DIVERGED)
)
OTHER = Finding(code="SHIFT", state="not checked", summary="Nobody looked.")


def test_everything_is_on_the_page(tmp_path):
    plot_trials([HELPED, DIVERGED], tmp_path / "trials.svg", label="gain")
    path = write_diagnosis_page(
        tmp_path / "diagnosis.html",
        name="photos",
        findings=[FOUND, OTHER],
        commands={"OVERFIT": "trimtab run overfit.toml"},
        notes=["Two seeds."],
    )
    page = path.read_text()
    for text in ("1 cause found", "OVERFIT", "It is so.", "Do it.", "trimtab run overfit.toml", "Nobody looked."):
        assert text in page
    for text in ("dropout 0.4", "+0.0500", "+0.0200 to +0.0800", "L1 &lt;b&gt;", "Two seeds.", "<svg"):
        assert text in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_page_without_plots_says_that_nothing_was_found(tmp_path):
    path = write_diagnosis_page(tmp_path / "d.html", name="x", findings=[OTHER], commands={}, notes=[])
    page = path.read_text()
    assert "Nothing was found" in page
    assert "<svg" not in page


def test_what_helped_is_drawn_in_color(tmp_path):
    plot_trials([HELPED], tmp_path / "one.svg", label="gain")
    plot_trials([DIVERGED], tmp_path / "other.svg", label="gain")
    assert "#2a5fb8" in (tmp_path / "one.svg").read_text()
    assert "#2a5fb8" not in (tmp_path / "other.svg").read_text()
