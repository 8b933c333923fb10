"""The decoding processes: they are bounded, leave nothing behind and open nothing else."""

import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from singsong.audio import decode_child, decode_libsndfile, decode_process
from singsong.audio.decode import DEFAULT_LIMITS, DecodeLimits, stream_mono
from singsong.audio.decode_process import DecoderProcess
from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    DecodeTimeoutError,
    NotAudioError,
)
from tests.support import audio_files as files


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Wants no file in the temporary folder, and the process table as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(folder))
    monkeypatch.setenv("TMPDIR", os.fspath(folder))
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


def run(
    path: Path, *lines: str, limits: DecodeLimits = DEFAULT_LIMITS
) -> tuple[bytes, int, list[str]]:
    """Runs a shell script as a decoder; returns its output, exit status and messages."""
    with open(path, "rb", buffering=0) as file:
        command = ["/bin/sh", "-c", "\n".join(lines)]
        with DecoderProcess(command, fd=file.fileno(), limits=limits, name="sh") as process:
            data = process.read(1 << 30)
            return data, *process.finish()


def test_output_and_messages_are_kept_apart(text: Path) -> None:
    data, status, lines = run(text, "wc -c", "echo one >&2", "printf two >&2", "exit 3")
    assert (int(data), status, lines) == (text.stat().st_size, 3, ["one", "two"])


def test_flood_of_messages_keeps_the_first_and_the_last(text: Path) -> None:
    flood = ["echo first >&2", "yes middle | head -c 3000000 >&2", "echo >&2; echo last >&2"]
    _, _, lines = run(text, *flood)
    assert (lines[0], lines[-1]) == ("first", "last")
    assert len(lines) < 1000


@pytest.mark.parametrize("trap", ["", "trap '' TERM"], ids=["polite", "stubborn"])
def test_hanging_ffmpeg_is_killed_in_time(fake_ffmpeg, text: Path, trap: str):
    fake_ffmpeg(trap, "while :; do sleep 0.1; done")
    start = time.monotonic()
    with pytest.raises(DecodeTimeoutError, match=re.escape("ffmpeg took more than 1 s")):
        decode(text, DecodeLimits(timeout_s=1))
    assert time.monotonic() - start < 10  # the fixture sees that nothing is left


def test_process_that_closed_its_output_and_lives_on_is_killed(text: Path) -> None:
    with pytest.raises(DecodeTimeoutError):
        run(text, "exec >&- 2>&-", "sleep 60", limits=DecodeLimits(timeout_s=0.5))


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


def test_each_hour_of_audio_has_its_time(text: Path) -> None:
    limits = DecodeLimits(timeout_s=1)
    with open(text, "rb", buffering=0) as file:
        command = ["/bin/sh", "-c", "sleep 1.5; echo done"]
        with DecoderProcess(command, fd=file.fileno(), limits=limits, name="sh") as process:
            process.allow(0.5)
            process.allow(5.0)
            assert process.read(10) == b"done\n"


@pytest.mark.parametrize("container", ["m4a", "mp3"])
def test_caller_may_stop_early(tmp_path: Path, container: str) -> None:
    path = files.write_with_ffmpeg(tmp_path / f"a.{container}", files.music(30.0))
    processes = children()
    blocks = stream_mono(os.fspath(path), rate_hz=44100, block_frames=1000)
    assert len(next(blocks)) <= 1000
    assert len(children()) > len(processes)
    blocks.close()  # type: ignore[attr-defined]  # the fixture sees that nothing is left


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("SEGV", CorruptAudioError, "sh crashed with signal 11"),
        ("KILL", DecodeMemoryError, "the system killed sh"),
        ("XCPU", DecodeTimeoutError, "processor time"),
    ],
)
def test_death_of_a_decoder(text: Path, name: str, error: type[ClipError], message: str) -> None:
    with pytest.raises(error, match=message):
        run(text, "echo samples", f"kill -{name} $$")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process from outside")
def test_processes_are_limited(text: Path) -> None:
    limits = DecodeLimits(memory_bytes=600 << 20, timeout_s=100, max_track_hours=2)
    data, _, _ = run(text, "sleep 0.3; ulimit -v; ulimit -t; ulimit -f; ulimit -c", limits=limits)
    assert data.split() == [b"614400", b"201", b"0", b"0"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process from outside")
def test_decoder_that_wants_too_much_memory_ends(text: Path) -> None:
    hog = f"sleep 0.3; exec {sys.executable} -I -S -c 'bytearray(700 << 20)'"
    _, status, lines = run(text, hog, limits=DecodeLimits(memory_bytes=512 << 20))
    assert status == 1
    assert lines[-1] == "MemoryError"


def test_memory_that_ffmpeg_lacks_is_named(fake_ffmpeg, text: Path) -> None:
    fake_ffmpeg("echo '[mov @ 0x5] [error] Cannot allocate memory' >&2", "exit 244")
    with pytest.raises(DecodeMemoryError, match="ffmpeg needs more memory"):
        decode(text)


def test_broken_installation_is_not_the_files_fault(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_process, "ffmpeg_path", lambda: "/no/such/ffmpeg")
    with pytest.raises(FileNotFoundError, match="no/such/ffmpeg"):
        decode(text)
    song = files.write_audio(tmp_path / "a.mp3", files.music(0.3), container="MP3")
    monkeypatch.setattr(decode_child, "__file__", "/no/such/program.py")
    with pytest.raises(RuntimeError, match=r"status 2: .*No such file"):
        decode(song)
    monkeypatch.undo()
    monkeypatch.setattr(decode_libsndfile, "_library", lambda: "/no/such/library.so")
    with pytest.raises(RuntimeError, match=r"status 1: OSError: /no/such/library\.so"):
        decode(song)


@pytest.mark.slow
def test_large_file_is_read_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"no audio")
    os.truncate(path, 600 << 20)
    with pytest.raises(NotAudioError):
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


@pytest.mark.parametrize("container", ["m4a", "mp3"])
def test_nothing_is_run_from_the_temporary_folder(
    tmp_path: Path, temporary_folder: Path, container: str
) -> None:
    path = files.write_with_ffmpeg(tmp_path / f"a.{container}", files.music(0.5))
    temporary_folder.chmod(0o500)  # nor written to, if this is not root
    assert decode(path) == 22050


@pytest.mark.parametrize("container", ["m4a", "mp3"])
def test_programs_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    path = files.write_with_ffmpeg(tmp_path / f"a.{container}", files.music(0.5))
    monkeypatch.chdir(tmp_path)
    for name in ("singsong.py", "json.py", "ctypes.py"):
        (tmp_path / name).write_text("raise ImportError('the wrong one')\n")
    assert decode(path) == 22050


def read_slowly(path: Path) -> None:
    for _ in stream_mono(os.fspath(path), rate_hz=44100, block_frames=1000):
        time.sleep(0.01)


def test_interrupted_reader_leaves_no_process(tmp_path: Path) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a.m4a", files.music(20.0))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            read_slowly(path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
