"""Cuts a stream of audio blocks into clips of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from singsong.schemas.arrays import FloatArray

VERSION = 1
"""Version of this step's arithmetic, part of the name of every part: raised when results change."""


class ClipCutter:
    """Cuts blocks into non-overlapping clips and counts the samples left over.

    Attributes:
        clip_samples: Samples per clip.
        tail_samples: Samples after the last whole clip, valid once `cut` is exhausted.
        total_samples: Samples read so far.

    Raises:
        ValueError: clip_samples is not positive.

    Paper: 4.1: non-overlapping clips. Default: the partial last clip is dropped and counted.

    >>> cutter = ClipCutter(clip_samples=4)
    >>> [len(clip) for clip in cutter.cut([np.zeros(3, np.float32), np.zeros(6, np.float32)])]
    [4, 4]
    >>> cutter.tail_samples
    1
    """

    def __init__(self, *, clip_samples: int) -> None:
        if clip_samples <= 0:
            raise ValueError(f"clip_samples must be positive, found {clip_samples}")
        self.clip_samples = clip_samples
        self.tail_samples = 0
        self.total_samples = 0

    def cut(self, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Yields clips, float32 [clip_samples], of consecutive blocks, float32 [samples].

        Blocks that are [samples, channels] give clips that are [clip_samples, channels].
        """
        held: list[FloatArray] = []
        held_samples = 0
        for block in blocks:
            self.total_samples += len(block)
            held.append(block)
            held_samples += len(block)
            if held_samples < self.clip_samples:
                continue
            audio = np.concatenate(held)
            whole = held_samples // self.clip_samples * self.clip_samples
            for start in range(0, whole, self.clip_samples):
                yield audio[start : start + self.clip_samples]
            held, held_samples = [audio[whole:]], held_samples - whole
        self.tail_samples = held_samples
