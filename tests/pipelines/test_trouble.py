"""Trouble of the machine stops a job, trouble with one file costs that file and nothing else."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import singsong.transforms.encode_tracks
from benchmarks.support.command import ROOT
from singsong import storage
from singsong.commands import cli
from singsong.dataset.handle import Dataset, open_dataset
from singsong.runners.errors import JobFailedError
from tests.support.fakes import RATE, tone, write_tones

THREADS = ("--mode", "multi_threading", "--workers", "2")


def statuses(dataset: Path) -> dict[str, str]:
    return {
        os.path.basename(t.uri): t.reason or t.status for t in open_dataset(str(dataset)).tracks
    }


def spoil(monkeypatch: pytest.MonkeyPatch, step: Callable[[str], None]) -> None:
    """Calls a function with the name of each file before it is encoded."""
    encode = singsong.transforms.encode_tracks.encode_track

    def spoiled(track, **settings):
        step(os.path.basename(track.place))
        return encode(track, **settings)

    monkeypatch.setattr(singsong.transforms.encode_tracks, "encode_track", spoiled)


def test_a_poisonous_track_costs_itself_and_is_retried(
    prepare, tmp_path, dataset, monkeypatch, capsys
) -> None:
    write_tones(tmp_path / "music", tracks=12)
    with monkeypatch.context() as patch:

        def explode(name: str) -> None:
            if name == "tone-003.wav":
                raise ZeroDivisionError("a model divided by zero")

        spoil(patch, explode)
        assert prepare(tmp_path / "music", flags=THREADS) == 0
    letter = open_dataset(str(dataset)).failures[0]
    assert (os.path.basename(letter.uri), letter.reason) == ("tone-003.wav", "crashed")
    assert "\n" not in letter.message
    (attempts,) = (dataset / "parts").rglob("*.attempts")
    assert str(attempts) in letter.message
    assert "a model divided by zero" in attempts.read_text()
    assert "Traceback" in attempts.read_text()
    assert cli.main(["dataset", "show", str(dataset)]) == 0
    assert "crashed: " in capsys.readouterr().out
    assert cli.main(["retry", str(dataset), *THREADS]) == 0
    assert set(statuses(dataset).values()) == {"encoded"}
    assert not list((dataset / "parts").rglob("*.attempts"))
    assert cli.main(["dataset", "verify", str(dataset)]) == 0


def test_debugging_stops_at_the_real_exception_and_names_the_file(
    prepare, tmp_path, monkeypatch, capsys
) -> None:
    write_tones(tmp_path / "music", tracks=1)

    def explode(name: str) -> None:
        raise ZeroDivisionError("a model divided by zero")

    spoil(monkeypatch, explode)
    assert prepare(tmp_path / "music") == 1
    error = capsys.readouterr().err
    assert f"divided by zero, while working on {tmp_path / 'music' / 'tone-000.wav'}" in error


@pytest.mark.slow
def test_a_track_that_ends_the_process_is_given_up_at_its_third_start(tmp_path, dataset) -> None:
    """Its neighbours, in work when the process ended, are not given up with it."""
    write_tones(tmp_path / "music", tracks=6)
    (tmp_path / "music" / "tone-005.wav").rename(tmp_path / "music" / "poison.wav")

    def run(poisoned: str, *command: str) -> int:
        return subprocess.run(
            [sys.executable, "-m", "tests.support.poisoned_prepare", poisoned, *command],
            cwd=ROOT,
            check=False,
            stderr=subprocess.DEVNULL,
        ).returncode

    prepare = ["prepare", str(tmp_path / "music"), "--output", str(dataset), "--clip-seconds", "1"]
    prepare.append("--no-separation-check")  # which the fake separator does not pass
    assert run("poisoned", *prepare, *THREADS) == -signal.SIGSEGV
    assert run("poisoned", *prepare, *THREADS) == -signal.SIGSEGV
    assert run("poisoned", *prepare, *THREADS, "--max-failure-rate", "1") == 0
    assert statuses(dataset) == {
        **{f"tone-{number:03d}.wav": "encoded" for number in range(5)},
        "poison.wav": "crashed",
    }
    retry = ["retry", str(dataset), "--max-failure-rate", "1", *THREADS]
    assert run("poisoned", *retry) == -signal.SIGSEGV  # another chance
    assert run("poisoned", *retry) == -signal.SIGSEGV
    assert run("poisoned", *retry) == 0
    assert statuses(dataset)["poison.wav"] == "crashed"
    assert run("healed", *retry) == 0
    assert set(statuses(dataset).values()) == {"encoded"}
    assert not list((dataset / "parts").rglob("*.attempts"))


TROUBLE = {
    "disk": (OSError(errno.ENOSPC, "No space left on device"), "free space"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "free space"),
    "files": (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
    "handle": (OSError(errno.ESTALE, "Stale file handle"), "mount"),
    "input/output": (OSError(errno.EIO, "Input/output error"), "mount"),
    "memory": (MemoryError(), "fewer workers"),
    "gpu memory": (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "smaller batches"),
    "gpu": (RuntimeError("CUDA error: an illegal memory access\nmore lines"), "nvidia-smi"),
}


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_of_the_machine_stops_the_job_with_advice(
    prepare, tmp_path, dataset, monkeypatch, capsys, trouble, mode
) -> None:
    write_tones(tmp_path / "music", tracks=2)
    error, advice = TROUBLE[trouble]

    def fail(name: str) -> None:
        raise error

    spoil(monkeypatch, fail)
    assert prepare(tmp_path / "music", flags=("--mode", mode)) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("singsong")]
    assert re.search(r"while working on .*tone-00\d.wav: ", line)
    assert advice in line
    assert line.endswith("then run the same command again")
    assert not (dataset / "manifest.json").exists()
    assert not list(dataset.rglob("*.attempts"))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("where", ["sha256_of", "local_copy"])
def test_trouble_while_a_file_is_read_is_no_dead_letter(
    prepare, tmp_path, dataset, monkeypatch, capsys, where, number
) -> None:
    write_tones(tmp_path / "music", tracks=1)

    def fail(url: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage, where, fail)
    assert prepare(tmp_path / "music", flags=("--mode", "multi_threading")) == 1
    error = capsys.readouterr().err
    assert os.strerror(number) in error
    assert "tone-000.wav" in error
    assert not (dataset / "manifest.json").exists()


def test_a_full_scratch_disk_is_no_dead_letter(prepare, tmp_path, monkeypatch, capsys) -> None:
    """A file of a store is copied there first."""
    (path,) = write_tones(tmp_path / "music", tracks=1)
    storage.put_bytes("memory://scratch/a.wav", path.read_bytes())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("singsong.storage.copies.shutil.copyfileobj", full)
    assert prepare("memory://scratch/a.wav") == 1
    assert "TMPDIR" in capsys.readouterr().err
    storage.remove("memory://scratch/a.wav")


def test_a_device_without_memory_is_a_sentence_at_the_start_too(
    prepare, tmp_path, monkeypatch, capsys
) -> None:
    write_tones(tmp_path / "music", tracks=1)

    def fail(recipe: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("singsong.models.bundle.load_models", fail)
    assert prepare(tmp_path / "music") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "smaller batches" in line


@pytest.mark.parametrize("loss", ["removed", "changed", "denied"])
def test_a_copy_stands_for_a_file_that_cannot_be_read_later(
    prepare, tmp_path, dataset, monkeypatch, loss
) -> None:
    paths = write_tones(tmp_path / "music", tracks=2)
    for copy in ("tone-000-b.wav", "tone-000-c.wav"):
        shutil.copyfile(paths[0], tmp_path / "music" / copy)

    def lose(name: str) -> None:
        if loss == "removed":
            paths[0].unlink(missing_ok=True)
        elif loss == "changed":
            soundfile.write(paths[0], tone(1.5, hz=999), RATE)

    if loss == "denied":
        copy_of = storage.local_copy
        monkeypatch.setattr(storage, "local_copy", lambda url: copy_of(refuse(url, paths[0])))
    spoil(monkeypatch, lose)
    assert prepare(tmp_path / "music") == 0
    assert statuses(dataset) == {
        **{"tone-000.wav": "duplicate", "tone-000-b.wav": "encoded"},
        **{"tone-000-c.wav": "duplicate", "tone-001.wav": "encoded"},
    }
    assert cli.main(["dataset", "verify", str(dataset)]) == 0


def refuse(url: str, path: Path) -> str:
    if url == str(path):
        raise PermissionError(errno.EACCES, "Permission denied")
    return url


def test_retry_knows_the_copies_of_what_failed(prepare, tmp_path, dataset, monkeypatch) -> None:
    paths = write_tones(tmp_path / "music", tracks=2)
    copy = tmp_path / "music" / "zcopy.wav"
    shutil.copyfile(paths[0], copy)
    copy_of = storage.local_copy
    with monkeypatch.context() as patch:
        for path in (paths[0], copy):
            wrapped = storage.local_copy
            patch.setattr(storage, "local_copy", lambda url, p=path, w=wrapped: w(refuse(url, p)))
        assert prepare(tmp_path / "music", flags=("--max-failure-rate", "1")) == 0
    assert statuses(dataset)["tone-000.wav"] == "unreadable"
    assert storage.local_copy is copy_of
    paths[0].unlink()
    assert cli.main(["retry", str(dataset), *THREADS, "--max-failure-rate", "1"]) == 0
    assert statuses(dataset) == {
        **{"tone-000.wav": "unreadable", "tone-001.wav": "encoded", "zcopy.wav": "encoded"}
    }
    assert open_dataset(str(dataset)).manifest.counts.tracks.listed == 3
    assert cli.main(["dataset", "verify", str(dataset)]) == 0


def test_a_copy_whose_clips_failed_does_not_stand_for_a_good_one(prepare, tmp_path, dataset):
    """NaN and silence have one fingerprint: the recording with the usable clips is elected."""
    audio = tone(2, hz=300)
    audio[5:9] = 0
    soundfile.write(tmp_path / "good.wav", audio, RATE, subtype="FLOAT")
    audio[5:9] = np.nan
    for name in ("a.wav", "b.wav", "c.wav"):  # of different bytes, so that some id comes first
        soundfile.write(tmp_path / name, audio, RATE, subtype="FLOAT" if name < "b" else "DOUBLE")
    bad = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert prepare(tmp_path / "good.wav", *bad, flags=("--no-filter",)) == 0
    assert statuses(dataset)["good.wav"] == "encoded"
    assert len(open_dataset(str(dataset))) == 2


FIRST = 24


def write_first_tracks(folder: Path, *, bad: int, of: int = FIRST, silent: bool = False) -> None:
    write_tones(folder, tracks=of, seconds=1)
    for number, path in enumerate(sorted(folder.iterdir())[:bad]):
        if silent:
            soundfile.write(path, np.zeros(RATE + number), RATE)
        else:
            path.write_bytes(b"fLaC" + path.name.encode() * 40)


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
@pytest.mark.parametrize("silent", [False, True])
def test_a_job_whose_first_tracks_are_of_no_use_ends_early(
    prepare, tmp_path, dataset, capsys, mode, silent
) -> None:
    write_first_tracks(tmp_path / "music", bad=FIRST - 2, silent=silent)
    assert prepare(tmp_path / "music", flags=("--mode", mode)) == 3
    reason = "instrumental_too_quiet" if silent else "corrupt"
    error = capsys.readouterr().err
    found = re.search(rf"(\d+) of the first 2\d tracks gave nothing, \1 of them as {reason}", error)
    assert found is not None
    assert 18 <= int(found[1]) <= 22
    assert "--keep-going" in error
    assert "music/tone-0" in error
    assert not (dataset / "manifest.json").exists()
    made = len(list(dataset.rglob("*.parquet")))
    assert prepare(tmp_path / "music", flags=("--mode", mode, "--keep-going")) == 3 * (not silent)
    assert open_dataset(str(dataset)).manifest.counts.tracks.listed == FIRST
    assert made <= len(list(dataset.rglob("parts/*/*.parquet")))


def test_half_of_the_first_tracks_is_not_most(prepare, tmp_path, dataset) -> None:
    write_first_tracks(tmp_path / "music", bad=20, of=40)
    assert prepare(tmp_path / "music") == 3
    assert open_dataset(str(dataset)).manifest.counts.tracks.encoded == 20


def test_what_was_done_before_is_of_use(prepare, tmp_path, dataset) -> None:
    """Running again works on nothing but what failed before."""
    write_first_tracks(tmp_path / "music", bad=0, of=30)
    assert prepare(tmp_path / "music") == 0
    write_first_tracks(tmp_path / "broken", bad=FIRST)
    assert prepare(tmp_path / "music", tmp_path / "broken") == 3
    assert open_dataset(str(dataset)).manifest.counts.tracks.failed == {"corrupt": FIRST}
    assert cli.main(["retry", str(dataset), *THREADS]) == 3


def test_the_call_raises_when_the_job_is_given_up(fakes, tmp_path) -> None:
    from singsong.pipelines.prepare_call import prepare
    from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe

    write_first_tracks(tmp_path / "music", bad=FIRST - 1)
    recipe = DatasetRecipe(encode=EncodeRecipe(clip_seconds=1, separator=None))
    with pytest.raises(JobFailedError, match="of the first"):
        prepare(tmp_path / "music", output=tmp_path / "set", recipe=recipe, workers=1)
    made = prepare(
        tmp_path / "music",
        output=tmp_path / "set",
        recipe=recipe,
        workers=1,
        keep_going=True,
        max_failure_rate=1.0,
    )
    assert isinstance(made, Dataset)
