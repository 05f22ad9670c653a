"""``python -m trimtab``: the command line without its script."""

from trimtab.cli import entry

entry()
