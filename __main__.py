"""Runs the `singsong` command: `python -m singsong`."""

import sys

from singsong.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
