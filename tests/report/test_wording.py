"""Numbers and sentences, word for word."""

from __future__ import annotations

import pytest

from trimtab.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.31234, "0.312"),
        (7.855, "7.86"),
        (48.26, "48.3"),
        (402.7, "403"),
        (289130, "289,130"),
        (0.00125, "0.00125"),
        (3.1e-06, "3.1e-06"),
        (999.7, "1000"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0%"), (1, "100.0%"), (0.79, "79.0%"), (0.9996, "99.96%"), (0.0004, "0.04%"), (0.999997, "99.9997%")],
)
def test_a_share_that_is_not_all_does_not_read_as_all(share: float, text: str) -> None:
    assert wording.percent(share) == text


def line(name: str, limit: float | None, measured: float) -> dict[str, object]:
    return {"name": name, "limit": limit, "measured": measured, "met": limit is None or measured <= limit}


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ([line("minutes", None, 3)], "No limit was set, so nothing could be missed."),
        ([line("minutes", 4, 3)], "The limit on time is kept, at 75% of what was allowed."),
        (
            [line("minutes", 4, 4.2), line("megabytes", 0.001, 0.312), line("milliseconds", 5, 1)],
            "Time is 5% above the limit and size is 312 times the limit.",
        ),
    ],
)
def test_verdict_says_by_how_much(limits: list[dict[str, object]], sentence: str) -> None:
    assert wording.verdict(limits) == sentence


@pytest.mark.parametrize(
    ("flips", "end"),
    [(0, "and no answer changed."), (1, "and 1 answer changed."), (7, "and 7 answers changed.")],
)
def test_parity_counts_changed_answers(flips: int, end: str) -> None:
    sentence = wording.parity_sentence({"rows": 90, "largest_difference": 0.002, "label_flips": flips})
    assert sentence.endswith(f"by at most 0.00200 in 90 examples, {end}")


@pytest.mark.parametrize(
    ("drop", "text"), [(0.0018, "0.18 points"), (-0.0, "none"), (-0.00001, "none"), (-0.0005, "0.05 points gained")]
)
def test_accuracy_gained_is_not_a_negative_loss(drop: float, text: str) -> None:
    assert wording.points(drop) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"channels": [32, 64], "dropout": 0.1}, "channels 32, 64; dropout 0.1"),
        (True, "yes"),
        (None, "none"),
        ("cnn", "cnn"),
    ],
)
def test_decided_values_read_without_brackets(value: object, text: str) -> None:
    assert wording.plain(value) == text


def test_headline_without_an_accuracy_claims_none() -> None:
    assert wording.headline({"cost": {"megabytes": 0.5}}, {}) == "A model of 500 kB was delivered."
    assert wording.headline({}, {}) == "No model has been delivered yet."
