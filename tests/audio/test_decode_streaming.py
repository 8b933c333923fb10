"""Long files take little memory and start at once, and nothing is printed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from singsong.audio.decode import stream_mono
from tests.support import audio_files as files

MEASURE = """
import sys
from singsong.audio.decode import stream_mono
import psutil
samples = peak_kib = 0
for number, block in enumerate(stream_mono(sys.argv[1], rate_hz=44100)):
    samples += len(block)
    if number % 50 == 0:
        # Not ru_maxrss, which a process inherits from the one that started it.
        used = [psutil.Process(), *psutil.Process().children(recursive=True)]
        peak_kib = max(peak_kib, sum(process.memory_info().rss for process in used) >> 10)
print(samples, peak_kib)
"""


def measure(path: Path) -> tuple[int, int]:
    """Returns how many samples a file has, and the peak memory of decoding it in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path],
        check=True,
        stdout=subprocess.PIPE,
    )
    samples, peak_kib = map(int, done.stdout.split())
    return samples, peak_kib


@pytest.mark.slow
def test_hours_of_m4a_are_streamed(tmp_path: Path) -> None:
    part = files.write_with_ffmpeg(tmp_path / "part.m4a", files.music(60.0), "-b:a", "64k")
    (tmp_path / "list").write_text(f"file '{part}'\n" * 120)
    path = tmp_path / "long.m4a"
    listed = ("-f", "concat", "-safe", "0", "-i", os.fspath(tmp_path / "list"))
    files.run_ffmpeg(*listed, "-c", "copy", os.fspath(path))
    start = time.monotonic()
    blocks = stream_mono(os.fspath(path), rate_hz=44100)
    next(blocks)
    assert time.monotonic() - start < 2
    blocks.close()  # type: ignore[attr-defined]
    samples, peak_kib = measure(path)
    assert abs(samples / 44100 - 2 * 3600) < 5
    assert peak_kib < 1 << 20


@pytest.mark.slow
def test_two_hours_of_flac_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    block = np.tile(np.array([[0.25, -0.25], [0.0, 0.0]], np.float32), (24000 * 60, 1))
    with sf.SoundFile(path, "w", 48000, 2, "PCM_16", format="FLAC") as file:
        for _ in range(120):
            file.write(block)
    samples, peak_kib = measure(path)
    assert samples == 2 * 3600 * 44100
    assert peak_kib < 1 << 20


def test_warnings_of_decoders_never_reach_the_terminal(tmp_path: Path) -> None:
    song = files.write_audio(tmp_path / "a.mp3", files.music(1.0), container="MP3")
    data = bytearray(song.read_bytes())
    data[700:1600:2] = bytes(450)
    for at in range(3000, len(data), 1100):
        data[at] ^= 0x55
    song.write_bytes(data)
    code = (
        "import sys, soundfile; from singsong.audio.decode import stream_mono\n"
        "try: soundfile.read(sys.argv[1]) if len(sys.argv) > 2 else "
        "list(stream_mono(sys.argv[1], rate_hz=44100))\n"
        "except Exception as error: print(error)"
    )
    run = [sys.executable, "-c", code, os.fspath(song)]
    plain = subprocess.run([*run, "plain"], check=True, capture_output=True)
    assert b"mpg123" in plain.stderr  # otherwise this file shows nothing
    assert subprocess.run(run, check=True, capture_output=True).stderr == b""
