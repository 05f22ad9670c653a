"""``trimtab VERB ...``: what stands in the terminal. Every verb is a few lines around what Python offers.

Exit codes: 0 done; 2 the input cannot be used (one sentence on standard error); 3 done, but a limit of the budget
was missed; 1 an exported model differs from the trained one; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from trimtab import __version__, verbs
from trimtab.errors import InputError, TrimtabError, nearest
from trimtab.launching import carry_out, clock_start, launch, must_launch

_EXAMPLES = """
examples:
  trimtab run digits                                          a first run, half a minute
  trimtab run ./photos --minutes 10 --megabytes 1 --milliseconds 5
  trimtab run churn.csv --target Churn --minutes 2
  trimtab predict runs/photos cat.jpg
  trimtab serve runs/photos

exit codes: 0 done, 2 bad input, 3 done but a limit was missed
`trimtab VERB --help` explains a verb.
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, with the nearest valid name, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and leave."""
        options = [option for action in self._actions for option in action.option_strings]
        unknown = [word for word in message.split() if word.startswith("--")]
        if message.startswith("unrecognized arguments") and unknown:
            name = unknown[0].split("=")[0]
            given, expected = f"there is no option {name}", "an option that --help lists"
            message = f"{given}; expected {expected}; {nearest(name, options)}see `{self.prog} --help`."
        elif message.startswith("argument VERB: invalid choice"):
            word = message.split("'")[1]
            known = ", ".join(verbs.VERBS)
            message = f"there is no verb '{word}'; expected one of {known}; {nearest(word, verbs.VERBS)}pick one."
        elif message.startswith("argument --") and "invalid choice" in message:
            option, word = message.split()[1].rstrip(":"), message.split("'")[1]
            valid = next(list(action.choices or ()) for action in self._actions if option in action.option_strings)
            message = f"{option} is '{word}'; expected one of {', '.join(valid)}; {nearest(word, valid)}pick one."
        else:
            message = f"{message}; see `{self.prog} --help`."
        self.exit(2, f"trimtab: {message}\n")


def entry() -> NoReturn:
    """Run `main` for the console script, and leave without the second that torch takes to clean up.

    Everything written is on the disk by then.
    """
    code = carry_out(main)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader is gone
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    started = time.monotonic()
    parser = _parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help()
        return 0
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    words = sys.argv[1:] if arguments is None else arguments
    options.started, options.counted_until = clock_start(started)
    options.command = shlex.join(["trimtab", *words])
    try:
        if must_launch(_workers(options)):
            return launch(words, options.workers, options.launcher, main=main, started=started)
        code: int = options.act(options)
        sys.stdout.flush()
        return code
    except TrimtabError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        goes_on = options.act in [verbs.VERBS[name].act for name in ("run", "train", "crossval")]
        goes_on = goes_on or getattr(options, "distill", False)  # the student is a run
        return _fail("interrupted" + ("; the same command goes on from what is there." if goes_on else "."), 130)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        return _fail(f"{error.name} is not installed; expected it for this; pip install 'trimtab[{extra}]'.", 2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; Python would complain on exit
        return 0
    except OSError as error:
        if error.errno not in _SENTENCES:
            raise
        return _fail(f"{error.filename or 'the output'} {_SENTENCES[error.errno]}", 2)


def _workers(options: argparse.Namespace) -> int:
    """Return the number of processes to share a step; that of `trimtab evaluate` is its own matter.

    Raises
    ------
    InputError
        If it is below one.
    """
    if not hasattr(options, "launcher"):
        return 1
    if options.workers < 1:
        raise InputError(f"--workers is {options.workers}", "1 or more", "give the number of processes")
    return int(options.workers)


_EXTRAS = {"torch": "train"} | dict.fromkeys(("sklearn", "pyarrow", "onnx", "matplotlib", "jinja2", "tqdm"), "run")
_EXTRAS |= dict.fromkeys(("starlette", "uvicorn", "anyio"), "serve")
_SENTENCES = {
    errno.ENOSPC: "does not fit on the disk; expected free space; make room, then the same command goes on.",
    errno.EDQUOT: "does not fit into your quota; expected free space; make room, then the same command goes on.",
    errno.EFBIG: "is larger than this system allows; expected free space; raise the limit, then run it again.",
    errno.EACCES: "is not accessible; expected permission to read and write it; change its mode or choose another.",
    errno.EPERM: "is not accessible; expected permission to read and write it; change its mode or choose another.",
    errno.EROFS: "is on a read-only disk; expected a writable one; choose another directory with --out.",
}


def _fail(sentence: str, code: int) -> int:
    sys.stdout.flush()
    print(f"trimtab: {sentence}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trimtab",
        description="Labelled data and a budget in, the best model that fits and the evidence out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trimtab {__version__}")
    choices = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    for name, verb in verbs.VERBS.items():
        child = choices.add_parser(
            name,
            help=verb.summary,
            description=verb.description,
            epilog=verb.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_options(child)
        child.set_defaults(act=verb.act, parser=child)
    return parser
