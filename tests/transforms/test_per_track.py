"""The step that all jobs share: find or do, once, and account for each track."""

import errno
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from singsong.runners.job import counters_of
from singsong.schemas.elements import DeadLetter, Track
from singsong.schemas.errors import ContentChangedError, CorruptAudioError, UnreadableFileError
from singsong.schemas.outcomes import Stage
from singsong.transforms.attempts import counted_attempt, forget_attempts, give_another_chance
from singsong.transforms.per_track import Meter, PerTrack, _ForEachTrack
from singsong.transforms.progress import ProgressReader, StoppedError
from singsong.transforms.step_config import StepConfig

TRACKS = [Track(track_id=name, uri=f"/{name}", size_bytes=10) for name in ("a", "b", "bad", "old")]


@dataclass(frozen=True, kw_only=True)
class Shout:
    """Writes names in capitals; "old" was done before, "bad" cannot be done at its own place."""

    folder: Path
    config: StepConfig = field(default_factory=StepConfig)
    stage: Stage = Stage.ENCODE_TRACKS
    errors: tuple[Exception, ...] = (CorruptAudioError("it cannot be shouted"),)

    def result_of(self, track: Track) -> str:
        return str(self.folder / "results" / track.track_id)

    def find(self, track: Track) -> list[str] | None:
        return ["OLD"] if track.track_id == "old" else None

    def load(self) -> Callable[[str], str]:
        self.note("load")
        return str.upper

    def run(self, track: Track, models: Callable[[str], str], meter: Meter) -> list[str]:
        before = self.lines().count(f"run {track.place}")
        self.note(f"run {track.place}")
        meter.counts["letters"] = len(track.track_id)
        with meter.watch("shout"):
            if track.place == "/bad" and before < len(self.errors):
                raise self.errors[before]
            return [models(track.track_id), "!"]

    def note(self, line: str) -> None:
        with (self.folder / "log.txt").open("a") as file:
            file.write(line + "\n")

    def lines(self) -> list[str]:
        log = self.folder / "log.txt"
        return log.read_text().splitlines() if log.exists() else []

    def attempts(self, name: str) -> str | None:
        path = self.folder / "results" / f"{name}.attempts"
        return path.read_text() if path.exists() else None


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


def letter_of(step: Shout, tracks: list[Track] = TRACKS[2:3]) -> DeadLetter:
    """Returns what becomes of "bad"."""
    each = _ForEachTrack(step)
    each.setup()
    ((output,),) = (list(each.process(track)) for track in tracks)
    assert isinstance(output.value, DeadLetter)
    return output.value


