import os
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest

from singsong.runners.errors import JobFailedError
from singsong.runners.job import Job
from singsong.runners.local import LocalOptions
from singsong.runners.progress_bar import ProgressBar, describe, seconds_left
from singsong.schemas.outcomes import ClipStatus
from singsong.schemas.part_row import PartRow
from singsong.transforms.progress import Progress, ProgressLog, ProgressReader, StoppedError


def job(build: Callable[[beam.Pipeline, str | None], object]) -> Job:
    return Job(name="test", build=build, total_tracks=1, total_bytes=1)


def explode(element: int) -> int:
    raise ValueError(f"element {element} is wrong")


@pytest.mark.parametrize(
    ("flag", "ours"),
    [
        ("--direct_num_workers=7", "--workers"),
        ("--direct_running_mode", "--mode"),
        ("--runner=DirectRunner", "--runner"),
    ],
)
def test_a_flag_that_ours_set_is_refused_after_the_dashes(flag: str, ours: str) -> None:
    with pytest.raises(ValueError, match=f" is set by {ours}: give that one, before the --"):
        LocalOptions(beam_args=("--experiments=x", flag))
    assert LocalOptions(beam_args=("--experiments=x",)).beam_options()[-1] == "--experiments=x"


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_the_first_cause_is_told_in_a_line(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(JobFailedError) as failure:
        LocalOptions(mode=mode, workers=2).run(
            job(lambda pipeline, progress: pipeline | beam.Create([7]) | beam.Map(explode))
        )
    assert "element 7 is wrong" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert "Traceback" not in capsys.readouterr().err


def test_a_terminal_that_went_away_stops_nothing(tmp_path: Path) -> None:
    ears, mouth = os.pipe()
    stderr = os.dup(2)
    os.dup2(mouth, 2)
    try:
        bar = ProgressBar(tmp_path, total_tracks=1, total_bytes=1)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    with bar:
        os.close(ears)
        os.close(mouth)
    assert bar._terminal.closed


def test_counters_come_back_by_name() -> None:
    def count(element: int) -> int:
        beam.metrics.Metrics.counter("test", "elements").inc(element)
        return element

    outcome = LocalOptions(mode="in_memory").run(
        job(lambda pipeline, progress: pipeline | beam.Create([1, 2, 3]) | beam.Map(count))
    )
    assert outcome.counters["elements"] == 6


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"mode": "direct"}])
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LocalOptions(**wrong)


def test_in_memory_is_one_worker() -> None:
    assert LocalOptions(mode="in_memory", workers=8).worker_count == 1
    assert LocalOptions(workers=3).worker_count == 3
    assert LocalOptions().worker_count >= 1


def clip_row(status: ClipStatus) -> PartRow:
    return PartRow(clip_id="a-0", track_id="a", clip_index=0, start_s=0.0, status=status)


def test_progress_is_read_as_it_is_told(tmp_path: Path) -> None:
    log, reader = ProgressLog(str(tmp_path)), ProgressReader(tmp_path)
    rows = [clip_row(ClipStatus.ENCODED), clip_row(ClipStatus.DROPPED)]
    assert list(log.clips(rows, clip_seconds=10.0)) == rows
    log.track("encoded", 100)
    progress = reader.read()
    assert (progress.seconds, progress.clips["dropped"], progress.tracks["encoded"]) == (20, 1, 1)
    log.track("found", 300)
    assert reader.read().bytes == {"encoded": 100, "found": 300}


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "1-1.jsonl"
    reader = ProgressReader(tmp_path)
    path.write_text('{"track": "encoded", "by')
    assert not reader.read().tracks
    path.write_text('{"track": "encoded", "bytes": 5}\n')
    assert reader.read().tracks["encoded"] == 1


def test_a_wish_to_stop_is_heard_at_the_next_clip(tmp_path: Path) -> None:
    rows = ProgressLog(str(tmp_path)).clips([clip_row(ClipStatus.ENCODED)] * 2, clip_seconds=1.0)
    next(rows)
    (tmp_path / "stop").touch()
    with pytest.raises(StoppedError):
        next(rows)


def test_without_a_folder_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = ProgressLog(None)
    log.track("encoded", 1)
    assert len(list(log.clips([clip_row(ClipStatus.ENCODED)], clip_seconds=1.0))) == 1
    assert not list(tmp_path.iterdir())


def test_the_time_left_counts_only_work() -> None:
    progress = Progress()
    assert seconds_left(progress, elapsed_s=5, total_bytes=100) is None
    progress.bytes.update(found=50)
    assert seconds_left(progress, elapsed_s=5, total_bytes=100) is None
    progress.bytes.update(encoded=10)
    assert seconds_left(progress, elapsed_s=5, total_bytes=100) == 20
    progress.tracks.update(failed=2)
    assert describe(progress, elapsed_s=5, total_bytes=100).endswith(
        "0:00:20 left, 0 dropped, 2 failed"
    )
