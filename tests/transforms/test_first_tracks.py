"""When a job is given up for its first tracks, and when workers can only warn."""

import logging
from pathlib import Path

import pytest

from singsong.transforms.first_tracks import FirstTracks, UselessTracksError
from singsong.transforms.progress import ProgressLog, StoppedError

BAD = ("failed", "corrupt")
GOOD = ("encoded", "")
COVER = ("failed", "not_audio")


def finish(first: FirstTracks, outcomes: list[tuple[str, str]], folder: Path | None) -> None:
    for number, (outcome, useless) in enumerate(outcomes):
        uri = f"/{number}.wav"
        ProgressLog(folder and str(folder)).track(outcome, 1, useless=useless, uri=uri)
        first.finished(outcome, useless=useless, uri=uri)


def watcher(folder: Path | None, *, keep_going: bool = False) -> FirstTracks:
    return FirstTracks(folder and str(folder), keep_going=keep_going)


@pytest.mark.parametrize(
    "outcomes",
    [
        [BAD] * 19,
        [BAD] * 10 + [GOOD] * 10,
        [GOOD] * 20 + [BAD] * 30,
        [COVER] * 30 + [BAD] * 19,
        [("found", "")] * 20 + [BAD] * 30,
    ],
)
def test_the_job_goes_on(tmp_path: Path, outcomes: list[tuple[str, str]]) -> None:
    finish(watcher(tmp_path), outcomes, tmp_path)
    assert not (tmp_path / "stop").exists()


@pytest.mark.parametrize(
    "outcomes", [[BAD] * 20, [BAD] * 11 + [GOOD] * 9, [COVER] * 9 + [BAD] * 20]
)
def test_the_job_is_given_up_and_all_workers_stop(tmp_path: Path, outcomes) -> None:
    with pytest.raises(UselessTracksError, match=r"of the first 20 .* as corrupt, such as /"):
        finish(watcher(tmp_path), outcomes, tmp_path)
    assert "as corrupt" in (tmp_path / "stop").read_text()
    with pytest.raises(StoppedError):
        ProgressLog(str(tmp_path)).check_stopped()
    finish(watcher(tmp_path, keep_going=True), [], tmp_path)


def test_the_most_common_reason_is_named(tmp_path: Path) -> None:
    outcomes = [("failed", "empty")] * 8 + [("encoded", "vocals_too_loud")] * 12
    with pytest.raises(UselessTracksError, match=r"20 of .* 12 of them as vocals_too_loud"):
        finish(watcher(tmp_path), outcomes, tmp_path)


def test_workers_count_together(tmp_path: Path) -> None:
    one, other = watcher(tmp_path), watcher(tmp_path)
    finish(one, [BAD] * 10, tmp_path)
    with pytest.raises(UselessTracksError):
        finish(other, [BAD] * 10, tmp_path)


def test_workers_that_share_no_folder_warn(caplog: pytest.LogCaptureFixture) -> None:
    first = watcher(None)
    with caplog.at_level(logging.WARNING):
        finish(first, [BAD] * 40, None)
    (record,) = caplog.records
    assert "on this worker, 20 of the first 20 tracks gave nothing" in record.getMessage()
    finish(watcher(None, keep_going=True), [BAD] * 40, None)
    assert len(caplog.records) == 1