def test_each_track_is_found_or_done_or_a_dead_letter(tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    progress.mkdir()
    letter = DeadLetter(
        uri="/bad",
        stage=Stage.ENCODE_TRACKS,
        reason="corrupt",
        message="it cannot be shouted",
        track_id="bad",
    )
    config = StepConfig(
        progress=str(progress), start_process=lambda: Shout(folder=tmp_path).note("start")
    )
    step = Shout(folder=tmp_path, config=config)
    counters = shout(step, TRACKS, ["A", "!", "B", "!", "OLD"], [letter])
    lines = step.lines()
    assert lines[0] == "start"
    assert lines.count("load") == 1
    assert sorted(line for line in lines if line.startswith("run")) == [
        *("run /a", "run /b", "run /bad")
    ]
    reported = ProgressReader(progress).read()
    assert dict(reported.tracks) == {"encoded": 2, "failed": 1, "found": 1}
    assert dict(reported.useless) == {"corrupt": 1}
    assert reported.bytes["encoded"] == 20
    assert (counters["tracks_found"], counters["letters"]) == (1, len("abbad"))
    assert "us_shout" in counters
    assert json.dumps(counters)
    assert not list((tmp_path / "results").iterdir())


def test_models_are_not_loaded_where_everything_is_found(tmp_path: Path) -> None:
    step = Shout(folder=tmp_path)
    shout(step, TRACKS[3:], ["OLD"], [])
    assert step.lines() == []


TROUBLE = [
    OSError("it cannot be shouted"),
    OSError(errno.ENOSPC, "it cannot be shouted"),
    MemoryError("it cannot be shouted"),
    RuntimeError("CUDA error: it cannot be shouted"),
]


@pytest.mark.parametrize("error", TROUBLE)
def test_trouble_of_the_machine_stops_the_job_and_names_the_file(tmp_path, error) -> None:
    step = Shout(folder=tmp_path, errors=(error,) * 9)
    with pytest.raises((OSError, MemoryError, RuntimeError)) as raised:
        shout(step, TRACKS[2:3], [], [])
    assert "it cannot be shouted, while working on /bad" in str(raised.value)
    assert step.lines() == ["load", "run /bad"]
    assert step.attempts("bad") is None


def test_the_wish_to_stop_is_no_crash(tmp_path: Path) -> None:
    step = Shout(folder=tmp_path, errors=(StoppedError("stop"),))
    with pytest.raises(StoppedError):
        letter_of(step)
    assert step.attempts("bad") is None


def test_what_nobody_foresaw_costs_the_track_after_a_second_try(tmp_path: Path) -> None:
    step = Shout(folder=tmp_path, errors=(KeyError("one"), ZeroDivisionError("two\n\x1b")))
    letter = letter_of(step)
    assert step.lines() == ["load", "run /bad", "run /bad"]
    assert (letter.reason, letter.track_id) == ("crashed", "bad")
    assert letter.message.startswith("ZeroDivisionError: two\\n\\x1b; the traceback is in ")
    traceback = step.attempts("bad")
    assert traceback is not None
    assert letter.message.endswith("results/bad.attempts")
    assert traceback.startswith("0\nTraceback")
    assert "raise self.errors[before]" in traceback
    shout(step, TRACKS[2:3], ["BAD", "!"], [])  # the next run tries again
    assert step.attempts("bad") is None


def test_a_fault_that_passes_costs_nothing(tmp_path: Path) -> None:
    step = Shout(folder=tmp_path, errors=(ValueError("once"),))
    shout(step, TRACKS[2:3], ["BAD", "!"], [])
    assert step.attempts("bad") is None


def test_debugging_lets_the_real_exception_through(tmp_path: Path) -> None:
    step = Shout(folder=tmp_path, config=StepConfig(debug=True), errors=(KeyError("real"),) * 2)
    with pytest.raises(KeyError, match="real"):
        letter_of(step)
    assert step.lines() == ["load", "run /bad"]


def test_the_third_start_of_a_track_that_ends_its_process_is_a_dead_letter(tmp_path: Path) -> None:
    step = Shout(folder=tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "bad.attempts").write_text("2\n")
    for _ in range(2):
        letter = letter_of(step)
        assert letter.reason == "crashed"
        assert "2 times" in letter.message
    assert step.lines() == ["load", "load"]
    give_another_chance(step.result_of(TRACKS[2]))
    assert step.attempts("bad") is None


def test_starts_since_the_dead_letter_go_on_counting(tmp_path: Path) -> None:
    """Or a retry that ends its process would never come to an end."""
    path = tmp_path / "bad.attempts"
    path.write_text("1\n")
    give_another_chance(str(tmp_path / "bad"))
    assert path.read_text() == "1\n"


def test_a_user_who_ends_the_process_blames_no_track(tmp_path: Path) -> None:
    result = str(tmp_path / "bad")
    with counted_attempt(result):
        assert (tmp_path / "bad.attempts").read_text() == "1\n"
        forget_attempts()
        assert not (tmp_path / "bad.attempts").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_suspect_works_alone(tmp_path: Path) -> None:
    """Its neighbours would be counted with it if it ended the process again."""
    (tmp_path / "suspect.attempts").write_text("1\n")
    inside: list[str] = []
    seen: list[list[str]] = []

    def work(name: str) -> None:
        with counted_attempt(str(tmp_path / name)):
            inside.append(name)
            time.sleep(0.05)
            seen.append(sorted(inside))
            inside.remove(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "suspect", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["suspect"] in seen
    assert not [names for names in seen if "suspect" in names and len(names) > 1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [UnreadableFileError("gone"), ContentChangedError("other")])
def test_another_file_with_the_same_bytes_is_tried(tmp_path: Path, error) -> None:
    track = replace(TRACKS[2], alternates=("/copy", "/never"))
    step = Shout(folder=tmp_path, errors=(error,))
    shout(step, [track], ["BAD", "!"], [])
    assert step.lines() == ["load", "run /bad", "run /copy"]


def test_what_is_wrong_with_the_bytes_is_wrong_with_each_copy(tmp_path: Path) -> None:
    track = replace(TRACKS[2], alternates=("/copy",))
    step = Shout(folder=tmp_path)
    assert letter_of(step, [track]).reason == "corrupt"
    assert step.lines() == ["load", "run /bad"]
