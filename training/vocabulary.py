"""Tokens: what the models read and write, and which tokens each position may hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.schemas.arrays import IntArray, TokenArray
from singsong.schemas.records import Geometry

PAD = 0
SOS = 1
_FIRST_CODE = 2


@dataclass(frozen=True, kw_only=True)
class TokenBlock:
    """Neighbouring codebooks, each with its own range of tokens.

    Attributes:
        first: The token of code 0 of the first codebook.
        codebooks: Number of codebooks.
        codebook_size: Number of different codes in each of them.

    Raises:
        ValueError: There is no codebook, or a codebook has no code.
    """

    first: int
    codebooks: int
    codebook_size: int

    def __post_init__(self) -> None:
        if self.codebooks < 1 or self.codebook_size < 1:
            raise ValueError(
                f"a block of tokens needs codebooks with codes, "
                f"found {self.codebooks} codebooks of {self.codebook_size}"
            )

    @property
    def end(self) -> int:
        """The token after the last one."""
        return self.first + self.codebooks * self.codebook_size

    @property
    def offsets(self) -> TokenArray:
        """The token of code 0 of each codebook, int64 [codebooks]."""
        return self.first + self.codebook_size * np.arange(self.codebooks, dtype=np.int64)

    def tokens(self, codes: IntArray, dtype: npt.DTypeLike = np.int64) -> IntArray:
        """Returns the tokens of codes, frame by frame.

        Args:
            codes: Integers [..., frames, codebooks] below `codebook_size`.
            dtype: A type that holds every token.

        Returns:
            `dtype` [..., frames * codebooks]: t0q0, t0q1, ..., t1q0, ...

        Raises:
            ValueError: The codes have another number of codebooks.

        Paper: 3.2, the order of the flattened codes.

        >>> block = TokenBlock(first=6, codebooks=2, codebook_size=8)
        >>> block.tokens(np.array([[0, 7], [1, 0]])).tolist()
        [6, 21, 7, 14]
        """
        if codes.shape[-1] != self.codebooks:
            raise ValueError(f"codes must have {self.codebooks} codebooks, found {codes.shape[-1]}")
        frames = codes.shape[-2]
        tokens = codes.astype(dtype).reshape(*codes.shape[:-2], frames * self.codebooks)
        tokens += np.tile(self.offsets.astype(dtype), frames)
        return tokens

    def codes(self, tokens: IntArray) -> TokenArray:
        """Returns the codes of tokens: the inverse of `tokens`.

        Args:
            tokens: Integers [..., frames * codebooks].

        Returns:
            int64 [..., frames, codebooks].

        Raises:
            ValueError: A token is outside its codebook, or the last frame is incomplete.
        """
        frames, rest = divmod(tokens.shape[-1], self.codebooks)
        if rest:
            raise ValueError(
                f"tokens come in frames of {self.codebooks}, found {tokens.shape[-1]} tokens"
            )
        framed = tokens.reshape(*tokens.shape[:-1], frames, self.codebooks)
        codes: TokenArray = framed.astype(np.int64) - self.offsets
        if codes.size and (codes.min() < 0 or codes.max() >= self.codebook_size):
            raise ValueError(
                f"each token must lie in the range of its codebook, "
                f"found codes {codes.min()} to {codes.max()} of {self.codebook_size}"
            )
        return codes

    def ranges(self, frames: int) -> TokenArray:
        """Returns which tokens each position may hold.

        Returns:
            int64 [frames * codebooks, 2]: the first token and the one after the last.
        """
        first = np.tile(self.offsets, frames)
        return np.stack([first, first + self.codebook_size], -1)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The tokens of the accompaniment model: semantic codes and coarse acoustic codes.

    Attributes:
        semantic_size: Number of different semantic codes.
        coarse_codebooks: Number of coarse codebooks.
        codebook_size: Number of different codes in each of them.

    Raises:
        ValueError: A field is not positive.

    Paper: 4.4: 1024 semantic + 4 x 1024 coarse + start of sequence + padding = 5122, shared by
        input and target.
    Default: 0 pads, 1 starts, then semantic, then the codebooks in their order.

    >>> Vocabulary(semantic_size=1024, coarse_codebooks=4, codebook_size=1024).size
    5122
    """

    semantic_size: int
    coarse_codebooks: int
    codebook_size: int

    def __post_init__(self) -> None:
        _check_positive(self)

    @classmethod
    def from_geometry(cls, geometry: Geometry) -> Vocabulary:
        """Returns the vocabulary of a dataset."""
        return cls(
            semantic_size=geometry.semantic.codebook_size,
            coarse_codebooks=geometry.acoustic.coarse_codebooks,
            codebook_size=geometry.acoustic.codebook_size,
        )

    @property
    def semantic(self) -> TokenBlock:
        """The semantic tokens."""
        return TokenBlock(first=_FIRST_CODE, codebooks=1, codebook_size=self.semantic_size)

    @property
    def coarse(self) -> TokenBlock:
        """The coarse tokens."""
        return TokenBlock(
            first=self.semantic.end,
            codebooks=self.coarse_codebooks,
            codebook_size=self.codebook_size,
        )

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return self.coarse.end

    def semantic_tokens(self, codes: IntArray) -> IntArray:
        """Returns int64 [..., frames] for semantic codes [..., frames]."""
        return self.semantic.tokens(codes[..., None])

    def semantic_codes(self, tokens: IntArray) -> TokenArray:
        """Returns the codes of semantic tokens, int64 [..., frames].

        Raises:
            ValueError: A token is not a semantic one.
        """
        return self.semantic.codes(tokens)[..., 0]

    def coarse_tokens(self, codes: IntArray) -> IntArray:
        """Returns the tokens of the coarse codebooks, frame by frame.

        Args:
            codes: Integers [..., frames, codebooks]; the first `coarse_codebooks` are taken.

        Returns:
            int64 [..., frames * coarse_codebooks].

        Raises:
            ValueError: There are fewer codebooks.
        """
        return self.coarse.tokens(codes[..., : self.coarse_codebooks])

    def coarse_codes(self, tokens: IntArray) -> TokenArray:
        """Returns the codes of coarse tokens, int64 [..., frames, codebooks].

        Raises:
            ValueError: A token is outside its codebook, or the last frame is incomplete.
        """
        return self.coarse.codes(tokens)

    def ranges(self, *, semantic_frames: int, coarse_frames: int) -> TokenArray:
        """Returns which tokens each position of a sequence may hold.

        Args:
            semantic_frames: How many semantic tokens come first.
            coarse_frames: How many frames of coarse tokens follow.

        Returns:
            int64 [positions, 2]: the first token of the range, and the one after the last.

        Paper: 3.3: sampling masks out every token outside the range of its position.

        >>> vocabulary = Vocabulary(semantic_size=4, coarse_codebooks=2, codebook_size=8)
        >>> vocabulary.ranges(semantic_frames=1, coarse_frames=1).tolist()
        [[2, 6], [6, 14], [14, 22]]
        """
        return np.concatenate(
            [self.semantic.ranges(semantic_frames), self.coarse.ranges(coarse_frames)]
        )


