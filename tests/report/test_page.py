"""The page: complete in itself, honest about what is missing, and safe whatever the files hold."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trimtab.errors import InputError, IntegrityError
from trimtab.evaluation.plots import GRID, PAPER
from trimtab.report import write_report
from trimtab.storage import write_text

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Checks that tags close, and collects words, addresses and identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "action"):
                self.addresses.append(value or "")
            if name == "id":
                self.identifiers.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def test_page_needs_nothing_from_outside(picture_run: Path) -> None:
    page = write_report(picture_run)
    assert page == picture_run / "report.html"
    reader, html = read(page), page.read_text()
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in reader.addresses)
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|<script|<link", html)


def test_page_says_what_was_delivered_and_that_the_budget_was_met(picture_run: Path) -> None:
    text = read(write_report(picture_run)).text
    assert "A model of 312 kB that names 79.0% of new examples right." in text
    assert "Budget met All 3 limits are kept; time is closest, at 98% of what was allowed." in text
    assert "On 2,000 examples that it had never seen, the model named 79.0% right." in text
    assert "always answering “automobile” would be right 11.4% of the time" in text
    assert (
        "sealed from the start and looked at for the delivered model alone: they chose nothing. Ranges are at 97.5%"
        in text
    )
    assert "3 unreadable files were left out: a.jpg, b.jpg, c.jpg" in text


def test_page_says_by_how_much_the_budget_was_missed(missed_run: Path) -> None:
    text = read(write_report(missed_run)).text
    assert "Budget missed Size is 25% above the limit." in text
    assert "0.312 of 0.25 MB 25% above the limit" in text
    assert "no limit was set" in text


def test_page_tells_how_the_model_was_chosen_and_how_to_repeat_it(picture_run: Path) -> None:
    text = read(write_report(picture_run)).text
    assert "int8 · delivered" in text
    assert "0.18 points at most 0.47" in text
    assert "3.7 times smaller, and it loses less than a point" in text
    assert "probabilities differ by at most 3.1e-06 in 5,000 examples, and no answer changed." in text
    assert "corrected once to end with the budget, last at step 900" in text
    assert "pictures, and the budget allows convolutions" in text
    assert "trimtab run runs/photos/plan.toml" in text
    assert "Whether the labels are right." in text


def test_plots_beside_each_other_share_no_identifier(picture_run: Path) -> None:
    page = write_report(picture_run)
    reader, html = read(page), page.read_text()
    assert reader.tags["svg"] == 7
    assert len(reader.identifiers) == len(set(reader.identifiers))
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | {a[1:] for a in reader.addresses if a.startswith("#")}
    assert used
    assert used <= set(reader.identifiers)


def test_plots_follow_light_and_dark(picture_run: Path) -> None:
    html = write_report(picture_run).read_text()
    plots = html[html.index("<svg") : html.rindex("</svg>")]
    assert "var(--ink)" in plots
    assert not re.search("#1f2933|#fefefe|#697586|#dfe4ea|#2a5fb8", plots)
    assert "<style" not in plots


def test_every_plot_has_its_title_and_a_sentence_that_explains_it(picture_run: Path) -> None:
    page = write_report(picture_run)
    reader = read(page)
    assert reader.tags["figcaption"] == 8  # seven plots and the first batch
    for words in (
        "mistakes are orange",
        "F1 is high only when",
        "the upper left corner",
        "the class's share of all examples",
        "what is said with 80% is right 80 times in 100",
        "How sure it was",
        "learning by heart",
    ):
        assert words in reader.text


def test_only_wide_plots_take_a_whole_line(bare_run: Callable[..., Path]) -> None:
    directory = bare_run()
    for name, width in (("confusion", 532.8), ("roc", 331.2)):
        svg = f'<svg viewBox="0 0 {width} 300"><g id="a"/></svg>'
        write_text(directory / "evaluation" / f"{name}.svg", svg)
    html = write_report(directory).read_text()
    assert re.findall(r"<figure( class=.wide.)?>\s*<h3>([^<]*)", html) == [
        (' class="wide"', "What was taken for what"),
        ("", "Finding more against crying wolf"),
    ]


def test_what_stands_behind_a_drawing_within_a_drawing_is_the_paper(bare_run: Callable[..., Path]) -> None:
    directory = bare_run()
    svg = f'<svg viewBox="0 0 1 1"><path style="fill: {PAPER}; stroke: {GRID}"/></svg>'
    write_text(directory / "evaluation" / "roc.svg", svg)
    assert '<path style="fill: var(--paper); stroke: var(--rule)"/>' in write_report(directory).read_text()


def test_mistakes_show_pictures_or_cells(picture_run: Path, missed_run: Path) -> None:
    pictures, cells = read(write_report(picture_run)), read(write_report(missed_run))
    assert pictures.tags["img"] == 13  # twelve mistakes and the first batch
    assert "automobile 99.8% sure, but labeled airplane test/airplane/0000.png" in pictures.text
    assert ">50K 99.8% sure, but labeled <=50K row 1700 age 30 workclass Private occupation missing" in cells.text


def test_names_cannot_become_markup(missed_run: Path) -> None:
    html = write_report(missed_run).read_text()
    assert "&lt;b&gt;hours&lt;/b&gt;" in html
    assert "<b>hours" not in html


def test_scripts_in_a_plot_are_dropped(bare_run: Callable[..., Path]) -> None:
    directory = bare_run()
    svg = '<svg viewBox="0 0 1 1"><script>alert(1)</script><g id="a"/></svg>'
    write_text(directory / "evaluation" / "roc.svg", svg)
    html = write_report(directory).read_text()
    assert "alert" not in html
    assert '<g id="roc-a"/>' in html


def test_a_run_with_almost_nothing_says_what_is_missing(bare_run: Callable[..., Path]) -> None:
    text = read(write_report(bare_run())).text
    for sentence in (
        "No model has been delivered yet.",
        "Nothing was delivered, so there is no cost to compare with the budget.",
        "Accuracy was not measured.",
        "There is no record that the sealed test rows were opened.",
        "The run left no list of what it did not check. Do not take that as a sign that everything was.",
    ):
        assert sentence in text
    assert "In pictures" not in text
    assert "How it was chosen" not in text


@pytest.mark.parametrize(
    "missing",
    [
        "run.json",
        "bundle/manifest.json",
        "bundle/parity.json",
        "evaluation/metrics.json",
        "evaluation/mistakes.json",
        "evaluation/mistakes",
        "evaluation/confusion.svg",
        "compression/table.json",
        "ledger.jsonl",
        "data/first_batch.png",
    ],
)
def test_any_file_may_be_missing(picture_run: Path, tmp_path: Path, missing: str) -> None:
    directory = shutil.copytree(picture_run, tmp_path / "copy")
    gone = directory / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert "What was not checked" in read(write_report(directory)).text


def test_test_rows_opened_again_are_admitted(bare_run: Callable[..., Path]) -> None:
    directory = bare_run()
    write_text(directory / "ledger.jsonl", '{"event": "test_opened"}\n' * 3 + '{"event": "test_op')
    assert "This is look number 3 at the same test rows." in read(write_report(directory)).text
    look = '{"event": "test_opened", "opening": 2, "level": 0.9916666666666667, "others": ["shop-2"]}\n'
    write_text(directory / "ledger.jsonl", look)
    text = read(write_report(directory)).text
    assert "This is look number 2 at the same test rows, also in shop-2." in text
    assert "they are at 99.17% here, and those of all looks together hold 95% of the time." in text


def test_only_the_weakest_of_many_classes_are_listed(bare_run: Callable[..., Path]) -> None:
    def estimate(value: float | None) -> dict[str, object]:
        return {"value": value, "low": None, "high": None, "method": "undefined: no row", "level": 0.95}

    names = [f"kind {k}" for k in range(40)]
    values = {name: None if k == 39 else 0.5 + k / 100 for k, name in enumerate(names)}
    per_class = {
        name: {metric: estimate(value) for metric in ("precision", "recall", "f1", "roc_auc")}
        for name, value in values.items()
    }
    metrics = {"rows": 400, "metrics": {}, "per_class": per_class, "support": dict.fromkeys(names, 10)}
    text = read(write_report(bare_run(evaluation__metrics=metrics))).text
    assert "10 more classes, each better than these, are in evaluation/metrics.json." in text
    assert text.index("kind 39") < text.index("kind 0 ")
    assert "kind 35" not in text


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_report(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds none of run.json, bundle/manifest.json, evaluation/metrics.json, ledger.jsonl; expected "
        "the directory of a run; give a directory that `trimtab run` made, such as runs/digits."
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("evaluation/metrics.json", "{", "JSON"),
        ("compression/table.json", "{}", "a JSON array"),
        ("ledger.jsonl", "[1]\n", "one JSON object per line"),
    ],
)
def test_a_damaged_file_is_named(bare_run: Callable[..., Path], name: str, content: str, expected: str) -> None:
    directory = bare_run()
    write_text(directory / name, content)
    with pytest.raises(IntegrityError) as caught:
        write_report(directory)
    path = directory / name
    assert str(caught.value) == (
        f"{path} is not what was written; expected {expected}; restore it from a copy or run again."
    )
