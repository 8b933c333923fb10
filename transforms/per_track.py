"""The one step that all jobs share: something is done to each track, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics

from singsong.schemas.elements import DeadLetter, Track
from singsong.schemas.errors import ClipError
from singsong.schemas.outcomes import Stage
from singsong.transforms.outputs import DEAD_LETTERS
from singsong.transforms.progress import ProgressLog
from singsong.transforms.stopwatch import Stopwatch

METRICS_NAMESPACE = "singsong"

Models = TypeVar("Models")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Meter:
    """What the work on a track costs; it becomes counters of the job.

    Attributes:
        watch: Seconds by the name of what they were spent on.
        counts: Anything else, by name.
    """

    watch: Stopwatch = field(default_factory=Stopwatch)
    counts: Counter[str] = field(default_factory=Counter)


class TrackStep(Protocol[Models, Result_co]):
    """What a job does to each track. No Beam: plain calls test it."""

    @property
    def stage(self) -> Stage:
        """The name of the step in dead letters."""

    @property
    def progress(self) -> str | None:
        """Folder of this machine to report progress to; None reports none."""

    @property
    def start_process(self) -> Callable[[], None] | None:
        """Called once in each worker before the first model is loaded."""

    def find(self, track: Track) -> Sequence[Result_co] | None:
        """Returns what an earlier run left of a track, or None if the work is still to do."""

    def load(self) -> Models:
        """Returns the models; called once in each worker, for the first track that needs them."""

    def run(self, track: Track, models: Models, meter: Meter) -> Sequence[Result_co]:
        """Does the work and returns what comes out.

        Raises:
            ClipError: The track cannot be used.
        """


class _ForEachTrack(beam.DoFn, Generic[Models, Result_co]):
    def __init__(self, step: TrackStep[Models, Result_co]) -> None:
        self._step = step
        self._models: Models | None = None

    def setup(self) -> None:
        if self._step.start_process is not None:
            self._step.start_process()

    def process(self, track: Track) -> Iterator[object]:
        progress = ProgressLog(self._step.progress)
        results = self._step.find(track)
        if results is not None:
            Metrics.counter(METRICS_NAMESPACE, "tracks_found").inc()
            progress.track("found", track.size_bytes)
            yield from results
            return
        meter = Meter()
        try:
            results = self._step.run(track, self._load(), meter)
        except ClipError as error:
            progress.track("failed", track.size_bytes)
            letter = DeadLetter.of_track(
                error, stage=self._step.stage, uri=track.uri, track_id=track.track_id
            )
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
            return
        finally:
            _count(meter)
        progress.track("encoded", track.size_bytes)
        yield from results

    def _load(self) -> Models:
        if self._models is None:
            self._models = self._step.load()
        return self._models


def _count(meter: Meter) -> None:
    for name, seconds in meter.watch.seconds.items():
        Metrics.counter(METRICS_NAMESPACE, f"us_{name}").inc(round(seconds * 1e6))
    for name, number in meter.counts.items():
        Metrics.counter(METRICS_NAMESPACE, name).inc(number)


class PerTrack(beam.PTransform):
    """Does something to each track that an earlier run has not done.

    Returns a dict with the output that `output` names and "dead_letters".
    """

    def __init__(
        self, step: TrackStep[Models, Result_co], *, output: str, element: type[Result_co]
    ) -> None:
        """Takes what is done, the name of the output and the type of its elements."""
        super().__init__()
        self._step = step
        self._output = output
        self._element = element

    def expand(self, tracks: beam.PCollection) -> dict[str, beam.PCollection]:
        """Returns the two outputs."""
        each = beam.ParDo(_ForEachTrack(self._step)).with_output_types(
            self._element, dead_letters=DeadLetter
        )
        outputs = tracks | "ForEachTrack" >> each.with_outputs(DEAD_LETTERS, main=self._output)
        return {self._output: outputs[self._output], DEAD_LETTERS: outputs[DEAD_LETTERS]}
