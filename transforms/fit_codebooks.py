"""Fits codebooks to music: frames are drawn track by track, the k-means runs on one worker."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from safetensors.torch import save

from singsong import storage
from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.models.fitting import Fitter, load_fitter
from singsong.models.protocols import FloatArray
from singsong.schemas.elements import DeadLetter, Track
from singsong.schemas.errors import ClipError
from singsong.schemas.geometry import MAX_CODEBOOK_SIZE, clip_samples
from singsong.schemas.names import clip_id
from singsong.schemas.recipe import ModelSpec
from singsong.schemas.records import ENCODED
from singsong.schemas.seeds import generator
from singsong.transforms.list_tracks import local_track
from singsong.transforms.progress import ProgressLog

FRAMES, DEAD_LETTERS = "frames", "dead_letters"


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What is fitted, and how.

    Attributes:
        kind: "acoustic" or "semantic".
        output: The safetensors file to write.
        scratch: Folder or URL for the drawn frames; every worker must reach it.
        encoder: Fit a codebook for this encoder instead of a lite model.
        seed: Of the drawing and of the first codes.
        clip_seconds: Frames are drawn from clips of this length.
        frames_per_clip: Most frames drawn from each.
        max_frames: Most frames fitted; what is too much is left out by a keyed draw.
        iterations: Rounds of k-means.
        codes: Size of each codebook. Paper: 3.1 and 3.2.
        device: Where an encoder runs.
        progress: Folder of this machine to report progress to.
        start_process: Called once in each worker.

    Raises:
        ValueError: A number is not positive, the codes do not fit in uint16, or those of the lite
            acoustic codec, half of which are the others' negatives, are an odd number.
    """

    kind: str
    output: str
    scratch: str
    encoder: ModelSpec | None = None
    seed: int = 0
    clip_seconds: float = 10.0
    frames_per_clip: int = 250
    max_frames: int = 300_000
    iterations: int = 20
    codes: int = 1024
    device: str = "cpu"
    progress: str | None = None
    start_process: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        for name in ("clip_seconds", "frames_per_clip", "max_frames", "iterations", "codes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")
        if self.codes > MAX_CODEBOOK_SIZE:
            raise ValueError(f"codes must be at most {MAX_CODEBOOK_SIZE}, found {self.codes}")
        if self.kind == "acoustic" and self.codes % 2:
            raise ValueError(f"codes must be even, found {self.codes}")

    def load_fitter(self) -> Fitter:
        """Returns what fits the model. Raises as `singsong.models.fitting.load_fitter`."""
        return load_fitter(self.kind, self.encoder, device=self.device)


def draw_frames(track: Track, config: FitConfig, fitter: Fitter) -> FloatArray:
    """Returns frames of a track: float32 [n, dims].

    Raises:
        ClipError: The track cannot be read or decoded.
        StoppedError: The person who waits asked the job to stop.
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
            progress.clip(ENCODED, seconds=config.clip_seconds)
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
        raise ValueError("no track gave a frame to fit to")
    frames = np.concatenate(arrays)
    if len(frames) > config.max_frames:
        rng = generator(seed=config.seed, purpose="frames to fit", key="")
        frames = frames[np.sort(rng.choice(len(frames), config.max_frames, replace=False))]
    tensors = config.load_fitter().fit(
        frames, seed=config.seed, iterations=config.iterations, codes=config.codes
    )
    storage.put_bytes(config.output, save({k: v.contiguous() for k, v in tensors.items()}))
    return {"frames": len(frames), "tracks": len(arrays)}


def _read_frames(path: str) -> FloatArray:
    frames: FloatArray = np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)
    return frames


class _DrawFrames(beam.DoFn):
    def __init__(self, config: FitConfig) -> None:
        self._config = config
        self._fitter: Fitter | None = None

    def setup(self) -> None:
        if self._config.start_process is not None:
            self._config.start_process()
        self._fitter = self._config.load_fitter()

    def process(self, track: Track) -> Iterator[object]:
        assert self._fitter is not None
        progress = ProgressLog(self._config.progress)
        try:
            frames = draw_frames(track, self._config, self._fitter)
        except ClipError as error:
            progress.track("failed", track.size_bytes)
            letter = DeadLetter.of_track(
                error, stage="DrawFrames", uri=track.uri, track_id=track.track_id
            )
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
            return
        progress.track("encoded", track.size_bytes)
        if len(frames):
            buffer = io.BytesIO()
            np.save(buffer, frames)
            path = storage.join(self._config.scratch, f"{track.track_id}.npy")
            storage.put_bytes(path, buffer.getvalue())
            yield path


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
        draw = beam.ParDo(_DrawFrames(self._config)).with_output_types(str, dead_letters=DeadLetter)
        draw = draw.with_resource_hints(**self._draw_hints)
        drawn = tracks | "DrawFrames" >> draw.with_outputs(DEAD_LETTERS, main=FRAMES)
        fitted = (
            drawn[FRAMES]
            | "GatherFrames" >> beam.combiners.ToList()
            | "Fit" >> beam.Map(fit_to_files, self._config)
        )
        return {"fitted": fitted, DEAD_LETTERS: drawn[DEAD_LETTERS]}
