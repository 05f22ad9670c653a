"""The verb that takes a delivered model elsewhere: package."""

from __future__ import annotations

import argparse

from trimtab.verbs.verb import Verb, add_json_option, add_run_argument

_FORMATS = ("c",)  # those of `trimtab.packaging`, which is imported when it is used


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_run_argument(parser)
    parser.add_argument("--format", choices=_FORMATS, required=True, help="c (source code that needs nothing)")
    parser.add_argument("--out", metavar="DIR", help="the folder to write (default RUN/package/FORMAT)")
    add_json_option(parser)


def _package(options: argparse.Namespace) -> int:
    from trimtab.packaging import package_verb

    return package_verb(options)


PACKING = {
    "package": Verb(
        summary="a delivered model in the form that another place runs: C without dependencies",
        description="Write the delivered model, float or int8, in another form, then check on made-up examples that\n"
        "it answers as the bundle does. c: one source file and its header, an example, and the command that compiles\n"
        "it. The check compiles them, if a C compiler is on the PATH; what it found is in check.json beside the files.",
        examples="examples:\n  trimtab package runs/photos --format c\n"
        "  trimtab package runs/photos/compression --format c --out firmware/model\n\n"
        "exit codes: 0 done (also where nothing could be checked, which is said), 1 it does not compile,\n"
        "3 it compiles but answers otherwise, 2 bad input",
        add_options=_add_options,
        act=_package,
    ),
}
