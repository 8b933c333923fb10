"""Windows over a long song: where they start, what overlaps, and how they are joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from singsong.schemas.arrays import TokenArray
from singsong.schemas.geometry import clip_samples
from singsong.training.featurization import Featurization
from singsong.training.provenance import Provenance
from singsong.training.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class WindowLayout:
    """The frames of a window of the instrumental, and how far apart windows start.

    Attributes:
        semantic_frames: Semantic codes in a window; 0 where the model writes none.
        semantic_hop: Semantic codes from the start of a window to the start of the next.
        coarse_frames: Acoustic frames in a window.
        coarse_hop: Acoustic frames from the start of a window to the start of the next.
        semantic_padded: Semantic codes at the end of a window that stand partly for the silence
            with which a training clip is filled up: 1 where it is not a whole number of frames.
        coarse_padded: The same of the acoustic frames.

    Raises:
        ValueError: A hop is longer than its window, or not positive.

    Paper: 6: windows of 10 s, 5 s apart.
    """

    semantic_frames: int
    semantic_hop: int
    coarse_frames: int
    coarse_hop: int
    semantic_padded: int = 0
    coarse_padded: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.coarse_hop <= self.coarse_frames):
            raise ValueError(
                f"coarse_hop must be in [1, {self.coarse_frames}], found {self.coarse_hop}"
            )
        if not (0 < self.semantic_hop <= self.semantic_frames) and (
            self.semantic_hop or self.semantic_frames
        ):
            raise ValueError(
                f"semantic_hop must be in [1, {self.semantic_frames}], found {self.semantic_hop}"
            )

    @classmethod
    def overlapping(
        cls,
        *,
        semantic_frames: int,
        coarse_frames: int,
        hop_fraction: float = 0.5,
        semantic_padded: int = 0,
        coarse_padded: int = 0,
    ) -> WindowLayout:
        """Returns the layout whose windows start a fraction of their length apart.

        The hop is rounded down, by up to a tenth, to whole frames of both kinds of codes. Where
        no such hop exists, the hop of the semantic codes, which only prompt the next window, is up
        to half a frame off.

        Raises:
            ValueError: The fraction is not in (0, 1], or less than a frame.

        >>> WindowLayout.overlapping(semantic_frames=250, coarse_frames=500).coarse_hop
        250
        >>> WindowLayout.overlapping(semantic_frames=125, coarse_frames=250).coarse_hop
        124
        >>> layout = WindowLayout.overlapping(semantic_frames=63, coarse_frames=125)
        >>> layout.coarse_hop, layout.semantic_hop
        (62, 31)
        """
        wanted = int(coarse_frames * hop_fraction)
        period = coarse_frames // math.gcd(semantic_frames, coarse_frames)
        whole = wanted // period * period
        coarse_hop = whole if 10 * whole >= 9 * wanted else wanted
        return cls(
            semantic_frames=semantic_frames,
            semantic_hop=round(semantic_frames * coarse_hop / coarse_frames),
            coarse_frames=coarse_frames,
            coarse_hop=coarse_hop,
            semantic_padded=semantic_padded,
            coarse_padded=coarse_padded,
        )

    @property
    def semantic_kept(self) -> int:
        """Semantic codes that a window takes from the one before."""
        return max(0, self.semantic_frames - self.semantic_padded - self.semantic_hop)

    @property
    def coarse_kept(self) -> int:
        """Acoustic frames that a window takes from the one before: all that overlap.

        Padded frames are drawn anew, or a gap of silence would be kept at the end of each window.
        """
        return max(0, self.coarse_frames - self.coarse_padded - self.coarse_hop)

    def ranges(self, vocabulary: Vocabulary) -> TokenArray:
        """Returns which tokens each position of a window may hold, int64 [positions, 2]."""
        return vocabulary.ranges(
            semantic_frames=self.semantic_frames, coarse_frames=self.coarse_frames
        )

    def frames(self, windows: int) -> int:
        """Returns the number of coarse frames that a number of windows covers."""
        return self.coarse_frames + (windows - 1) * self.coarse_hop

    def free_tokens(self, windows: int, *, codebooks: int) -> int:
        """Returns the number of tokens of some windows that are drawn, not forced."""
        semantic = windows * self.semantic_frames - (windows - 1) * self.semantic_kept
        coarse = windows * self.coarse_frames - (windows - 1) * self.coarse_kept
        return semantic + coarse * codebooks


def window_layout(provenance: Provenance[Featurization], hop_fraction: float = 0.5) -> WindowLayout:
    """Returns the frames of a window of the instrumental, as long as a training clip.

    Raises:
        ValueError: As `WindowLayout.overlapping`.
    """
    frames, padded = {}, {}
    for kind, shape in vars(provenance.geometry).items():
        samples = clip_samples(provenance.clip_seconds, shape.sample_rate_hz)
        frames[kind] = shape.frames(samples)
        padded[kind] = int(samples % shape.hop_samples > 0)
    writes_semantic = "S" in provenance.view.target_kinds
    return WindowLayout.overlapping(
        semantic_frames=frames["semantic"] if writes_semantic else 0,
        coarse_frames=frames["acoustic"],
        hop_fraction=hop_fraction,
        semantic_padded=padded["semantic"] if writes_semantic else 0,
        coarse_padded=padded["acoustic"],
    )


@dataclass(frozen=True, kw_only=True)
class InstrumentalCodes:
    """What the accompaniment model wrote.

    Attributes:
        semantic: int64 [batch, frames]; no frames where the model writes none.
        coarse: int64 [batch, frames, coarse codebooks].
    """

    semantic: TokenArray
    coarse: TokenArray


def window_starts(length: int, *, window: int, hop: int) -> list[int]:
    """Returns the starts of windows that cover a length; the last may extend past its end.

    Args:
        length: In any unit, such as samples.
        window: Length of a window in that unit.
        hop: Distance of two starts.

    Raises:
        ValueError: A length is not positive, or the hop longer than the window.

    Paper: 6: 30 s are five windows of 10 s.

    >>> window_starts(30, window=10, hop=5), window_starts(8, window=10, hop=5)
    ([0, 5, 10, 15, 20], [0])
    """
    if length < 1 or not 0 < hop <= window:
        raise ValueError(
            f"windows need a positive length and a hop of at most a window, "
            f"found length {length}, window {window}, hop {hop}"
        )
    more = -(-max(length - window, 0) // hop)
    return [index * hop for index in range(more + 1)]


def force_overlap(
    forced: torch.Tensor, before: torch.Tensor, *, layout: WindowLayout, codebooks: int
) -> None:
    """Copies the end of a window to the start of the next: a semantic run and a coarse run.

    Args:
        forced: int64 [batch, positions], written to.
        before: int64 [batch, positions] of the window before.
        layout: Frames in a window and in a hop.
        codebooks: Number of coarse codebooks.

    Paper: 6, with the target of 3.3: positions 0 to 124 and 250 to 1249.
    """
    kept, hop = layout.semantic_kept, layout.semantic_hop
    forced[:, :kept] = before[:, hop : hop + kept]
    first = layout.semantic_frames
    kept, hop = layout.coarse_kept * codebooks, layout.coarse_hop * codebooks
    forced[:, first : first + kept] = before[:, first + hop : first + hop + kept]


def join_windows(
    windows: Sequence[TokenArray], *, vocabulary: Vocabulary, layout: WindowLayout
) -> InstrumentalCodes:
    """Returns the codes of the first window, followed by what is new in each of the others.

    Args:
        windows: One int64 [batch, positions] a window.
        vocabulary: Of the tokens.
        layout: Frames in a window and in a hop.

    Raises:
        ValueError: A token is outside the range of its position.
    """
    split = layout.semantic_frames
    semantic = [vocabulary.semantic_codes(tokens[:, :split]) for tokens in windows]
    coarse = [vocabulary.coarse_codes(tokens[:, split:]) for tokens in windows]
    return InstrumentalCodes(
        semantic=_joined(semantic, hop=layout.semantic_hop, kept=layout.semantic_kept),
        coarse=_joined(coarse, hop=layout.coarse_hop, kept=layout.coarse_kept),
    )


def _joined(windows: Sequence[TokenArray], *, hop: int, kept: int) -> TokenArray:
    """Returns what each window has before the next one goes on, and all of the last."""
    starts = [0, *[kept] * (len(windows) - 1)]
    ends = [*[hop + kept] * (len(windows) - 1), None]
    pieces = [codes[:, start:end] for codes, start, end in zip(windows, starts, ends, strict=True)]
    return np.concatenate(pieces, 1)
