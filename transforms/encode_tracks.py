"""The expensive step: one track in, one part file out, audio nowhere in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from singsong import storage
from singsong.audio.decode import stream_mono
from singsong.dataset.parts import TrackFacts, has_failed_clips, write_part
from singsong.models.bundle import Models, load_models
from singsong.schemas.elements import PartRef, Track
from singsong.schemas.names import part_path
from singsong.schemas.outcomes import Stage
from singsong.schemas.recipe import EncodeRecipe, encode_digest
from singsong.schemas.records import record_fields
from singsong.transforms.outputs import PARTS
from singsong.transforms.per_track import Meter, PerTrack
from singsong.transforms.progress import ProgressLog
from singsong.transforms.source_files import check_content, local_track
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_rows import TrackRows


@dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """How and where tracks are encoded.

    Attributes:
        recipe: How.
        weights: Hex digest of each model's weights, by role, as the launching machine has them.
        parts: Folder or URL of the part files.
        progress: Folder of this machine to report progress to; None reports none.
        start_process: Called once in each worker before the first model is loaded.
        redo_failed_clips: Whether a part with failed clips is made again.
    """

    recipe: EncodeRecipe
    weights: tuple[tuple[str, str], ...]
    parts: str
    progress: str | None = None
    start_process: Callable[[], None] | None = None
    redo_failed_clips: bool = False

    @property
    def encode_digest(self) -> str:
        """What names the parts."""
        return encode_digest(self.recipe, dict(self.weights))


class WeightsMismatchError(Exception):
    """A worker loaded other weights than the machine that launched the job."""


def encode_track(
    track: Track, *, path: str, config: EncodeConfig, models: Models, watch: Stopwatch
) -> TrackFacts:
    """Decodes and encodes a track, writes its part and returns what is known of the track.

    Args:
        track: The track.
        path: Where the part goes, relative to the parts folder.
        config: How and where.
        models: The models of the recipe.
        watch: Takes the seconds spent.

    Raises:
        ClipError: The track cannot be used; no part is written.
        OSError: The part cannot be written, or the store does not answer.
    """
    track_rows = TrackRows(
        track_id=track.track_id, recipe=config.recipe, models=models, watch=watch
    )
    with local_track(track) as local:
        with watch("identify"):
            check_content(track, local)
        blocks = stream_mono(local, rate_hz=config.recipe.mix_rate_hz)
        rows = ProgressLog(config.progress).clips(
            track_rows.rows(blocks), clip_seconds=config.recipe.clip_seconds
        )
        with watch("total"):
            write_part(
                storage.join(config.parts, path),
                rows,
                fields=record_fields(config.recipe, models.geometry),
                facts=track_rows.facts,
            )
    return track_rows.facts()


def load_same_models(config: EncodeConfig) -> Models:
    """Returns the models of the recipe.

    Raises:
        WeightsMismatchError: Their weights are not those that the job was launched with.
        ValueError: As `load_models`.
    """
    models = load_models(config.recipe)
    expected = dict(config.weights)
    if models.weights != expected:
        raise WeightsMismatchError(
            f"this worker loaded weights {models.weights}, the job was launched with {expected}: "
            "give both machines the same model files"
        )
    return models


@dataclass(frozen=True, kw_only=True)
class _EncodeStep:
    config: EncodeConfig
    stage: Stage = Stage.ENCODE_TRACKS

    @property
    def progress(self) -> str | None:
        return self.config.progress

    @property
    def start_process(self) -> Callable[[], None] | None:
        return self.config.start_process

    def find(self, track: Track) -> list[PartRef] | None:
        path = part_path(track.track_id, self.config.encode_digest)
        url = storage.join(self.config.parts, path)
        if not storage.exists(url):
            return None
        if self.config.redo_failed_clips and has_failed_clips(url):
            return None
        return [PartRef(track=track, path=path)]

    def load(self) -> Models:
        return load_same_models(self.config)

    def run(self, track: Track, models: Models, meter: Meter) -> list[PartRef]:
        path = part_path(track.track_id, self.config.encode_digest)
        facts = encode_track(track, path=path, config=self.config, models=models, watch=meter.watch)
        meter.counts["audio_ms"] = round(facts.seconds * 1000)
        return [PartRef(track=track, path=path)]


class EncodeTracks(PerTrack):
    """Encodes each track whose part does not exist yet.

    Only references cross its borders. Hints for accelerators belong on this transform and nowhere
    else. Returns a dict with the outputs "parts" and "dead_letters".
    """

    def __init__(self, config: EncodeConfig) -> None:
        super().__init__(_EncodeStep(config=config), output=PARTS, element=PartRef)
