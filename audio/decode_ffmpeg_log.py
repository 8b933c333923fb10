"""What ffmpeg prints about a file: its audio streams, and whether all of the audio was decoded.

ffmpeg complains about anything: covers, chapters, tags, junk between frames. So no complaint by
itself makes a file corrupt. The final statistics and the time stamps tell whether a part of the
audio is missing before its end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    NotAudioError,
)

_PREFIX = re.compile(r"^(\[[^]]*\] *)+")
_INPUT = re.compile(r"^\[info\] Input #0, ([^ ]*), from")
_STREAM = re.compile(
    r"^\[info\]\s+Stream #0:\d+(?:\[0x[0-9a-f]+\])?(?:\([^)]*\))*: "
    r"Audio: (?P<codec>\w+)(?P<rest>.*)$"
)
_RATE_AND_LAYOUT = re.compile(r", (\d+) Hz, ([^,]+)")
_DECODED = re.compile(r" (\d+) frames decoded; (\d+) decode errors")
_OUT_TIME = re.compile(r"^out_time_us=(\d+)$")
_DURATION = re.compile(r"^\[info\]\s+Duration: (\d+):(\d+):(\d+\.\d+)")
_ESTIMATED = "Estimating duration from bitrate"
_COMPLAINT = re.compile(r"\[(error|fatal|panic)\]")
_CUT = re.compile(r"File ended prematurely|partial file")
_DEMUXER = re.compile(r"^\[in#0[^]]*\] \[(error|fatal)\]|^\[in#0[^]]*\] \[warning\] Packet corrupt")
_GAVE_UP = re.compile(r"^\[in#0[^]]*\] \[error\] Error during demuxing")
_TOTAL_BYTES = re.compile(
    r"^\[in#0[^]]*\] \[verbose\]\s+Total: \d+ packets \((\d+) bytes\) demuxed"
)
_CONCEALED = "corrupt decoded frame"
_UNINFORMATIVE = re.compile(
    r"Error opening (in|out)put|Error (submitting|processing) packet|Task finished|Terminating "
    r"thread|Conversion failed|Last message repeated|Nothing was written|Error muxing|"
    r"Failed to find two consecutive MPEG|Not detecting m3u8|At least one output file|"
    r"Decoding error"
)
_OUT_OF_MEMORY = re.compile(r"Cannot allocate memory|pthread_create\(\) failed")
_NOT_WHITELISTED = re.compile(r"Format not on whitelist")
_MAX_MESSAGE = 200
# WMA begins with packets that give no samples.
_LATE_START_S = {"asf": 0.1}
_HOLE_S = 0.004
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class AudioStream:
    """An audio stream of a file.

    Attributes:
        index: Its number among the audio streams.
        codec: ffmpeg's name of it; "none" if ffmpeg knows none.
        rate_hz: Samples per second; 0 if unknown.
        layout: ffmpeg's name of its channels, such as "stereo"; empty if unknown.
        is_default: Whether the file marks it as the one to play.
    """

    index: int
    codec: str
    rate_hz: int
    layout: str
    is_default: bool


@dataclass(frozen=True, kw_only=True)
class ProbedFile:
    """What ffmpeg found in a file.

    Attributes:
        container: ffmpeg's name of its format.
        streams: Its audio streams.
        stated_s: The length that its headers state, in seconds; None if they state none.
    """

    container: str
    streams: tuple[AudioStream, ...]
    stated_s: float | None

    def chosen(self) -> AudioStream | None:
        """Returns the stream to decode: the first that is marked default, or else the first.

        Streams that ffmpeg has no decoder for, or without channels, are left out.
        """
        usable = [s for s in self.streams if s.codec != "none" and s.rate_hz and s.layout]
        return next((s for s in usable if s.is_default), usable[0] if usable else None)


def probed_file(lines: Sequence[str]) -> ProbedFile | None:
    """Returns what ffmpeg says of a file that it opened, or None if it could not open it.

    Args:
        lines: Its standard error, with levels, of an invocation without an output.
    """
    container = next((found[1] for line in lines if (found := _INPUT.match(line))), None)
    if container is None:
        return None
    named = filter(None, map(_STREAM.match, lines))
    streams = [_stream(index, match) for index, match in enumerate(named)]
    duration = next((match for line in lines if (match := _DURATION.match(line))), None)
    estimated = any(_ESTIMATED in line for line in lines)
    stated_s = None
    if duration is not None and not estimated:
        stated_s = int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3])
    return ProbedFile(container=container, streams=tuple(streams), stated_s=stated_s)


def _stream(index: int, match: re.Match[str]) -> AudioStream:
    found = _RATE_AND_LAYOUT.search(match["rest"])
    layout = found[2] if found is not None else ""
    return AudioStream(
        index=index,
        codec=match["codec"],
        rate_hz=int(found[1]) if found is not None else 0,
        layout="" if layout.startswith("0 channels") else layout,
        is_default="(default)" in match["rest"],
    )


def failure_to_open(lines: Sequence[str], *, known: str | None) -> ClipError:
    """Returns the error of a file that ffmpeg could not open.

    Args:
        lines: Its standard error.
        known: The format that the first bytes name, or None: it tells damage from other content.

    >>> failure_to_open(["[mov @ 0x5] [error] moov atom not found"], known=None)
    CorruptAudioError('ffmpeg: moov atom not found')
    """
    text = "\n".join(lines)
    if _OUT_OF_MEMORY.search(text):
        return DecodeMemoryError("ffmpeg needs more memory than it may have")
    if _NOT_WHITELISTED.search(text):
        return NotAudioError("the content is of a kind that holds no audio")
    last = last_complaint(lines)
    if last is not None:
        return CorruptAudioError(f"ffmpeg: {last}")
    if known is not None:
        return CorruptAudioError(f"the file begins like {known}, and ffmpeg cannot open it")
    return NotAudioError("no decoder recognises the content as audio")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a whole run of ffmpeg amounts to.

    Attributes:
        error: Why the audio cannot be used, or None.
        cut: Whether the file ends before its audio does.
    """

    error: ClipError | None
    cut: bool


