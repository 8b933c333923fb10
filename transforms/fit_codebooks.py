"""Fits codebooks to music: frames are drawn track by track, the k-means runs on one worker."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from safetensors.torch import save

from singsong import storage
from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.models.fitting import Fitter, load_fitter
from singsong.schemas.arrays import FloatArray
from singsong.schemas.elements import Track
from singsong.schemas.geometry import clip_samples
from singsong.schemas.names import clip_id
from singsong.schemas.outcomes import ClipStatus, Stage
from singsong.schemas.seeds import generator
from singsong.transforms.fit_config import FitConfig
from singsong.transforms.outputs import DEAD_LETTERS, FRAMES
from singsong.transforms.per_track import Meter, PerTrack
from singsong.transforms.progress import ProgressLog
from singsong.transforms.source_files import local_track


def load_fitter_of(config: FitConfig) -> Fitter:
    """Returns what fits the model. Raises as `singsong.models.fitting.load_fitter`."""
    return load_fitter(config.kind, config.encoder, device=config.device)


def draw_frames(track: Track, config: FitConfig, fitter: Fitter) -> FloatArray:
    """Returns frames of a track: float32 [n, dims].

    Raises:
        ClipError: The track cannot be read or decoded.
        StoppedError: The user interrupted the job.
    """
    rate = fitter.sample_rate_hz
    cutter = ClipCutter(clip_samples=clip_samples(config.clip_seconds, rate))
    progress = ProgressLog(config.progress)
    drawn = []
    with local_track(track) as local:
        for index, clip in enumerate(cutter.cut(stream_mono(local, rate_hz=rate))):
            if np.isfinite(clip).all():
                frames = fitter.training_frames(
                    clip,
                    seed=config.seed,
                    key=clip_id(track.track_id, index),
                    max_frames=config.frames_per_clip,
                )
                drawn.append(frames)
            progress.clip(ClipStatus.ENCODED, seconds=config.clip_seconds)
    return np.concatenate(drawn) if drawn else np.zeros((0, 0), np.float32)


def fit_to_files(paths: Sequence[str], config: FitConfig) -> dict[str, int]:
    """Fits the model to drawn frames, writes it and returns the number of frames and tracks.

    Args:
        paths: Files of frames; their order does not matter.
        config: What is fitted.

    Raises:
        ValueError: There are too few frames.
        OSError: A file cannot be read or written.
    """
    arrays = [_read_frames(path) for path in sorted(paths)]
    if not arrays:
        raise ValueError("no track gave a frame to fit to: give more or longer music")
    frames = np.concatenate(arrays)
    if len(frames) > config.max_frames:
        rng = generator(seed=config.seed, purpose="frames to fit", key="")
        frames = frames[np.sort(rng.choice(len(frames), config.max_frames, replace=False))]
    tensors = load_fitter_of(config).fit(
        frames, seed=config.seed, iterations=config.iterations, codes=config.codes
    )
    storage.put_bytes(config.output, save({k: v.contiguous() for k, v in tensors.items()}))
    return {"frames": len(frames), "tracks": len(arrays)}


def _read_frames(path: str) -> FloatArray:
    frames: FloatArray = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    return frames


@dataclass(frozen=True, kw_only=True)
class _DrawStep:
    config: FitConfig
    stage: Stage = Stage.DRAW_FRAMES

    def result_of(self, track: Track) -> str:
        """Beside the output, because the frames may lie in a folder of this run alone."""
        return f"{self.config.output}.{track.track_id[:16]}"

    def find(self, track: Track) -> None:
        """Returns None: frames are drawn afresh in each run."""

    def load(self) -> Fitter:
        return load_fitter_of(self.config)

    def run(self, track: Track, models: Fitter, meter: Meter) -> list[str]:
        with meter.watch("draw"):
            frames = draw_frames(track, self.config, models)
        if not len(frames):
            return []
        buffer = io.BytesIO()
        np.save(buffer, frames)
        path = storage.join(self.config.scratch, f"{track.track_id}.npy")
        storage.put_bytes(path, buffer.getvalue())
        return [path]


class FitCodebooks(beam.PTransform):
    """Draws frames from each track and fits one model to all of them.

    Returns a dict with the outputs "fitted", the number of frames and tracks, and "dead_letters".
    """

    def __init__(self, config: FitConfig, *, draw_hints: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._config = config
        self._draw_hints = dict(draw_hints or {})

    def expand(self, tracks: beam.PCollection) -> dict[str, beam.PCollection]:
        """Returns the two outputs."""
        draw = PerTrack(_DrawStep(config=self._config), output=FRAMES, element=str)
        drawn = tracks | "DrawFrames" >> draw.with_resource_hints(**self._draw_hints)
        fitted = (
            drawn[FRAMES]
            | "GatherFrames" >> beam.combiners.ToList()
            | "Fit" >> beam.Map(fit_to_files, self._config)
        )
        return {"fitted": fitted, DEAD_LETTERS: drawn[DEAD_LETTERS]}
