"""The verbs that use what was made: evaluate, compare, predict, serve, report, check."""

from __future__ import annotations

import argparse
import sys

from trimtab.verbs.verb import Verb, add_json_option, add_run_argument


def _add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", help="a run directory, such as runs/photos")
    parser.add_argument("--again", action="store_true", help="measure the model once more on its sealed test rows")
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        nargs="+",
        help="instead of a run: Parquet or CSV files (shards of one set of rows) with the columns label and "
        "p_<class> for each class, or label and prediction; optionally group and name",
    )
    parser.add_argument("--level", type=float, metavar="X", help="of the intervals, with --predictions (default 0.95)")
    parser.add_argument("--workers", type=int, metavar="N", default=1, help="processes that read (default 1)")
    parser.add_argument("--out", metavar="DIR", help="with --predictions: write figures and pictures here")
    add_json_option(parser)


def _evaluate(options: argparse.Namespace) -> int:
    from trimtab import figures
    from trimtab.errors import InputError

    if (options.run is None) == (options.predictions is None):
        given = "neither a run nor --predictions" if options.run is None else "both a run and --predictions"
        raise InputError(f"there is {given}", "one of them", "see `trimtab evaluate --help`")
    if options.predictions is not None:
        if options.again:
            raise InputError("--again is given with --predictions", "a run", "leave one of them out")
        level = 0.95 if options.level is None else options.level
        return figures.evaluate_predictions(
            options.predictions, level=level, workers=options.workers, out=options.out, as_json=options.json
        )
    for name in ("level", "out"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is given with a run", "--predictions", f"leave --{name} out")
    return figures.evaluate_run(options.run, is_again=options.again, as_json=options.json)


def _add_compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("given", metavar="RUN_OR_FILE", nargs="+", help="runs on the same data, or predictions files")
    parser.add_argument("--level", type=float, metavar="X", default=0.95, help="of the intervals (default 0.95)")
    add_json_option(parser)


def _compare(options: argparse.Namespace) -> int:
    from trimtab.figures import compare_predictions

    return compare_predictions(options.given, level=options.level, as_json=options.json)


def _add_engine_option(parser: argparse.ArgumentParser) -> None:
    explanation = "onnx (ONNX Runtime, the default) or numpy (the same model with NumPy alone)"
    parser.add_argument("--engine", metavar="NAME", choices=("onnx", "numpy"), default="onnx", help=explanation)


def _add_predict_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="pictures, or one CSV or Parquet file of rows")
    _add_engine_option(parser)
    parser.add_argument("--out", metavar="FILE.csv", help="write name, prediction and p_<class> columns here")
    add_json_option(parser)


def _predict(options: argparse.Namespace) -> int:
    from trimtab.predictions import predict_files

    return predict_files(options.run, options.inputs, out=options.out, as_json=options.json, engine=options.engine)


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    _add_engine_option(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default %(default)s)")


def _serve(options: argparse.Namespace) -> int:
    from trimtab.deployment.server import serve

    serve(options.run, host=options.host, port=options.port, engine=options.engine)
    return 0


def _add_report_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    parser.add_argument("--open", action="store_true", help="open it in the browser")


def _report(options: argparse.Namespace) -> int:
    from trimtab.directory import find
    from trimtab.errors import InputError

    directory = find(options.run)
    if not directory.is_finished:
        raise InputError(
            f"the run at {options.run} has no report yet",
            "a finished run",
            f"continue it with `trimtab run {directory.plan}`",
        )
    print(directory.report.resolve())
    if options.open:
        import webbrowser

        webbrowser.open(directory.report.resolve().as_uri())
    elif sys.stdout.isatty():
        print("open it in a browser, or run this again with --open")
    return 0


def _check(options: argparse.Namespace) -> int:
    from trimtab.smoke import check

    return check(is_quick=options.quick)


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="leave out the ten-second smoke run")


USING = {
    "evaluate": Verb(
        summary="figures with intervals: of a run's delivered model, or of any system's predictions",
        description="Of a run: verify the delivered files by their hashes, print the figures measured on the sealed\n"
        "test rows and the worst mistakes; --again measures once more. Of files: evaluate any predictions.",
        examples="examples:\n  trimtab evaluate runs/photos\n"
        "  trimtab evaluate --predictions preds.parquet --out figures\n"
        "  trimtab evaluate --predictions shard-*.parquet --workers 2 --json",
        add_options=_add_evaluate_options,
        act=_evaluate,
    ),
    "compare": Verb(
        summary="which of two or more models is better, by how much, how sure",
        description="Compare models on the same rows with paired tests: runs on the same data (their test rows are\n"
        "looked at, which the ledgers note), or files of predictions as for `trimtab evaluate --predictions`.\n"
        "Of more than two, p-values allow for the number of pairs (Holm).",
        examples="examples:\n  trimtab compare runs/photos runs/photos-2\n  trimtab compare ours.parquet theirs.csv",
        add_options=_add_compare_options,
        act=_compare,
    ),
    "predict": Verb(
        summary="classes and probabilities for pictures, or for the rows of a CSV",
        description="Predict with the delivered model; torch is not needed.",
        examples="examples:\n  trimtab predict runs/photos cat.jpg more/*.png\n"
        "  trimtab predict runs/churn customers.csv --out predictions.csv",
        add_options=_add_predict_options,
        act=_predict,
    ),
    "serve": Verb(
        summary="answer over HTTP, with a page to try it on",
        description="POST /predict (a picture, or JSON rows), GET /health, and a page at /. Torch is not needed.",
        examples="example:\n  trimtab serve runs/photos --port 8080",
        add_options=_add_serve_options,
        act=_serve,
    ),
    "report": Verb(
        summary="where the page for people is",
        description="Print the path of the self-contained HTML report; --open shows it.",
        examples="example:\n  trimtab report runs/photos --open",
        add_options=_add_report_options,
        act=_report,
    ),
    "check": Verb(
        summary="versions, cores, device, cache, and a ten-second smoke run",
        description="Say what trimtab finds on this machine and whether a whole small run works.",
        examples="example:\n  trimtab check",
        add_options=_add_check_options,
        act=_check,
    ),
}
