"""The one step that all jobs share: something is done to each track, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import apache_beam as beam
from apache_beam.metrics import Metrics

from singsong import storage
from singsong.schemas.elements import DeadLetter, Track
from singsong.schemas.errors import ClipError, ContentChangedError, UnreadableFileError, add_file
from singsong.schemas.outcomes import Stage
from singsong.transforms.attempts import counted_attempt, crashed
from singsong.transforms.first_tracks import FirstTracks
from singsong.transforms.outputs import DEAD_LETTERS
from singsong.transforms.progress import ProgressLog, StoppedError
from singsong.transforms.step_config import StepConfig
from singsong.transforms.stopwatch import Stopwatch

METRICS_NAMESPACE = "singsong"
_OF_THE_PLACE = (UnreadableFileError, ContentChangedError)
"""What another file with the same bytes may not have."""

Models = TypeVar("Models")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(kw_only=True)
class Meter:
    """What the work on a track costs; it becomes counters of the job.

    Attributes:
        watch: Seconds by the name of what they were spent on.
        counts: Anything else, by name.
        useless: Why nothing of the track can be used; empty if something can.
    """

    watch: Stopwatch = field(default_factory=Stopwatch)
    counts: Counter[str] = field(default_factory=Counter)
    useless: str = ""


class TrackStep(Protocol[Models, Result_co]):
    """What a job does to each track. No Beam: plain calls test it."""

    @property
    def stage(self) -> Stage:
        """The name of the step in dead letters."""

    @property
    def config(self) -> StepConfig:
        """How the step runs."""

    def result_of(self, track: Track) -> str:
        """Returns the path or URL of what the work makes; attempts are counted beside it."""

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
        config = self._step.config
        self._first = FirstTracks(config.progress, keep_going=config.keep_going)
        if config.start_process is not None:
            config.start_process()

    def process(self, track: Track) -> Iterator[object]:
        results = self._step.find(track)
        if results is not None:
            Metrics.counter(METRICS_NAMESPACE, "tracks_found").inc()
            self._report("found", track)
            yield from results
            return
        models, meter = self._load(), Meter()
        try:
            with counted_attempt(self._step.result_of(track)):
                results = self._work(track, models, meter)
        except ClipError as error:
            letter = DeadLetter.of_track(
                error, stage=self._step.stage, uri=track.uri, track_id=track.track_id
            )
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
            self._report("failed", track, useless=error.reason)
            return
        except StoppedError as error:
            ProgressLog(self._step.config.progress).stop(str(error))
            raise
        except Exception as error:
            add_file(error, track.uri)
            raise
        finally:
            _count(meter)
        self._report("encoded", track, useless=meter.useless)
        yield from results

    def _work(self, track: Track, models: Models, meter: Meter) -> Sequence[Result_co]:
        """Does the work, once more where nobody foresaw why it failed, and at each place.

        Raises:
            ClipError: The track cannot be used; of its places, the first one says why.
            StoppedError: The job is to stop.
            OSError: The machine is in trouble, or the result cannot be written.
        """
        refused: ClipError | None = None
        for one in track.at_each_place():
            try:
                return self._work_twice(one, models, meter)
            except _OF_THE_PLACE as error:
                refused = refused or error
        assert refused is not None
        raise refused

    def _work_twice(self, track: Track, models: Models, meter: Meter) -> Sequence[Result_co]:
        for is_last in (False, True):
            try:
                return self._step.run(track, models, meter)
            except (ClipError, StoppedError, OSError):
                raise
            except Exception as error:  # the one place where anything that a file does is caught
                if self._step.config.debug or storage.is_machine_trouble(error):
                    raise
                if is_last:
                    raise crashed(error, self._step.result_of(track)) from error
        raise AssertionError("the last time returns or raises")

    def _report(self, outcome: str, track: Track, *, useless: str = "") -> None:
        log = ProgressLog(self._step.config.progress)
        log.track(outcome, track.size_bytes, useless=useless, uri=track.uri)
        self._first.finished(outcome, useless=useless, uri=track.uri)

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
