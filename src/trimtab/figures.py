"""``trimtab evaluate`` and ``trimtab compare``: figures of runs and of any system's predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimtab.console import Console
from trimtab.errors import InputError
from trimtab.evaluation import Evaluation
from trimtab.storage import write_json

_MISTAKES = 8  # shown in the terminal


def evaluate_predictions(paths: Sequence[str], *, level: float, workers: int, out: str | None, as_json: bool) -> int:
    """Print the figures of some files of predictions, taken as one, and write the pictures if asked to.

    Raises
    ------
    InputError
        If a file cannot be used, or an option is out of range.
    """
    from trimtab.evaluation.evaluate_files import evaluate_files
    from trimtab.evaluation.files import open_predictions

    if not 0 < level < 1:
        raise InputError(f"--level is {level:g}", "a number between 0 and 1", "give 0.95 for 95%")
    if workers < 1:
        raise InputError(f"--workers is {workers}", "1 or more", "give the number of processes")
    files = [open_predictions(path) for path in paths]
    known = [file.rows for file in files if file.rows is not None]
    with _bar(sum(known) if len(known) == len(files) else None) as on_rows:
        evaluation = evaluate_files(paths, level=level, workers=workers, on_rows=on_rows)
    name = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    print(f"{name}: {evaluation.rows:,} rows, {len(evaluation.class_names):,} classes\n")
    print_evaluation(evaluation)
    if out is not None:
        print(f"\nwritten    {', '.join(_write(evaluation, Path(out)))} in {out}")
    elif not as_json:
        print("\npictures   --out DIR writes them: confusion matrix, curves, reliability, classes")
    if as_json:
        print(json.dumps({"predictions": list(paths), **evaluation.to_dict()}))
    return 0


def evaluate_run(path: str, *, is_again: bool, as_json: bool) -> int:
    """Print the figures of a finished run's delivered model, and where to look further.

    Raises
    ------
    InputError
        If there is no such run, or it is not finished.
    IntegrityError
        If a file was altered.
    """
    from trimtab.console import describe_look, verdict_table
    from trimtab.ledger import Ledger
    from trimtab.opened import open_run

    result = open_run(path)
    if is_again:
        return _evaluate_again(result.directory)
    opened = Ledger(result.directory / "ledger.jsonl").events("test_opened")
    print(f"{result.directory}: the delivered model on {result.evaluation.rows:,} sealed test rows")
    times = f"{len(opened)} time{'s' if len(opened) != 1 else ''}"
    print(f"(opened {times}; the hashes of ledger, test part, model, figures and predictions are right)")
    look = [event for event in opened if event["caller"] == "trimtab run"][-1]  # not of later comparisons
    if look.get("opening", 1) > 1:
        print(f"({describe_look(look['opening'], look.get('others', ()))})")
    print()
    print_evaluation(result.evaluation)
    print(f"\n{verdict_table(result.verdict)}\n")
    _print_mistakes(result.directory / "evaluation")
    print(f"pictures   {result.directory / 'evaluation'}: {', '.join(_pictures(result.directory / 'evaluation'))}")
    print(f"report     {result.directory / 'report.html'}")
    if as_json:
        print(json.dumps(result.to_dict()))
    return 0


def _evaluate_again(directory: Path) -> int:
    from trimtab.console import describe_look
    from trimtab.stages.again import measure_again

    found = measure_again(directory, Console())
    print(f"{directory}: the delivered model on {found.evaluation.rows:,} sealed test rows, measured now")
    if found.look > 1:
        print(f"({describe_look(found.look, ())})")
    print()
    print_evaluation(found.evaluation)
    if found.largest_difference == 0:
        print("\nall probabilities are those that were recorded, bit for bit")
    else:
        flips = "no answer changed" if not found.label_flips else f"{found.label_flips:,} answers changed"
        print(f"\nprobabilities differ by at most {found.largest_difference:.1e} from those recorded; {flips}")
    return 0


def _print_mistakes(directory: Path) -> None:
    mistakes = json.loads((directory / "mistakes.json").read_text()) if (directory / "mistakes.json").exists() else []
    if not mistakes:
        print("mistakes   none")
        return
    print("most confident mistakes")
    width = max(len(mistake["name"]) for mistake in mistakes[:_MISTAKES])
    for mistake in mistakes[:_MISTAKES]:
        answer = f"{mistake['predicted']} ({100 * mistake['probability']:.1f}%)"
        print(f"  {mistake['name']:<{width}}  is {mistake['true']}, taken for {answer}")
    print()


def _pictures(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix in (".svg", ".png"))


def compare_predictions(given: Sequence[str], *, level: float, as_json: bool) -> int:
    """Print how the models in some runs or files of predictions differ on the rows that all of them predicted.

    Raises
    ------
    InputError
        If one cannot be used, or they are not about the same rows.
    """
    from trimtab.evaluation.aligned import read_aligned
    from trimtab.evaluation.compare import compare_many
    from trimtab.looks import open_for_comparison

    if len(given) < 2:
        raise InputError(f"there is one thing to compare, {given[0]}", "two or more", "name another run or file")
    if not 0 < level < 1:
        raise InputError(f"--level is {level:g}", "a number between 0 and 1", "give 0.95 for 95%")
    names = _distinct_names(given)
    looked = open_for_comparison(given, level=level)
    read = read_aligned(looked.files)
    first = read[0]
    groups = first.groups
    found = compare_many(
        first.labels,
        {name: each.probabilities for name, each in zip(names, read, strict=True)},
        groups=groups,
        level=looked.level,
        has_probabilities=all(each.has_probabilities for each in read),
    )
    print(f"{len(first.labels):,} rows, {len(first.class_names)} classes{looked.sentence}\n")
    if len(found.pairs) == 1:
        print(f"{found.pairs[0].to_table()}\n\n{found.pairs[0].verdict()}")
    else:
        for metric in ("accuracy", "roc_auc_macro", "log_loss"):
            if metric in found.adjusted:
                print(f"{found.to_table(metric)}\n")
        for pair, p_value in zip(found.pairs, found.adjusted["accuracy"], strict=True):
            print(pair.verdict(p_value))
    if as_json:
        print(json.dumps({"compared": list(given), **found.to_dict()}))
    return 0


def _distinct_names(given: Sequence[str]) -> list[str]:
    """Return short names that tell runs and files apart."""
    short = [Path(path).name or path for path in given]
    return short if len(set(short)) == len(short) else list(given)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the table of figures, and what a reader of it should know."""
    print(evaluation.to_table())
    console = Console()
    for note in evaluation.notes:
        console.warn(note)


def _write(evaluation: Evaluation, directory: Path) -> list[str]:
    """Write the figures and pictures, and return the names of the files."""
    from trimtab.evaluation.plots import plot_evaluation

    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "metrics.json", evaluation.to_dict())
    return ["metrics.json", *(path.name for path in plot_evaluation(evaluation, directory))]


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Give what moves a progress bar, if a person is looking."""
    if not Console().shows_bars:
        yield None
        return
    from tqdm import tqdm

    bar: Any = tqdm(total=total, unit="row", unit_scale=True, desc="reading", leave=False, dynamic_ncols=True)
    try:
        yield bar.update
    finally:
        bar.close()
