"""Decoding by ffmpeg in a program of its own, which is killed when it takes too long or too much."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    DecodeTimeoutError,
)
from transforms.dsp.decode_source import Source, average_channels, check_rate, frames_per_block

MIN_MEMORY_BYTES = 512 << 20
_CHILD = "transforms.dsp.decode_child"
_ROOT = Path(__file__).resolve().parents[2]
_GRACE_S = 2.0
_PIPE_BYTES = 1 << 18
_FULL_SCALE = 32768
