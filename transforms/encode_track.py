"""The expensive step: one track in, one part file out, audio nowhere in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from singsong import storage
from singsong.audio.decode import stream_mono
from singsong.dataset.parts import TrackFacts, has_failed_clips, write_part
from singsong.models.bundle import Models, load_models
from singsong.schemas.elements import DeadLetter, PartRef, Track
from singsong.schemas.errors import ClipError
from singsong.schemas.names import part_path
from singsong.schemas.recipe import EncodeRecipe, encode_digest
from singsong.schemas.records import record_fields
from singsong.transforms.list_tracks import check_content, local_track
from singsong.transforms.progress import ProgressLog
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_encoder import TrackEncoder

PARTS, DEAD_LETTERS = "parts", "dead_letters"
METRICS_NAMESPACE = "singsong"


@dataclass(frozen=True, kw_only=True)
class EncodeTrackConfig:
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
    track: Track, *, path: str, config: EncodeTrackConfig, models: Models, watch: Stopwatch
) -> TrackFacts:
    """Decodes and encodes a track, writes its part and returns what is known of it.

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
    encoder = TrackEncoder(
        track_id=track.track_id, recipe=config.recipe, models=models, watch=watch
    )
    with local_track(track) as local:
        with watch("identify"):
            check_content(track, local)
        blocks = stream_mono(local, rate_hz=config.recipe.mix_rate_hz)
        rows = ProgressLog(config.progress).clips(
            encoder.rows(blocks), clip_seconds=config.recipe.clip_seconds
        )
        with watch("total"):
            write_part(
                storage.join(config.parts, path),
                rows,
                fields=record_fields(config.recipe, models.geometry),
                facts=encoder.facts,
            )
    return encoder.facts()


class _EncodeTrack(beam.DoFn):
    def __init__(self, config: EncodeTrackConfig) -> None:
        self._config = config
        self._models: Models | None = None

    def setup(self) -> None:
        if self._config.start_process is not None:
            self._config.start_process()

    def process(self, track: Track) -> Iterator[object]:
        path = part_path(track.track_id, self._config.encode_digest)
        if self._is_done(storage.join(self._config.parts, path)):
            Metrics.counter(METRICS_NAMESPACE, "parts_found").inc()
            ProgressLog(self._config.progress).track("found", track.size_bytes)
            yield PartRef(track=track, path=path)
            return
        watch = Stopwatch()
        try:
            facts = encode_track(
                track, path=path, config=self._config, models=self._load_models(), watch=watch
            )
        except ClipError as error:
            ProgressLog(self._config.progress).track("failed", track.size_bytes)
            letter = DeadLetter.of_track(
                error, stage="EncodeTracks", uri=track.uri, track_id=track.track_id
            )
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
            return
        finally:
            _count_time(watch)
        Metrics.counter(METRICS_NAMESPACE, "audio_ms").inc(round(facts.seconds * 1000))
        ProgressLog(self._config.progress).track("encoded", track.size_bytes)
        yield PartRef(track=track, path=path)

    def _is_done(self, url: str) -> bool:
        if not storage.exists(url):
            return False
        return not (self._config.redo_failed_clips and has_failed_clips(url))

    def _load_models(self) -> Models:
        if self._models is None:
            models = load_models(self._config.recipe)
            expected = dict(self._config.weights)
            if models.weights != expected:
                raise WeightsMismatchError(
                    f"this worker loaded weights {models.weights}, the job was launched with "
                    f"{expected}: give both machines the same model files"
                )
            self._models = models
        return self._models


def _count_time(watch: Stopwatch) -> None:
    for name, seconds in watch.seconds.items():
        Metrics.counter(METRICS_NAMESPACE, f"us_{name}").inc(round(seconds * 1e6))


class EncodeTrack(beam.PTransform):
    """Encodes each track whose part does not exist yet.

    Only references cross its borders. Hints for accelerators belong on this transform and nowhere
    else. Returns a dict with the outputs "parts" and "dead_letters".
    """

    def __init__(self, config: EncodeTrackConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, tracks: beam.PCollection) -> dict[str, beam.PCollection]:
        """Returns the two outputs."""
        encode = beam.ParDo(_EncodeTrack(self._config)).with_output_types(
            PartRef, dead_letters=DeadLetter
        )
        outputs = tracks | "EncodeAndWrite" >> encode.with_outputs(DEAD_LETTERS, main=PARTS)
        return {PARTS: outputs[PARTS], DEAD_LETTERS: outputs[DEAD_LETTERS]}
