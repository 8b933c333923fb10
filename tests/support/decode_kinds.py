"""Measures what the decoder makes of each kind of file: length, level and lag against the truth.

python -m tests.support.decode_kinds

prints the table of docs/reference/decoding.md.
"""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from singsong.audio.decode import stream_mono
from singsong.schemas.errors import ClipError
from tests.support import audio_files as files
from tests.support.odd_files import RATE_HZ, SECONDS
from tests.support.odd_kinds import KINDS, Kind

_SEARCHED_S = 0.4
_COMPARED_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out of a file.

    Attributes:
        seconds: Its length.
        level_db: Its RMS against that of the recording, over each recording; the worst of them.
        lag_ms: How much later than in the recording it comes at the start.
        last_lag_ms: The same for the last recording that the file holds, from where it should be.
        error: Its error, if it was refused.
    """

    seconds: float = 0.0
    level_db: float = 0.0
    lag_ms: float = 0.0
    last_lag_ms: float = 0.0
    error: ClipError | None = None


def recording() -> files.Audio:
    """Returns the truth, float32 [2, samples]."""
    return files.music(SECONDS, seed=5) * np.float32(0.8)


def measure(kind: Kind, folder: Path) -> Measured:
    """Builds and decodes a file of a kind."""
    truth = recording()
    path = kind.build(folder, truth)
    try:
        blocks = list(stream_mono(os.fspath(path), rate_hz=RATE_HZ))
    except ClipError as error:
        return Measured(error=error)
    audio, mono = np.concatenate(blocks), truth.mean(axis=0)
    start = len(mono) * (kind.times - 1)
    levels = [_level_db(audio[at : at + len(mono)], mono) for at in range(0, start + 1, len(mono))]
    return Measured(
        seconds=len(audio) / RATE_HZ,
        level_db=max(levels, key=lambda level: abs(level - kind.gain_db)),
        lag_ms=_lag_ms(audio, mono),
        last_lag_ms=_lag_ms(audio[start:], mono),
    )


def _level_db(audio: np.ndarray, mono: np.ndarray) -> float:
    skip = RATE_HZ // 5
    part, same = audio[skip : len(mono) - skip], mono[skip : len(audio) - skip]
    return float(10 * np.log10(np.mean(np.square(part, dtype=np.float64)) / np.mean(same**2.0)))


def _lag_ms(audio: np.ndarray, mono: np.ndarray) -> float:
    at, search, count = (round(s * RATE_HZ) for s in (0.5, _SEARCHED_S, _COMPARED_S))
    pattern = mono[at : at + count]
    found = signal.correlate(audio[at - search : at + count + search], pattern, mode="valid")
    return (int(np.argmax(found)) - search) / RATE_HZ * 1000


def main() -> None:
    print("| kind of file | length, s | of | level, dB | lag, ms |")
    print("|---|---|---|---|---|")
    for kind in KINDS if len(sys.argv) < 2 else [k for k in KINDS if sys.argv[1] in k.name]:
        with tempfile.TemporaryDirectory() as folder:
            got = measure(kind, Path(folder))
        if got.error is not None:
            print(f"| {kind.name} | refused: `{got.error.reason}` | | | |", flush=True)
            continue
        lags = [got.lag_ms] if kind.times == 1 else [got.lag_ms, got.last_lag_ms]
        lag = ", ".join(f"{value + 0:.1f}" for value in lags)
        level = f"{got.level_db + 0:+.2f}"
        print(
            f"| {kind.name} | {got.seconds:.3f} | {kind.expected_s:.3f} | {level} | {lag} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
