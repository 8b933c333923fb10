"""The program that decodes apart: it is bounded, leaves nothing behind and opens nothing else."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from singsong.audio import decode_process
from singsong.audio.decode import DEFAULT_LIMITS, DecodeLimits, stream_mono
from singsong.audio.decode_child import failure_of
from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    DecodeTimeoutError,
    EmptyFileError,
    NotAudioError,
)
from tests.support import audio_files as files


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes every temporary file land in one folder, and wants it and the process table clean."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(folder))
    descriptors, processes = open_descriptors(), children()
    yield folder
    assert list(folder.iterdir()) == []
    assert children() == processes
    assert open_descriptors() == descriptors


def open_descriptors() -> int:
    return psutil.Process().num_fds()


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell script in the place of ffmpeg."""

    def put(*lines: str) -> None:
        script = tmp_path / "fake ffmpeg"
        script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        script.chmod(0o700)
        monkeypatch.setattr(decode_process, "ffmpeg_path", lambda: os.fspath(script))

    return put


def decode(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> int:
    return sum(len(b) for b in stream_mono(os.fspath(path), rate_hz=44100, limits=limits))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return files.write_text_named_mp3(tmp_path / "text.mp3")


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("trap", ["", "trap '' TERM"], ids=["polite", "stubborn"])
def test_hanging_ffmpeg_is_killed_in_time(tmp_path: Path, fake_ffmpeg, text: Path, trap: str):
    pid_file = tmp_path / "pid"
    fake_ffmpeg(trap, f"echo $$ > {pid_file}", "while :; do sleep 0.1; done")
    start = time.monotonic()
    with pytest.raises(DecodeTimeoutError, match=re.escape("ffmpeg took more than 1 s")):
        decode(text, DecodeLimits(timeout_s=1))
    assert time.monotonic() - start < 10
    assert not is_running(int(pid_file.read_text()))


def test_time_of_the_caller_does_not_count(tmp_path: Path) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a.m4a", files.music(5.0))
    blocks = stream_mono(
        os.fspath(path), rate_hz=44100, limits=DecodeLimits(timeout_s=1.5), block_frames=44100
    )
    samples = 0
    for block in blocks:
        samples += len(block)
        time.sleep(0.5)
    assert samples == 5 * 44100


def test_caller_may_stop_early(tmp_path: Path) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a.m4a", files.music(10.0))
    processes = children()
    blocks = stream_mono(os.fspath(path), rate_hz=44100, block_frames=1000)
    assert len(next(blocks)) == 1000
    assert len(children()) > len(processes)
    blocks.close()  # type: ignore[attr-defined]  # the fixture sees that nothing is left


def test_flood_of_complaints_blocks_nothing(fake_ffmpeg, text: Path) -> None:
    fake_ffmpeg("yes '[x @ 0x12] broken again' | head -c 3000000 >&2", "exit 1")
    with pytest.raises(CorruptAudioError, match=r"^ffmpeg: broken again$"):
        decode(text)


def test_crash_of_ffmpeg_is_a_corrupt_file(fake_ffmpeg, text: Path) -> None:
    fake_ffmpeg("kill -SEGV $$")
    with pytest.raises(CorruptAudioError, match="ffmpeg crashed with signal 11"):
        decode(text)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("SEGV", CorruptAudioError, "the decoder crashed with signal 11"),
        ("KILL", DecodeMemoryError, "the system killed the decoder"),
        ("XCPU", DecodeTimeoutError, "processor time"),
    ],
)
def test_death_of_the_program_itself(
    fake_ffmpeg, text: Path, name: str, error: type[ClipError], message: str
) -> None:
    fake_ffmpeg(f"kill -{name} $PPID", "sleep 5")
    with pytest.raises(error, match=message):
        decode(text)


def test_full_disk_is_not_the_files_fault(fake_ffmpeg, text: Path) -> None:
    fake_ffmpeg("echo 'av_interleaved_write_frame(): No space left on device' >&2", "exit 228")
    with pytest.raises(RuntimeError, match="OSError: the disk of the temporary files is full"):
        decode(text)


def test_broken_installation_is_not_the_files_fault(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_process, "_CHILD", "singsong.audio.no_such_module")
    with pytest.raises(RuntimeError, match="No module named"):
        decode(text)


