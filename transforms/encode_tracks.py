"""The expensive step: one track in, one part file out, audio nowhere in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from singsong import storage
from singsong.audio.decode import DEFAULT_LIMITS, DecodeLimits, stream_mono, stream_stereo
from singsong.dataset.part_files import TrackFacts, extend_part, write_part
from singsong.dataset.parts import BrokenPartError, PartDecisions, decide, row_drop_reason
from singsong.models.bundle import Models, load_models
from singsong.schemas.elements import PartRef, Track
from singsong.schemas.names import part_path
from singsong.schemas.outcomes import Stage
from singsong.schemas.part_row import PartRow
from singsong.schemas.recipe import NO_FILTER, EncodeRecipe, LoudnessFilter, encode_digest
from singsong.schemas.records import record_fields
from singsong.transforms.arithmetic import ARITHMETIC
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
        encode_filter: A clip that it drops gets a row with its figures, but no codes.
        redo_failed_clips: Whether a part with failed clips is made again.
        dataset_filter: Decides whether a track gives a clip to the dataset.
        limits: What decoding a track may use.
        check_determinism: How many clips of each track every model is asked about twice.
    """

    recipe: EncodeRecipe
    weights: tuple[tuple[str, str], ...]
    parts: str
    encode_filter: LoudnessFilter = NO_FILTER
    redo_failed_clips: bool = False
    dataset_filter: LoudnessFilter = NO_FILTER
    limits: DecodeLimits = DEFAULT_LIMITS
    check_determinism: int = 0

    @property
    def encode_digest(self) -> str:
        """What names the parts."""
        return encode_digest(self.recipe, weights=dict(self.weights), arithmetic=ARITHMETIC)

    def url_of_part(self, track: Track) -> str:
        """Returns the path or URL of the part of a track."""
        return storage.join(self.parts, part_path(track.track_id, self.encode_digest))


class WeightsMismatchError(Exception):
    """A worker loaded other weights than the machine that launched the job."""


def find_part(
    track: Track, config: EncodeConfig, *, report: Callable[[str], None] = lambda _: None
) -> PartDecisions | None:
    """Returns what the encode filter makes of the part of a track, if there is a sound one.

    Args:
        track: The track.
        config: How it is encoded, and where its part is.
        report: Takes a sentence on a damaged part, which counts as none: it is made again.

    Raises:
        OSError: The part cannot be read, or the store does not answer.
    """
    url = config.url_of_part(track)
    if not storage.exists(url):
        return None
    try:
        found = decide(
            url,
            dataset_filter=config.encode_filter,
            separated=config.recipe.separator is not None,
        )
    except BrokenPartError as error:
        report(f"{error}; it is made again")
        return None
    return None if config.redo_failed_clips and found.failures else found


def encode_track(track: Track, *, config: EncodeConfig, models: Models, meter: Meter) -> TrackFacts:
    """Decodes and encodes a track, writes its part and returns what is known of the track.

    A part that exists and lacks the codes of some clips is extended: only they are encoded.

    Args:
        track: The track.
        config: How and where.
        models: The models of the recipe.
        meter: Takes the seconds spent, and whether a clip can be used.

    Raises:
        ClipError: The track cannot be used; no part is written.
        NondeterminismError: A model gave another result when it was asked again.
        OSError: The part cannot be written, or the store does not answer.
    """
    found = find_part(track, config)
    track_rows = _track_rows(track, found, config=config, models=models, meter=meter)
    outcomes, cuts = Counter[str](), list[bool]()

    def facts() -> TrackFacts:
        return replace(track_rows.facts(), cut_short=bool(cuts))

    with local_track(track) as local:
        with meter.watch("identify"):
            check_content(track, local)
        stream = stream_stereo if config.recipe.stereo else stream_mono
        blocks = stream(
            local,
            rate_hz=config.recipe.mix_rate_hz,
            limits=config.limits,
            on_cut=lambda: cuts.append(True),
        )
        rows = ProgressLog(config.progress).clips(
            track_rows.rows(blocks), clip_seconds=config.recipe.clip_seconds
        )
        rows = _counted(rows, outcomes, config.dataset_filter)
        fields, url = record_fields(config.recipe, models.geometry), config.url_of_part(track)
        with meter.watch("total"):
            if found:
                at = found.without_codes
                extend_part(url, rows, positions=at, fields=fields, facts=facts)
            else:
                write_part(url, rows, fields=fields, facts=facts)
    meter.useless = why_useless(outcomes)
    return facts()


def _track_rows(
    track: Track,
    found: PartDecisions | None,
    *,
    config: EncodeConfig,
    models: Models,
    meter: Meter,
) -> TrackRows:
    """Returns what makes the rows of a track, or only those whose codes its part lacks."""
    return TrackRows(
        track_id=track.track_id,
        recipe=config.recipe,
        models=models,
        watch=meter.watch,
        encode_filter=NO_FILTER if found else config.encode_filter,
        only=frozenset(found.without_codes) if found else None,
        check_determinism=config.check_determinism,
    )


def _counted(
    rows: Iterable[PartRow], outcomes: Counter[str], dataset_filter: LoudnessFilter
) -> Iterator[PartRow]:
    """Yields the rows of a part and counts them by the reason why they are of no use, "" if not."""
    for row in rows:
        reason = row.reason
        if reason is None and "vocals_peak_rms_db" in row.figures:
            reason = row_drop_reason(row.figures, dataset_filter)
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
        return self.config.url_of_part(track)

    def find(self, track: Track) -> list[PartRef] | None:
        found = find_part(track, self.config, report=ProgressLog(self.config.progress).note)
        return None if found is None or found.without_codes else [self._part(track)]

    def load(self) -> Models:
        return load_same_models(self.config)

    def run(self, track: Track, models: Models, meter: Meter) -> list[PartRef]:
        facts = encode_track(track, config=self.config, models=models, meter=meter)
        meter.counts["audio_ms"] = round(facts.seconds * 1000)
        return [self._part(track)]

    def _part(self, track: Track) -> PartRef:
        return PartRef(track=track, path=part_path(track.track_id, self.config.encode_digest))


class EncodeTracks(PerTrack):
    """Encodes each track whose part does not exist yet.

    Only references cross its borders. Hints for accelerators belong on this transform and nowhere
    else. Returns a dict with the outputs "parts" and "dead_letters".
    """

    def __init__(self, config: EncodeConfig) -> None:
        super().__init__(_EncodeStep(config=config), output=PARTS, element=PartRef)
