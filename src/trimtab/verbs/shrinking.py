"""The verb that makes a finished run's model smaller and faster: compress."""

from __future__ import annotations

import argparse

from trimtab.verbs.verb import Verb, add_json_option, add_run_argument

_IMPORTANCES = ("magnitude", "taylor", "scale")
_TARGETS = ("native", "numpy", "c")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    parser.add_argument("--megabytes", type=float, metavar="X", help="limit of the model file, 1,000,000 bytes each")
    parser.add_argument("--milliseconds", type=float, metavar="X", help="limit of p95 for one example, end to end")
    parser.add_argument(
        "--max-drop", type=float, metavar="X", default=1.0, help="accuracy points that may be lost (default 1)"
    )
    parser.add_argument("--minutes", type=float, metavar="X", help="for everything (default: those of the run, or 5)")
    parser.add_argument(
        "--importance",
        choices=_IMPORTANCES,
        default="magnitude",
        help="that channels are pruned by (default magnitude)",
    )
    parser.add_argument(
        "--pruning-steps", type=int, metavar="N", default=1, help="cut in N steps, training in between (default 1)"
    )
    parser.add_argument(
        "--teacher", metavar="PATH", help="ensemble, run or ONNX file that small networks learn from (default: RUN)"
    )
    for name in ("mean", "std"):
        shown = f"{name} of pixels from 0 to 1 that another's ONNX file wants, by channel: 0.5,0.5,0.5"
        parser.add_argument(f"--teacher-{name}", metavar="X", help=shown)
    parser.add_argument(
        "--target-cpu-threads", type=int, metavar="N", default=1, help="of the processor it is for (default 1)"
    )
    parser.add_argument(
        "--target",
        choices=_TARGETS,
        default="native",
        help="runtime it is for: native (ONNX Runtime, default), numpy (the NumPy engine) or c (see trimtab package)",
    )
    add_json_option(parser)


def _compress(options: argparse.Namespace) -> int:
    from trimtab.compressing import compress_verb

    return compress_verb(options)


SHRINKING = {
    "compress": Verb(
        summary="a finished run's model, made smaller and faster until it fits",
        description="Try smaller and faster forms of a finished run's model, the cheapest first: weights in fewer\n"
        "bits, int8, int8 with some layers in floating point, training with int8's rounding, then narrower networks:\n"
        "pruned, distilled, and, as the control, the same network trained alone. Each is exported, timed and compared\n"
        "with the float model on validation rows. With limits the first that meets them and is shown to lose at most\n"
        "--max-drop points is delivered, without limits the smallest that is. Interrupted, the same command goes on.",
        examples="examples:\n  trimtab compress runs/photos --megabytes 0.3 --milliseconds 2\n"
        "  trimtab compress runs/photos --max-drop 0.5 --minutes 20      the smallest that loses at most half a point\n"
        "  trimtab predict runs/photos/compression cat.jpg               what was delivered\n\n"
        "exit codes: 0 done, 3 nothing that was tried meets all of it (the best trade-off is delivered), 2 bad input",
        add_options=_add_options,
        act=_compress,
    ),
}