def test_ffmpeg_that_writes_nothing_means_an_empty_file(fake_ffmpeg, text: Path) -> None:
    fake_ffmpeg("exit 0")
    with pytest.raises(EmptyFileError, match="no samples"):
        decode(text)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of little more than a megabyte that decodes to 586 MiB."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.mka"
    silence = "anullsrc=channel_layout=7.1:sample_rate=192000"
    files.run_ffmpeg("-f", "lavfi", "-i", silence, "-t", "200", "-c:a", "flac", os.fspath(path))
    assert path.stat().st_size < 2 << 20
    return path


def test_small_file_that_decodes_to_very_much_is_stopped(bomb: Path) -> None:
    with pytest.raises(DecodeMemoryError, match="writes more audio"):
        decode(bomb, DecodeLimits(memory_bytes=512 << 20))


def test_audio_that_fits_the_disk_but_not_the_memory_is_refused(bomb: Path) -> None:
    with pytest.raises(DecodeMemoryError, match="too large to hold"):
        decode(bomb, DecodeLimits(memory_bytes=700 << 20))


def test_file_larger_than_the_memory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"no audio")
    os.truncate(path, 600 << 20)
    with pytest.raises(DecodeMemoryError, match="the file alone"):
        decode(path, DecodeLimits(memory_bytes=512 << 20))


@pytest.mark.parametrize("suffix", ["m3u8", "mp3"])
@pytest.mark.parametrize("write", [files.write_hostile_playlist, files.write_hostile_script])
def test_playlist_opens_no_other_file_and_no_connection(tmp_path: Path, write, suffix: str) -> None:
    secret = files.write_wav(tmp_path / "secret.wav", files.music(0.5))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        for target in (os.fspath(secret), f"file://{secret}", "secret.wav", address):
            with pytest.raises(NotAudioError):
                decode(write(tmp_path / f"list.{suffix}", target))
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("returncode", "stderr", "error"),
    [
        (0, [], None),
        (0, ["[out#0/wav @ 0x5] Nothing was written into output file, because"], None),
        (0, ["[ogg @ 0x5] CRC mismatch!"], CorruptAudioError("ffmpeg: CRC mismatch!")),
        (1, [], CorruptAudioError("ffmpeg failed to decode the file")),
        (
            183,
            ["[aac @ 0x5] [dec:a @ 0x6] in /tmp/x/tmpq1: a \x1b[31mhole.", "Conversion failed!"],
            CorruptAudioError("ffmpeg: in the file a ?[31mhole"),
        ),
        (183, ["[in#0 @ 0x5] Error opening input: Invalid data"], NotAudioError("no decoder")),
        (234, ["[in#0 @ 0x5] Format not on whitelist 'a,b'"], NotAudioError("of a kind")),
        (234, ["[out#0 @ 0x5] Output file does not contain any stream"], NotAudioError("stream")),
        (244, ["Error opening decoder: Cannot allocate memory"], DecodeMemoryError("memory")),
        (245, ["pthread_create() failed: Resource"], DecodeMemoryError("memory")),
        (-signal.SIGXFSZ, [], DecodeMemoryError("more audio")),
        (-signal.SIGXCPU, [], DecodeTimeoutError("processor time")),
        (-signal.SIGABRT, [], CorruptAudioError("ffmpeg crashed with signal 6")),
    ],
)
def test_what_ffmpeg_says_becomes_a_reason(
    returncode: int, stderr: list[str], error: ClipError | None
) -> None:
    found = failure_of(returncode, stderr, folder="/tmp/x")
    assert type(found) is type(error)
    assert str(error or "") in str(found or "")


def test_knowledge_of_another_decoder_tells_damage_from_no_audio() -> None:
    unopened = ["Error opening input: Invalid data found when processing input"]
    found = failure_of(183, unopened, folder="/tmp/x", complaint="libsndfile: no data chunk")
    assert isinstance(found, CorruptAudioError)
    assert str(found) == "libsndfile: no data chunk"


def test_program_imports_nothing_heavy() -> None:
    code = (
        "import sys, singsong.audio.decode_child, pydub; "
        "print({'numpy', 'scipy', 'torch', 'soundfile', 'soxr'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, stdout=subprocess.PIPE
    )
    assert done.stdout == b"set()\n"


def test_program_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a.m4a", files.music(0.5))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "singsong.py").write_text("raise ImportError('the wrong one')\n")
    assert decode(path) == 22050
