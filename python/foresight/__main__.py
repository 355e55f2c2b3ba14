"""`python -m foresight`: the same as the `foresight` command."""

from __future__ import annotations

import sys

from foresight.cli import main

if __name__ == "__main__":
    sys.exit(main())
