"""The weights of Lyra, which no wheel carries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.support.command import ROOT

_PLACE = "SINGSONG_LYRA"


def lyra_folder() -> Path:
    """Returns the folder of the `.tflite` files; a test without them is skipped."""
    folder = Path(os.environ.get(_PLACE) or ROOT.parent / "shared" / "data" / "lyra")
    if not folder.is_dir():
        pytest.skip(f"needs a clone of https://github.com/google/lyra, named by {_PLACE}")
    return folder
