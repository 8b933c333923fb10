"""What ffmpeg prints becomes a choice of a stream and a verdict."""

import pytest

from singsong.audio.decode_ffmpeg_log import (
    ProbedFile,
    failure_to_open,
    judge,
    last_complaint,
    probed_file,
)
from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    NotAudioError,
)

PROBED = ProbedFile(container="mov,mp4", streams=(), stated_s=22.0)
HEAD = [
    "[info] Input #0, matroska,webm, from 'fd:':",
    "[info]   Duration: 01:02:03.50, start: 0.000000, bitrate: 64 kb/s",
]


def statistics(errors: int) -> str:
    return (
        "[in#0/mov @ 0x55] [verbose]   Input stream #0:0 (audio): 949 packets read (352332 bytes);"
        f" 948 frames decoded; {errors} decode errors (970200 samples); "
    )


def stream(number: int, text: str) -> str:
    return f"[info]   Stream #0:{number}[0x1](und): Audio: {text}"


@pytest.mark.parametrize(
    ("streams", "chosen"),
    [
        (["aac (LC) (mp4a / 0x6134706D), 44100 Hz, stereo, fltp, 127 kb/s"], 0),
        (["ac3, 48000 Hz, 5.1(side), fltp, 448 kb/s", "aac, 48000 Hz, stereo, fltp (default)"], 1),
        (["aac, 44100 Hz, mono, fltp", "aac, 44100 Hz, stereo, fltp"], 0),
        (
            [
                "none (enca / 0x61636E65), 44100 Hz, 2 channels (default)",
                "flac, 8000 Hz, mono, s16",
            ],
            1,
        ),
        (["pcm_s16le ([1][0][0][0] / 0x0001), 44100 Hz, 0 channels, s16"], None),
        (["none"], None),
    ],
)
def test_first_default_stream_is_chosen_or_else_the_first(
    streams: list[str], chosen: int | None
) -> None:
    video = "[info]   Stream #0:9: Video: mjpeg, yuvj420p, 64x64 (attached pic) (default)"
    probed = probed_file([*HEAD, video, *(stream(n, text) for n, text in enumerate(streams))])
    assert probed is not None
    assert (probed.container, probed.stated_s) == ("matroska,webm", 3723.5)
    found = probed.chosen()
    assert (found.index if found else None) == chosen


def test_estimated_length_is_not_stated() -> None:
    line = "[in#0/aac @ 0x5] [warning] Estimating duration from bitrate, this may be inaccurate"
    probed = probed_file([*HEAD, line])
    assert probed is not None
    assert probed.stated_s is None
    assert probed_file(HEAD[1:]) is None


@pytest.mark.parametrize(
    ("lines", "known", "error"),
    [
        (["[mov @ 0x5] [error] moov atom not found"], None, CorruptAudioError("ffmpeg: moov atom")),
        (["[in#0 @ 0x5] [error] Error opening input: Invalid"], None, NotAudioError("no decoder")),
        (
            ["[in#0 @ 0x5] [error] Error opening input: Invalid"],
            "a WAV file",
            CorruptAudioError("a WAV"),
        ),
        (["[in#0 @ 0x5] [error] Format not on whitelist 'a,b'"], None, NotAudioError("of a kind")),
        (["[mov @ 0x5] [error] Cannot allocate memory"], None, DecodeMemoryError("memory")),
        (["[aac @ 0x5] [error] a \x1b[31mhole."], None, CorruptAudioError("ffmpeg: a ?[31mhole")),
    ],
)
def test_file_that_cannot_be_opened(lines: list[str], known: str | None, error: ClipError) -> None:
    found = failure_to_open(lines, known=known)
    assert type(found) is type(error)
    assert str(error) in str(found)


@pytest.mark.parametrize(
    ("lines", "error", "cut"),
    [
        ([statistics(0), "out_time_us=22000000"], None, False),
        # noise about something else
        (
            ["[png @ 0x5] [error] Invalid PNG signature", statistics(0), "out_time_us=22000000"],
            None,
            False,
        ),
        # a gap between the time stamps, and no complaint: a pause of the recorder
        ([statistics(0), "out_time_us=29000000"], None, False),
        # the last packet
        (["[aac @ 0x5] [error] no end", statistics(1), "out_time_us=22000000"], None, True),
        # a packet in the middle
        (
            ["[aac @ 0x5] [error] no end", statistics(1), "out_time_us=22023220"],
            "ffmpeg: no end",
            False,
        ),
        (
            [
                "[in#0/mov @ 0x5] [warning] Packet corrupt (stream = 0, dts = 5).",
                statistics(0),
                "out_time_us=23000000",
            ],
            "ffmpeg cannot decode a part",
            False,
        ),
        (["[aist#0:0 @ 0x5] [warning] corrupt decoded frame"] * 2, "ffmpeg cannot decode", False),
        (["[x @ 0x5] [error] Cannot allocate memory"], "more memory", False),
        (["[in#0/wv @ 0x5] [error] File ended prematurely"], None, True),
    ],
)
def test_verdict(lines: list[str], error: str | None, cut: bool) -> None:
    verdict = judge(lines, done_s=22.0, probed=PROBED, size_bytes=400_000)
    assert (error or "None") in str(verdict.error)
    assert (verdict.error is None) == (error is None)
    if error is None:
        assert verdict.cut == cut


@pytest.mark.parametrize(("demuxed", "refused"), [(999_000, False), (500_000, True)])
def test_demuxer_that_gives_up_early(demuxed: int, refused: bool) -> None:
    lines = [
        "[in#0/wv @ 0x5] [error] Error during demuxing: Invalid data found",
        f"[in#0/wv @ 0x5] [verbose]   Total: 118 packets ({demuxed} bytes) demuxed",
    ]
    verdict = judge(lines, done_s=22.0, probed=PROBED, size_bytes=1_000_000)
    assert (verdict.error is not None) == refused


def test_length_that_the_header_states_and_the_file_does_not_hold() -> None:
    assert judge([], done_s=11.0, probed=PROBED, size_bytes=9).cut


def test_nothing_decoded_and_a_complaint_is_corrupt() -> None:
    verdict = judge(["[aac @ 0x5] [error] bad"], done_s=0.0, probed=PROBED, size_bytes=9)
    assert str(verdict.error) == "ffmpeg: bad"


def test_uninformative_complaints_are_passed_over() -> None:
    lines = [
        "[aac @ 0x5] [error] broken again",
        "[aist#0:0/aac @ 0x5] [dec:aac @ 0x5] [error] Error submitting packet to decoder: Invalid",
        "[fatal] Conversion failed!",
        "[info] not an error",
    ]
    assert last_complaint(lines) == "broken again"
