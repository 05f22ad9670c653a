"""Numbers and findings in plain words. It decides how things are said, not what is shown where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LIMITS = {
    "minutes": ("Time", "min", "the whole run, by the clock on the wall"),
    "megabytes": ("Size", "MB", "the delivered model file"),
    "milliseconds": ("Speed", "ms", "one example, from raw input to answer, 95 of 100 times faster than this"),
}
METRICS = {
    "accuracy": ("Accuracy", "how many of all examples are named right"),
    "top_3_accuracy": ("Top-3 accuracy", "how often the right answer is among the three likeliest"),
    "top_5_accuracy": ("Top-5 accuracy", "how often the right answer is among the five likeliest"),
    "recall_macro": ("Recall", "how much of a class is found; every class counts the same"),
    "precision_macro": ("Precision", "how often a named class is the right one; every class counts the same"),
    "f1_macro": ("F1", "precision and recall in one figure; every class counts the same"),
    "roc_auc_macro": (
        "ROC AUC",
        "how often an example of a class is ranked above one of another class; 50% is chance",
    ),
    "average_precision_macro": (
        "Average precision",
        "how clean the top of the list of likeliest examples of a class is; chance is the share of the class",
    ),
    "matthews_corrcoef": ("Matthews correlation", "how far answers go with the truth; 0 is chance, 1 is perfect"),
    "log_loss": ("Log loss", "how far the probabilities are off; 0 is perfect, confident mistakes cost most"),
    "brier_score": ("Brier score", "the same in squares: a confident mistake costs a bounded amount; 0 is perfect"),
    "smooth_ece": (
        "Calibration error",
        "how far the stated confidence is from the share that turns out right, on average; 0% is perfect",
    ),
}
NUMBERS = ("log_loss", "brier_score", "matthews_corrcoef")  # the others are shares


def number(value: float) -> str:
    """Return three significant digits, or all digits of what is a thousand or more, with separators."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if digits > 6:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def percent(value: float) -> str:
    """Return a share as a percentage; with more digits where the first would read as all or none."""
    for digits in range(1, 6):
        text = f"{100 * value:.{digits}f}%"
        if value in (0, 1) or float(text[:-1]) not in (0, 100):
            break
    return text


def points(drop: float) -> str:
    """Return a drop of accuracy in points of a percentage: "0.18 points", "none", or "0.05 points gained"."""
    amount = f"{abs(100 * drop):.2f}"
    if amount == "0.00":
        return "none"
    return f"{amount} points" if drop > 0 else f"{amount} points gained"


def plain(value: Any) -> str:
    """Return a decided value without the punctuation of a program: "channels 32, 64"."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def figure(name: str, value: float | None) -> str:
    """Return a metric's value: shares as percentages, losses and correlations as numbers."""
    if value is None:
        return "undefined"
    return number(value) if name in NUMBERS else percent(value)


def interval(name: str, estimate: Mapping[str, Any]) -> str:
    """Return "80.4% to 82.0%", or nothing when there is none."""
    if estimate.get("low") is None or estimate.get("high") is None:
        return ""
    return f"{figure(name, estimate['low'])} to {figure(name, estimate['high'])}"


