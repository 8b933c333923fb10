"""Finds data that was stored as if it were sound: DTS or AC-3 inside PCM samples.

A DTS CD that was ripped to WAV or FLAC plays as loud noise. ffmpeg decodes it where the WAV begins
with it; in other files it is found here, in the decoded samples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.schemas.errors import BitstreamError

_SEARCHED_S = 60.0
_HITS = 4
_MIN_WORDS = 32
# The first three words of a frame, 16 bits each, in both byte orders: value and mask.
_WHOLE = 0xFFFF
_SYNCS = {
    "AC-3 or DTS (IEC 61937)": (
        ((0xF872, _WHOLE), (0x4E1F, _WHOLE), (0, 0)),
        ((0x72F8, _WHOLE), (0x1F4E, _WHOLE), (0, 0)),
    ),
    "DTS": (
        ((0x7FFE, _WHOLE), (0x8001, _WHOLE), (0xFC00, 0xFC00)),
        ((0xFE7F, _WHOLE), (0x0180, _WHOLE), (0x00FC, 0x00FC)),
        ((0x1FFF, _WHOLE), (0xE800, _WHOLE), (0x07F0, 0xFFF0)),
        ((0xFF1F, _WHOLE), (0x00E8, _WHOLE), (0xF007, 0xF0FF)),
    ),
}
_AC3_SYNCS = (0x0B77, 0x770B)
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


class BitstreamCheck:
    """Looks at the first minute of sound of a lossless file, a second at a time.

    Args:
        rate_hz: Its sample rate.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._left = round(_SEARCHED_S * rate_hz)
        self._waiting: list[npt.NDArray[np.float32]] = []

    def look(self, frames: npt.NDArray[np.float32]) -> None:
        """Takes the next block.

        Args:
            frames: float32 [frames, channels].

        Raises:
            BitstreamError: The samples are no sound.
        """
        if self._left <= 0 or not (self._waiting or frames.any()):
            return
        self._waiting.append(frames)
        if sum(map(len, self._waiting)) >= self._rate_hz:
            self.finish()

    def finish(self) -> None:
        """Looks at what is left. Raises as `look`."""
        if not self._waiting:
            return
        second = np.concatenate(self._waiting)
        self._left -= len(second)
        self._waiting = []
        values = second.reshape(-1) * np.float32(32768)
        with np.errstate(invalid="ignore"):
            words = values.astype(np.int16)
        if np.array_equal(words, values):  # otherwise nobody stored words of 16 bits
            self._search(words.view(np.uint16))

    def _search(self, words: npt.NDArray[np.uint16]) -> None:
        for name, syncs in _SYNCS.items():
            if any(_is_regular(_find(words, sync)) for sync in syncs):
                raise BitstreamError(f"the samples are a bitstream of {name}, not sound")
        if _holds_ac3(words):
            raise BitstreamError("the samples are a bitstream of AC-3, not sound")


def _find(words: npt.NDArray[np.uint16], sync: tuple[tuple[int, int], ...]) -> npt.NDArray[np.intp]:
    at = np.flatnonzero(words[:-2] == sync[0][0])
    for shift, (value, mask) in enumerate(sync):
        at = at[words[at + shift] & mask == value]
    return at


def _is_regular(at: npt.NDArray[np.intp]) -> bool:
    """Returns whether frames begin at regular distances, as those of a coder do."""
    distances = np.diff(at)
    return bool(
        distances.size and np.bincount(distances[distances >= _MIN_WORDS]).max(initial=0) >= _HITS
    )


def _holds_ac3(words: npt.NDArray[np.uint16]) -> bool:
    """Returns whether AC-3 frames follow each other, each as long as the one before says."""
    for sync in _AC3_SYNCS:
        at = set(np.flatnonzero(words[:-3] == sync).tolist())
        if len(at) < _HITS:
            continue
        ordered = words if sync == _AC3_SYNCS[0] else words.byteswap()
        for start in at:
            run, offset = 1, start
            while run < _HITS:
                length = ac3_frame_words(int(ordered[offset + 2]) >> 8)
                if not length or offset + length not in at:
                    break
                offset, run = offset + length, run + 1
            if run == _HITS:
                return True
    return False


def ac3_frame_words(code: int) -> int:
    """Returns the length of an AC-3 frame in 16-bit words, or 0 if the code has no meaning.

    Args:
        code: The fifth byte of the frame: sample rate and frame size.

    >>> ac3_frame_words(0x1E), ac3_frame_words(0xFF)
    (896, 0)
    """
    rate, size = code >> 6, code & 63
    if rate == 3 or size >> 1 >= len(_AC3_KBPS):
        return 0
    kbps = _AC3_KBPS[size >> 1]
    return (kbps * 2, kbps * 320 // 147 + (size & 1), kbps * 3)[rate]
