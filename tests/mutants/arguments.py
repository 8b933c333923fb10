"""The command line that the listed and the sampled mutants share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make_parser(prog: str, description: str | None, *, only: str) -> argparse.ArgumentParser:
    """Returns a parser of `--only`, `--jobs` and `--root`.

    Args:
        prog: How the command is called.
        description: What it does.
        only: Where the word of `--only` is looked for.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--only", default="", metavar="WORD", help=f"in {only}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once")
    parser.add_argument("--root", type=Path, default=ROOT, help="the working tree to copy")
    return parser
