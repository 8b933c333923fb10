"""What is measured on: generated songs, excerpts of real music, and a dataset of random codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from benchmarks.gpu.device import described
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.report import Report
from benchmarks.support.code_dataset import ONE_SECOND, PAPER, SMALL, write_dataset
from singsong.audio.decode import stream_mono
from singsong.audio.resample import resample
from singsong.commands.demo import wheel_recordings
from singsong.schemas.arrays import FloatArray
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import EncodeRecipe
from singsong.synth.demo_songs import DemoSongsConfig
from singsong.synth.song import MIX, render_song

MIX_HZ = 44100


def prepare(plan: Plan, report: Report) -> None:
    """Reports what the machine is, and writes the generated songs as MP3."""
    report.line(described(plan.device))
    folder = plan.folder / "songs"
    folder.mkdir()
    seconds = plan.sizes.song_clips * plan.sizes.clip_seconds + 0.5  # MP3 may lose some
    config = DemoSongsConfig(output=str(folder), songs=plan.sizes.songs, seconds=seconds)
    for index in range(plan.sizes.songs):
        mix = render_song(config.spec(index))[MIX]
        soundfile.write(folder / f"{config.name(index)}.mp3", mix.T, MIX_HZ, format="MP3")


def song_files(plan: Plan) -> list[Path]:
    """Returns the paths of the generated songs."""
    return sorted((plan.folder / "songs").iterdir())


def compared_clips(plan: Plan) -> dict[str, FloatArray]:
    """Returns the clips whose codes are compared, float32 [samples] at `MIX_HZ`, by name.

    The first ones of each song, and of each recording that a package carries, padded with silence.
    """
    length = clip_samples(plan.sizes.clip_seconds, MIX_HZ)
    clips = {
        f"{path.stem} clip {number}": clip
        for path in song_files(plan)
        for number, clip in enumerate(_clips(path, length)[: plan.sizes.compared_clips])
    }
    for path in wheel_recordings():
        audio = _decoded(path)[:length]
        clips[path.stem] = np.pad(audio, (0, length - len(audio)))
    return clips


def other_clips(plan: Plan, rate_hz: int) -> FloatArray:
    """Returns clips of the songs that are not compared: float32 [clips, samples] at a rate."""
    length = clip_samples(plan.sizes.clip_seconds, MIX_HZ)
    first = plan.sizes.compared_clips
    clips = [clip for path in song_files(plan) for clip in _clips(path, length)[first:]]
    return resample(np.stack(clips), from_hz=MIX_HZ, to_hz=rate_hz)


def training_data(plan: Plan) -> str:
    """Returns the dataset to train on, which is written first if none was named."""
    if plan.data is not None:
        return plan.data
    folder = plan.folder / "dataset"
    if not folder.exists():
        geometry, recipe = (SMALL, ONE_SECOND) if plan.tiny else (PAPER, EncodeRecipe())
        clips = 2 * max(plan.batch_sizes)
        write_dataset(folder, clips=clips, shards=4, geometry=geometry, recipe=recipe)
    return str(folder)


def _clips(path: Path, length: int) -> list[FloatArray]:
    audio = _decoded(path)
    return [audio[start : start + length] for start in range(0, len(audio) - length + 1, length)]


def _decoded(path: Path) -> FloatArray:
    return np.concatenate(list(stream_mono(str(path), rate_hz=MIX_HZ)))
