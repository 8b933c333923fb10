"""The step that all jobs share: find or do, once, and account for each track."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from singsong.runners.job import counters_of
from singsong.schemas.elements import DeadLetter, Track
from singsong.schemas.errors import CorruptAudioError
from singsong.schemas.outcomes import Stage
from singsong.transforms.per_track import Meter, PerTrack
from singsong.transforms.progress import ProgressReader

TRACKS = [Track(track_id=name, uri=f"/{name}", size_bytes=10) for name in ("a", "b", "bad", "old")]


@dataclass(frozen=True, kw_only=True)
class Shout:
    """Writes names in capitals; "old" was done before, "bad" cannot be done."""

    log: str
    progress: str | None = None
    stage: Stage = Stage.ENCODE_TRACKS
    error: type[Exception] = CorruptAudioError

    @property
    def start_process(self) -> Callable[[], None] | None:
        return lambda: self._note("start")

    def find(self, track: Track) -> list[str] | None:
        return ["OLD"] if track.track_id == "old" else None

    def load(self) -> Callable[[str], str]:
        self._note("load")
        return str.upper

    def run(self, track: Track, models: Callable[[str], str], meter: Meter) -> list[str]:
        self._note(f"run {track.track_id}")
        meter.counts["letters"] = len(track.track_id)
        with meter.watch("shout"):
            if track.track_id == "bad":
                raise self.error("it cannot be shouted")
            return [models(track.track_id), "!"]

    def _note(self, line: str) -> None:
        with open(self.log, "a") as file:
            file.write(line + "\n")


def shout(step: Shout, tracks: list[Track], shouts: list[str], letters: list[DeadLetter]):
    options = PipelineOptions(["--direct_running_mode=in_memory"])
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    outputs = (
        pipeline
        | beam.Create(tracks)
        | "Gather" >> beam.Reshuffle()
        | PerTrack(step, output="shouts", element=str)
    )
    assert set(outputs) == {"shouts", "dead_letters"}
    assert_that(outputs["shouts"], equal_to(shouts), label="Shouts")
    assert_that(outputs["dead_letters"], equal_to(letters), label="Letters")
    result = pipeline.run()
    result.wait_until_finish()
    return counters_of(result)


def test_each_track_is_found_or_done_or_a_dead_letter(tmp_path: Path) -> None:
    log, progress = tmp_path / "log.txt", tmp_path / "progress"
    progress.mkdir()
    letter = DeadLetter(
        uri="/bad",
        stage=Stage.ENCODE_TRACKS,
        reason="corrupt",
        message="it cannot be shouted",
        track_id="bad",
    )
    step = Shout(log=str(log), progress=str(progress))
    counters = shout(step, TRACKS, ["A", "!", "B", "!", "OLD"], [letter])
    lines = log.read_text().splitlines()
    assert lines[0] == "start"
    assert lines.count("load") == 1
    assert sorted(line for line in lines if line.startswith("run")) == ["run a", "run b", "run bad"]
    reported = ProgressReader(progress).read()
    assert dict(reported.tracks) == {"encoded": 2, "failed": 1, "found": 1}
    assert reported.bytes["encoded"] == 20
    assert (counters["tracks_found"], counters["letters"]) == (1, len("abbad"))
    assert "us_shout" in counters
    assert json.dumps(counters)


def test_models_are_not_loaded_where_everything_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    shout(Shout(log=str(log)), TRACKS[3:], ["OLD"], [])
    assert "load" not in log.read_text()


def test_trouble_of_the_machine_is_not_a_dead_letter(tmp_path: Path) -> None:
    step = Shout(log=str(tmp_path / "log.txt"), error=OSError)
    with pytest.raises(OSError, match="it cannot be shouted"):
        shout(step, TRACKS[2:3], [], [])