def judge(lines: Sequence[str], *, done_s: float, probed: ProbedFile, size_bytes: int) -> Verdict:
    """Returns whether ffmpeg decoded all of the audio that there is.

    Audio is missing before the end if the time stamps of the output go further than its samples,
    and the decoder or the demuxer complained; gaps between time stamps alone occur in sound files,
    such as recordings of calls. A demuxer that gives up far from the end of the file counts too.

    Args:
        lines: Its standard error, with levels up to "verbose" and with progress.
        done_s: The length that was decoded, in seconds.
        probed: The file.
        size_bytes: The size of the file.
    """
    text = "\n".join(lines)
    if _OUT_OF_MEMORY.search(text):
        memory = DecodeMemoryError("ffmpeg needs more memory than it may have")
        return Verdict(error=memory, cut=False)
    statistics = _DECODED.findall(text)
    errors = int(statistics[-1][1]) if statistics else 0
    concealed = sum(_CONCEALED in line for line in lines)
    complaints = errors + concealed + sum(bool(_DEMUXER.match(line)) for line in lines)
    ends = [int(match[1]) for line in lines if (match := _OUT_TIME.match(line))]
    hole_s = (ends[-1] / 1e6 if ends else done_s) - done_s - _LATE_START_S.get(probed.container, 0)
    last = last_complaint(lines)
    why = f"ffmpeg: {last}" if last is not None else "ffmpeg cannot decode a part of the audio"
    cut = bool(errors or _CUT.search(text)) or (probed.stated_s or 0) > done_s + 1
    if complaints and hole_s > _HOLE_S:
        return Verdict(error=CorruptAudioError(why), cut=cut)
    if concealed > 1 or (_gave_up(lines) and not _reached_end(text, size_bytes)):
        return Verdict(error=CorruptAudioError(why), cut=cut)
    if not done_s and (complaints or last is not None):
        return Verdict(error=CorruptAudioError(why), cut=cut)
    return Verdict(error=None, cut=cut)


def _gave_up(lines: Sequence[str]) -> bool:
    return any(_GAVE_UP.match(line) for line in lines)


def _reached_end(text: str, size_bytes: int) -> bool:
    found = re.search(_TOTAL_BYTES.pattern, text, re.MULTILINE)
    return found is not None and int(found[1]) >= 0.98 * size_bytes - _TAIL_BYTES


def last_complaint(lines: Sequence[str]) -> str | None:
    """Returns the last error that says something, without the names of ffmpeg's parts.

    >>> last_complaint(["[mov @ 0x5] [error] moov atom not found", "[info] Input #0"])
    'moov atom not found'
    """
    for line in reversed(lines):
        text = _PREFIX.sub("", line.strip())
        if _COMPLAINT.search(line) and text and not _UNINFORMATIVE.match(text):
            printable = "".join(c if c.isprintable() else "?" for c in text)
            return printable[:_MAX_MESSAGE].rstrip(" .")
    return None
