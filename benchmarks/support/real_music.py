"""Real music that packages carry, with its true stems."""

from __future__ import annotations

import tempfile
from pathlib import Path

from singsong.audio.decode import read_channels
from singsong.audio.stem_file import write_vocals
from singsong.commands.demo import wheel_recordings
from singsong.schemas.arrays import FloatArray


def musdb_excerpt() -> tuple[FloatArray, FloatArray]:
    """Returns the mix and the vocals of the song of MUSDB18, 6 s long, in the `stempeg` wheel.

    Each is float32 [2, samples] at 44.1 kHz.
    """
    (source,) = (str(path) for path in wheel_recordings() if path.name.endswith(".stem.mp4"))
    with tempfile.TemporaryDirectory() as folder:
        stem = str(Path(folder, "vocals.wav"))
        write_vocals(source, stem)
        return read_channels(source)[0], read_channels(stem)[0]
