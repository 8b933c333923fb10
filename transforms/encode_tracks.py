"""The expensive step: one track in, one part file out, audio nowhere in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from singsong import storage
from singsong.audio.decode import stream_mono
from singsong.audio.loudness import drop_reason
from singsong.dataset.parts import TrackFacts, has_failed_clips, write_part
from singsong.models.bundle import Models, load_models
from singsong.schemas.elements import PartRef, Track
from singsong.schemas.names import part_path
from singsong.schemas.outcomes import Stage
from singsong.schemas.recipe import NO_FILTER, EncodeRecipe, LoudnessFilter, encode_digest
from singsong.schemas.records import record_fields
from singsong.transforms.outputs import PARTS
from singsong.transforms.per_track import Meter, PerTrack
from singsong.transforms.progress import ProgressLog
from singsong.transforms.source_files import check_content, local_track
from singsong.transforms.step_config import StepConfig
from singsong.transforms.track_rows import TrackRows

TOO_SHORT = "shorter_than_a_clip"
"""What is said of a track without a clip."""


@dataclass(frozen=True, kw_only=True)
class EncodeConfig(StepConfig):
    """How and where tracks are encoded.

    Attributes:
        recipe: How.
        weights: Hex digest of each model's weights, by role, as the launching machine has them.
        parts: Folder or URL of the part files.
        redo_failed_clips: Whether a part with failed clips is made again.
        dataset_filter: What decides, beside the recipe's own filter, whether a track gives a clip
            to the dataset.
    """

    recipe: EncodeRecipe
    weights: tuple[tuple[str, str], ...]
    parts: str
    redo_failed_clips: bool = False
    dataset_filter: LoudnessFilter = NO_FILTER

    @property
    def encode_digest(self) -> str:
        """What names the parts."""
        return encode_digest(self.recipe, dict(self.weights))


class WeightsMismatchError(Exception):
    """A worker loaded other weights than the machine that launched the job."""


def encode_track(
    track: Track, *, path: str, config: EncodeConfig, models: Models, meter: Meter
) -> TrackFacts:
    """Decodes and encodes a track, writes its part and returns what is known of the track.

    Args:
        track: The track.
        path: Where the part goes, relative to the parts folder.
        config: How and where.
        models: The models of the recipe.
        meter: Takes the seconds spent, and whether a clip can be used.

    Raises:
        ClipError: The track cannot be used; no part is written.
        OSError: The part cannot be written, or the store does not answer.
    """
    track_rows = TrackRows(
        track_id=track.track_id, recipe=config.recipe, models=models, watch=meter.watch
    )
    outcomes = Counter[str]()
    with local_track(track) as local:
        with meter.watch("identify"):
            check_content(track, local)
        blocks = stream_mono(local, rate_hz=config.recipe.mix_rate_hz)
        rows = ProgressLog(config.progress).clips(
            track_rows.rows(blocks), clip_seconds=config.recipe.clip_seconds
        )
        with meter.watch("total"):
            write_part(
                storage.join(config.parts, path),
                _counted(rows, outcomes, config.dataset_filter),
                fields=record_fields(config.recipe, models.geometry),
                facts=track_rows.facts,
            )
    meter.useless = why_useless(outcomes)
    return track_rows.facts()


def _counted(
    rows: Iterable[Mapping[str, Any]], outcomes: Counter[str], dataset_filter: LoudnessFilter
) -> Iterator[Mapping[str, Any]]:
    """Yields the rows of a part and counts them by the reason why they are of no use, "" if not."""
    for row in rows:
        reason = row["reason"]
        if not reason and "vocals_peak_rms_db" in row:
            reason = drop_reason(
                vocals_db=row["vocals_peak_rms_db"],
                instrumental_db=row["instrumental_peak_rms_db"],
                loudness_filter=dataset_filter,
            )
        outcomes[reason or ""] += 1
        yield row


def why_useless(outcomes: Counter[str]) -> str:
    """Returns why no clip of a track can be used, the most frequent reason; empty if one can.

    Args:
        outcomes: Number of clips by the reason why they cannot be used, "" for those that can.

    >>> why_useless(Counter({"non_finite": 3, "": 1})), why_useless(Counter({"non_finite": 3}))
    ('', 'non_finite')
    """
    if outcomes[""]:
        return ""
    return max(outcomes, key=lambda reason: outcomes[reason], default=TOO_SHORT)


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

    def result_of(self, track: Track) -> str:
        return storage.join(self.config.parts, self._path(track))

    def find(self, track: Track) -> list[PartRef] | None:
        url = self.result_of(track)
        if not storage.exists(url):
            return None
        if self.config.redo_failed_clips and has_failed_clips(url):
            return None
        return [PartRef(track=track, path=self._path(track))]

    def load(self) -> Models:
        return load_same_models(self.config)

    def run(self, track: Track, models: Models, meter: Meter) -> list[PartRef]:
        path = self._path(track)
        facts = encode_track(track, path=path, config=self.config, models=models, meter=meter)
        meter.counts["audio_ms"] = round(facts.seconds * 1000)
        return [PartRef(track=track, path=path)]

    def _path(self, track: Track) -> str:
        return part_path(track.track_id, self.config.encode_digest)


class EncodeTracks(PerTrack):
    """Encodes each track whose part does not exist yet.

    Only references cross its borders. Hints for accelerators belong on this transform and nowhere
    else. Returns a dict with the outputs "parts" and "dead_letters".
    """

    def __init__(self, config: EncodeConfig) -> None:
        super().__init__(_EncodeStep(config=config), output=PARTS, element=PartRef)
