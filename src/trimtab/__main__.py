"""``python -m trimtab``: the command line without its script."""

import sys

from trimtab.cli import main

sys.exit(main())