@dataclass(frozen=True, kw_only=True)
class FineVocabulary:
    """The tokens of the fine model: all codebooks of the codec, coarse ones first.

    Attributes:
        codebooks: Number of codebooks.
        coarse_codebooks: How many of them, from the first, are given.
        codebook_size: Number of different codes in each of them.

    Raises:
        ValueError: A field is not positive, or no codebook is fine.

    Paper: 3.3: fine codes given coarse codes.
    Default: the fine model has its own vocabulary; 0 pads, 1 starts, then the codebooks in
        their order. A sequence holds all coarse tokens, then all fine tokens (AudioLM).

    >>> FineVocabulary(codebooks=12, coarse_codebooks=4, codebook_size=1024).size
    12290
    """

    codebooks: int
    coarse_codebooks: int
    codebook_size: int

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.coarse_codebooks >= self.codebooks:
            raise ValueError(
                f"the fine model needs fine codebooks, "
                f"found {self.coarse_codebooks} coarse of {self.codebooks}: "
                "it needs a dataset of a codec with more codebooks, or with a smaller `coarse`"
            )

    @classmethod
    def from_geometry(cls, geometry: Geometry) -> FineVocabulary:
        """Returns the fine model's vocabulary of a dataset.

        Raises:
            ValueError: The codec has no fine codebooks.
        """
        return cls(
            codebooks=geometry.acoustic.codebooks,
            coarse_codebooks=geometry.acoustic.coarse_codebooks,
            codebook_size=geometry.acoustic.codebook_size,
        )

    @property
    def coarse(self) -> TokenBlock:
        """The coarse tokens."""
        return TokenBlock(
            first=_FIRST_CODE, codebooks=self.coarse_codebooks, codebook_size=self.codebook_size
        )

    @property
    def fine(self) -> TokenBlock:
        """The fine tokens."""
        return TokenBlock(
            first=self.coarse.end,
            codebooks=self.codebooks - self.coarse_codebooks,
            codebook_size=self.codebook_size,
        )

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return self.fine.end

    def ranges(self, frames: int) -> TokenArray:
        """Returns which tokens each position of `frames` frames may hold, int64 [positions, 2]."""
        return np.concatenate([self.coarse.ranges(frames), self.fine.ranges(frames)])


def _check_positive(vocabulary: Vocabulary | FineVocabulary) -> None:
    for name, value in vars(vocabulary).items():
        if value < 1:
            raise ValueError(f"{name} must be positive, found {value}")
