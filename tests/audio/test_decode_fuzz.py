"""Whatever bytes come, the decoder yields audio or raises a `ClipError`, and soon.

`make fuzz` gives it 10,000 files and prints the table of docs/reference/decoding.md.
"""

import contextlib
import os
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from singsong.audio.decode import DecodeLimits, stream_mono
from singsong.schemas.errors import ClipError
from tests.support import audio_files as files

LIMITS = DecodeLimits(timeout_s=20)
BOUND_S = 40
BOUND_MIB = 700
MAX_FILES_AT_ONCE = 2
INTERESTING = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x80")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small file of each of twelve formats."""
    folder = tmp_path_factory.mktemp("seeds")
    audio = files.music(0.15)
    for name, (container, subtype) in {
        "wav": ("WAV", "PCM_16"),
        "flac": ("FLAC", "PCM_16"),
        "ogg": ("OGG", "VORBIS"),
        "mp3": ("MP3", "MPEG_LAYER_III"),
        "aiff": ("AIFF", "PCM_16"),
        "caf": ("CAF", "ALAC_16"),
    }.items():
        files.write_audio(folder / name, audio, container=container, subtype=subtype)
    files.write_audio(folder / "opus", audio, 48000, container="OGG", subtype="OPUS")
    for name, options in {
        "m4a": ("-f", "ipod", "-movflags", "+faststart"),
        "webm": ("-f", "webm"),
        "wma": ("-f", "asf", "-c:a", "wmav2"),
        "aac": ("-f", "adts"),
        "wavpack": ("-f", "wv"),
    }.items():
        files.write_with_ffmpeg(folder / name, audio, *options)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def mutate(seeds: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """Returns mutation `number`, the same on every machine that encodes the seeds alike."""
    rng = random.Random(number)
    name = rng.choice(sorted(seeds))
    data = bytearray(seeds[name])
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8, 30])):
        if not data:
            break
        # Headers are short and matter most.
        at = rng.randrange(min(len(data), 160) if rng.random() < 0.4 else len(data))
        match rng.randrange(7):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                data[at : at + 4] = rng.choice(INTERESTING)
            case 3:
                del data[at : at + rng.randrange(1, 2000)]
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 500))
            case 5:
                other = seeds[rng.choice(sorted(seeds))]
                start = rng.randrange(len(other))
                data[at : at + 300] = other[start : start + 300]
            case 6:
                del data[max(at, 1 if rng.random() < 0.9 else 0) :]
    return name, bytes(data)


def decode(path: Path) -> str:
    samples = 0
    try:
        for block in stream_mono(os.fspath(path), rate_hz=16000, limits=LIMITS):
            assert block.dtype == np.float32
            assert block.ndim == 1
            assert block.size
            samples += block.size
    except ClipError as error:
        return check_message(error)
    assert samples
    return "decoded"


def check_message(error: ClipError) -> str:
    assert "\n" not in str(error)
    assert str(error)
    assert tempfile.gettempdir() not in str(error)
    return "crash" if "crashed with signal" in str(error) else error.reason


class PeakMemory:
    """The most memory that this process has gained and its decoders used together, in MiB."""

    def __enter__(self) -> "PeakMemory":
        self.mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        start = psutil.Process().memory_info().rss
        while not self._ended.wait(0.05):
            used = sum(_resident(process) for process in _with_children())
            self.mib = max(self.mib, (used - start) / 2**20)


def _with_children() -> Iterator[psutil.Process]:
    own = psutil.Process()
    yield own
    for child in own.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline() != own.cmdline():  # else it still shares the memory of this one
                yield child


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def print_table(tallies: dict[str, Counter[str]], peak_mib: float) -> None:
    print("\n| format | files | decoded | refused | crashes | hangs |\n|---|---|---|---|---|---|")
    tallies = {**tallies, "all": sum(tallies.values(), Counter())}
    for name, tally in tallies.items():
        refused = Counter(tally)
        decoded, crashes, hangs = (refused.pop(key, 0) for key in ("decoded", "crash", "hang"))
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
        print(f"| {name} | {tally.total()} | {decoded} | {reasons} | {crashes} | {hangs} |")
    print(f"\nPeak memory of {MAX_FILES_AT_ONCE} decoders at once: {peak_mib:.0f} MiB")


@pytest.mark.slow
def test_mutated_files(
    seeds: dict[str, bytes], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    def try_number(number: int) -> tuple[str, str]:
        name, data = mutate(seeds, number)
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        start = time.monotonic()
        try:
            outcome = decode(path)
        except BaseException as error:
            raise AssertionError(f"mutation {number} of {name}") from error
        hangs = time.monotonic() - start > BOUND_S or outcome == "decode_timeout"
        path.unlink()
        return name, "hang" if hangs else outcome

    count = pytestconfig.getoption("--fuzz-files")
    with PeakMemory() as peak, ThreadPoolExecutor(MAX_FILES_AT_ONCE) as pool:
        outcomes = list(pool.map(try_number, range(count)))
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in sorted(outcomes):
        tallies[name][outcome] += 1
    print_table(tallies, peak.mib)
    total = sum(tallies.values(), Counter())
    assert total.total() == count
    assert total["crash"] == total["hang"] == 0, "mutations " + str(
        [number for number, (_, outcome) in enumerate(outcomes) if outcome in ("crash", "hang")]
    )
    assert peak.mib < BOUND_MIB
    if count >= 300:
        assert {"decoded", "corrupt", "not_audio"} <= set(total)
