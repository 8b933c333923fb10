"""How far the results of two devices agree."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from singsong.schemas.arrays import CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first code of a frame that differs.

    Attributes:
        clip: Index of the clip.
        frame: Index of the frame.
        codebook: Index of the codebook.
        expected: The code of the reference.
        found: The other code.
    """

    clip: int
    frame: int
    codebook: int
    expected: int
    found: int


@dataclass(frozen=True, kw_only=True)
class CodeAgreement:
    """Shares that are equal, from 0 to 1.

    Attributes:
        first: Of the codes of the first codebook.
        coarse: Of the codes of the coarse codebooks.
        all: Of all codes.
        frames: Of the frames, all codebooks.
        clips: Of the clips, all frames.
        differences: One for each frame that differs, in order of clip and frame.
    """

    first: float
    coarse: float
    all: float
    frames: float
    clips: float
    differences: tuple[Difference, ...]

    def by_codebook(self) -> dict[int, int]:
        """Returns how many frames begin to differ in each codebook, counted from 1."""
        return dict(sorted(Counter(one.codebook + 1 for one in self.differences).items()))


def compare_codes(expected: CodeArray, found: CodeArray, *, coarse: int = 1) -> CodeAgreement:
    """Returns how far codes agree.

    Args:
        expected: The reference, [clips, frames] or [clips, frames, codebooks].
        found: Codes of that shape.
        coarse: Number of coarse codebooks.

    Raises:
        ValueError: The shapes differ.
    """
    if expected.shape != found.shape:
        raise ValueError(f"codes must be {list(expected.shape)}, found {list(found.shape)}")
    if expected.ndim == 2:
        expected, found = expected[..., None], found[..., None]
    equal = expected == found
    frames = equal.all(axis=2)
    differences = []
    for clip, frame in zip(*np.nonzero(~frames), strict=True):
        codebook = int(np.argmin(equal[clip, frame]))
        differences.append(
            Difference(
                clip=int(clip),
                frame=int(frame),
                codebook=codebook,
                expected=int(expected[clip, frame, codebook]),
                found=int(found[clip, frame, codebook]),
            )
        )
    return CodeAgreement(
        first=float(equal[..., 0].mean()),
        coarse=float(equal[..., :coarse].mean()),
        all=float(equal.mean()),
        frames=float(frames.mean()),
        clips=float(frames.all(axis=1).mean()),
        differences=tuple(differences),
    )


def compare_audio(expected: FloatArray, found: FloatArray) -> tuple[float, float]:
    """Returns the largest absolute difference, and the level of the reference above it in dB.

    Raises:
        ValueError: The shapes differ.

    >>> compare_audio(np.array([1.0, -1.0]), np.array([1.0, -0.9]))
    (0.09999999999999998, 23.010299956639813)
    """
    if expected.shape != found.shape:
        raise ValueError(f"audio must be {list(expected.shape)}, found {list(found.shape)}")
    difference = expected.astype(np.float64) - found
    noise, signal = np.square(difference).sum(), np.square(expected, dtype=np.float64).sum()
    largest = float(np.abs(difference).max())
    if not noise:
        return largest, math.inf
    return largest, float(10 * np.log10(signal / noise)) if signal else -math.inf


def percent(share: float) -> str:
    """Returns a share in per cent, rounded down: only equal codes are "100 %".

    >>> percent(1.0), percent(0.9999999), percent(0.5)
    ('100 %', '99.9999 %', '50.0000 %')
    """
    return "100 %" if share == 1 else f"{math.floor(share * 1e6) / 1e4:.4f} %"