def headline(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return what was delivered in one sentence."""
    if not manifest:
        return "No model has been delivered yet."
    size = manifest.get("cost", {}).get("megabytes")
    what = f"A model of {file_size(size)}" if size is not None else "A model"
    accuracy = metrics.get("accuracy", {})
    if accuracy.get("value") is None:
        return f"{what} was delivered."
    return f"{what} that names {percent(accuracy['value'])} of new examples right."


def file_size(megabytes: float) -> str:
    """Return "0.4 kB", "106 kB" or "2.89 MB"."""
    return f"{number(1000 * megabytes)} kB" if megabytes < 1 else f"{number(megabytes)} MB"


def verdict(limits: list[dict[str, Any]]) -> str:
    """Return whether the budget was met, and by how much it was missed or which limit was closest."""
    set_limits = [line for line in limits if line.get("limit") is not None]
    if not set_limits:
        return "No limit was set, so nothing could be missed."
    missed = [line for line in set_limits if not line["met"]]
    if missed:
        parts = [f"{LIMITS[line['name']][0].lower()} is {excess(line)}" for line in missed if line["name"] in LIMITS]
        return f"{' and '.join(parts)}.".capitalize()
    closest = max(set_limits, key=lambda line: line["measured"] / line["limit"])
    share = closest["measured"] / closest["limit"]
    label = LIMITS.get(closest["name"], (closest["name"], "", ""))[0].lower()
    if len(set_limits) == 1:
        return f"The limit on {label} is kept, at {share:.0%} of what was allowed."
    return f"All {len(set_limits)} limits are kept; {label} is closest, at {share:.0%} of what was allowed."


def excess(line: Mapping[str, Any]) -> str:
    """Return how far a measurement is above its limit: "24% above the limit" or, far above it, "87 times the limit"."""
    times = line["measured"] / line["limit"]
    return f"{number(times)} times the limit" if times >= 2 else f"{100 * (times - 1):.2g}% above the limit"


def accuracy_sentence(metrics: Mapping[str, Any], rows: int | None) -> str:
    """Return what the accuracy and its interval mean."""
    accuracy = metrics.get("accuracy", {})
    if accuracy.get("value") is None:
        return "Accuracy was not measured."
    tested = f"On {rows:,} examples that it had never seen" if rows else "On examples that it had never seen"
    text = f"{tested}, the model named {percent(accuracy['value'])} right."
    if accuracy.get("low") is not None and accuracy.get("high") is not None:
        text += (
            f" Another sample of the same kind could have said a little more or less: the true share lies between "
            f"{percent(accuracy['low'])} and {percent(accuracy['high'])}, and such a range holds it "
            f"{percent(accuracy.get('level', 0.95))} of the time."
        )
    return text


def chance_sentence(support: Mapping[str, int]) -> str:
    """Return what always naming the largest class would have scored."""
    total = sum(support.values())
    if not total:
        return ""
    name, rows = max(support.items(), key=lambda item: item[1])
    return f"For comparison: always answering “{name}” would be right {percent(rows / total)} of the time."


def opened_sentence(openings: Sequence[Mapping[str, Any]]) -> str:
    """Return how often the test rows were looked at and what that does to the figures."""
    if not openings:
        return "There is no record that the sealed test rows were opened."
    measured = [event for event in openings if event.get("caller") != "trimtab compare"] or list(openings)
    last = measured[-1]
    number, others = int(last.get("opening", len(measured))), list(last.get("others", ()))
    level = f"{100 * float(last['level']):.4g}%" if "level" in last else ""
    if number == 1:
        text = (
            "The test rows were sealed from the start and looked at for the delivered model alone: they chose nothing."
        )
        return f"{text} Ranges are at {level}, so that later looks can be afforded." if level else text
    also = f", also in {', '.join(others[:3])}{' and others' if len(others) > 3 else ''}" if others else ""
    text = f"This is look number {number} at the same test rows{also}."
    if not level:
        return f"{text} Figures seen before a choice was made flatter the model; read the ranges as too narrow."
    return (
        f"{text} Whoever looks often and keeps the best keeps luck along with it, so ranges widen with each look: "
        f"they are at {level} here, and those of all looks together hold 95% of the time. That is no help against "
        "settings that were chosen by what earlier looks showed."
    )


def parity_sentence(parity: Mapping[str, Any]) -> str:
    """Return how the exported model compares with the trained one."""
    if "largest_difference" not in parity:
        return ""
    rows, flips = parity.get("rows"), parity.get("label_flips", 0)
    where = f" in {rows:,} examples" if rows else ""
    answers = "no answer changed" if not flips else f"{flips:,} {'answer' if flips == 1 else 'answers'} changed"
    return (
        f"Exported and trained model were compared before anything else: probabilities differ by at most "
        f"{number(parity['largest_difference'])}{where}, and {answers}."
    )
