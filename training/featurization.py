"""Views of a record: which codes a model reads and which it writes, chosen when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from singsong.dataset.handle import Dataset
from singsong.dataset.shard_reader import Rows
from singsong.schemas.arrays import TokenArray
from singsong.schemas.geometry import clip_samples
from singsong.schemas.records import RecordField
from singsong.schemas.seeds import generator
from singsong.training.vocabulary import FineVocabulary, Vocabulary

FEATURIZATIONS = ("SA-SA", "S-SA", "A-SA", "SA-A", "A-A")

Features = dict[str, npt.NDArray[np.integer]]


class Featurizer(Protocol):
    """Turns records of one dataset into what a model is trained on."""

    @property
    def fields(self) -> tuple[RecordField, ...]:
        """The fields that are read."""
        ...

    @property
    def lengths(self) -> Mapping[str, int]:
        """How many tokens each feature of a record has."""
        ...

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The small type that the tokens are kept in."""
        ...

    def features(self, rows: Rows, *, epoch: int) -> Features:
        """Returns each feature of the records, `dtype` [rows, tokens]."""
        ...


class View(Protocol):
    """Names what is read; fits any dataset."""

    def of(self, dataset: Dataset) -> Featurizer:
        """Returns the featurizer of a dataset."""
        ...


@dataclass(frozen=True, kw_only=True)
class Featurization:
    """What the accompaniment model reads of the vocals, and writes of the instrumental.

    Attributes:
        name: One of `FEATURIZATIONS`: input, dash, target; S is semantic, A acoustic (coarse).
        noisy: Whether the vocals are the noisy ones; the instrumental never is.

    Raises:
        ValueError: The name is unknown.

    Paper: 4.5; noisy S-SA is the best one.

    >>> Featurization(name="SA-A").input_kinds, Featurization(name="SA-A").target_kinds
    ('SA', 'A')
    """

    name: str = "S-SA"
    noisy: bool = True

    def __post_init__(self) -> None:
        if self.name not in FEATURIZATIONS:
            raise ValueError(f"featurization must be one of {FEATURIZATIONS}, found {self.name!r}")

    @property
    def input_kinds(self) -> str:
        """Which codes of the vocals are read."""
        return self.name.split("-")[0]

    @property
    def target_kinds(self) -> str:
        """Which codes of the instrumental are written."""
        return self.name.split("-")[1]

    def of(self, dataset: Dataset) -> PairFeaturizer:
        """Returns the featurizer of a dataset.

        Raises:
            ValueError: The dataset has no vocals.
        """
        fields = {field.name: field for field in dataset.fields}
        vocabulary = Vocabulary.from_geometry(dataset.geometry)
        vocals = "vocals_noisy" if self.noisy else "vocals"
        return PairFeaturizer(
            input_tokens=_sequence(vocals, self.input_kinds, vocabulary, fields),
            target_tokens=_sequence("instrumental", self.target_kinds, vocabulary, fields),
        )


@dataclass(frozen=True, kw_only=True)
class TokenSequence:
    """The tokens of one sound: semantic ones, then coarse ones; or only one of them.

    Attributes:
        vocabulary: Of the dataset.
        semantic: The field of semantic codes, or None without them.
        acoustic: The field of acoustic codes, or None without them.
    """

    vocabulary: Vocabulary
    semantic: RecordField | None
    acoustic: RecordField | None

    @property
    def fields(self) -> tuple[RecordField, ...]:
        """The fields that are read."""
        return tuple(field for field in (self.semantic, self.acoustic) if field is not None)

    @property
    def semantic_length(self) -> int:
        """How many semantic tokens come first."""
        return self.semantic.shape[0] if self.semantic else 0

    @property
    def coarse_length(self) -> int:
        """How many coarse tokens follow."""
        frames = self.acoustic.shape[0] if self.acoustic else 0
        return frames * self.vocabulary.coarse_codebooks

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.semantic_length + self.coarse_length

    @property
    def ranges(self) -> TokenArray:
        """Which tokens each position may hold, int64 [length, 2]; see `Vocabulary.ranges`."""
        return self.vocabulary.ranges(
            semantic_frames=self.semantic_length,
            coarse_frames=self.coarse_length // self.vocabulary.coarse_codebooks,
        )

    def tokens(self, rows: Rows, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[np.integer]:
        """Returns the tokens of records.

        Args:
            rows: By field name: semantic codes [rows, frames], acoustic codes [rows, frames,
                codebooks], of which the coarse ones are taken.
            dtype: A type that holds every token.

        Returns:
            `dtype` [rows, length].
        """
        parts = []
        if self.semantic:
            codes = rows[self.semantic.name][..., None]
            parts.append(self.vocabulary.semantic.tokens(codes, dtype))
        if self.acoustic:
            codes = rows[self.acoustic.name][..., : self.vocabulary.coarse_codebooks]
            parts.append(self.vocabulary.coarse.tokens(codes, dtype))
        return np.concatenate(parts, axis=-1)


@dataclass(frozen=True, kw_only=True)
class PairFeaturizer:
    """Gives `input_tokens` and `target_tokens`.

    Attributes:
        input_tokens: The sequence that the encoder reads.
        target_tokens: The sequence that the decoder writes.
    """

    input_tokens: TokenSequence
    target_tokens: TokenSequence

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of both."""
        return self.target_tokens.vocabulary

    @property
    def fields(self) -> tuple[RecordField, ...]:
        """The fields that are read."""
        return (*self.input_tokens.fields, *self.target_tokens.fields)

    @property
    def lengths(self) -> Mapping[str, int]:
        """How many tokens each feature of a record has."""
        return {
            "input_tokens": self.input_tokens.length,
            "target_tokens": self.target_tokens.length,
        }

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The small type that the tokens are kept in."""
        return _small_dtype(self.vocabulary.size)

    def features(self, rows: Rows, *, epoch: int) -> Features:
        """Returns `input_tokens` and `target_tokens`; the same in every epoch."""
        del epoch
        return {
            "input_tokens": self.input_tokens.tokens(rows, self.dtype),
            "target_tokens": self.target_tokens.tokens(rows, self.dtype),
        }


@dataclass(frozen=True, kw_only=True)
class FineCrops:
    """What the fine model is trained on: a random crop of each clip, another in each epoch.

    Attributes:
        seconds: Length of a crop.
        seed: The user's seed.
        source: The sound.

    Raises:
        ValueError: The length is not positive.

    Paper: 3.3. Default: AudioLM's crops of 3 s.
    """

    seconds: float = 3.0
    seed: int = 0
    source: str = "instrumental"

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds of a crop must be positive, found {self.seconds}")

    def of(self, dataset: Dataset) -> FineFeaturizer:
        """Returns the featurizer of a dataset.

        Raises:
            ValueError: The dataset lacks the sound, a crop is longer than a clip, or the codec has
                no fine codebooks.
        """
        fields = {field.name: field for field in dataset.fields}
        acoustic = dataset.geometry.acoustic
        field = _field(f"{self.source}_acoustic", fields)
        frames = acoustic.frames(clip_samples(self.seconds, acoustic.sample_rate_hz))
        if frames > field.shape[0]:
            raise ValueError(
                f"a crop of {self.seconds} s has {frames} frames, a clip has {field.shape[0]}"
            )
        return FineFeaturizer(
            vocabulary=FineVocabulary.from_geometry(dataset.geometry),
            acoustic=field,
            clip_id=_field("clip_id", fields),
            frames=frames,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class FineFeaturizer:
    """Gives `tokens`: the coarse tokens of a crop, then its fine tokens.

    Attributes:
        vocabulary: Of the fine model.
        acoustic: The field of acoustic codes.
        clip_id: The field that keys the crop.
        frames: Frames in a crop.
        seed: The user's seed.
    """

    vocabulary: FineVocabulary
    acoustic: RecordField
    clip_id: RecordField
    frames: int
    seed: int

    @property
    def fields(self) -> tuple[RecordField, ...]:
        """The fields that are read."""
        return (self.clip_id, self.acoustic)

    @property
    def coarse_length(self) -> int:
        """How many tokens are coarse; the fine ones follow."""
        return self.frames * self.vocabulary.coarse_codebooks

    @property
    def lengths(self) -> Mapping[str, int]:
        """How many tokens each feature of a record has."""
        return {"tokens": self.frames * self.vocabulary.codebooks}

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The small type that the tokens are kept in."""
        return _small_dtype(self.vocabulary.size)

    @property
    def ranges(self) -> TokenArray:
        """Which tokens each position may hold, int64 [tokens, 2]."""
        return self.vocabulary.ranges(self.frames)

    def features(self, rows: Rows, *, epoch: int) -> Features:
        """Returns `tokens` of the crop that seed, epoch and clip id choose."""
        starts = np.array([self.crop_start(clip, epoch) for clip in rows["clip_id"]], np.int64)
        crop = starts[:, None] + np.arange(self.frames)
        codes = rows[self.acoustic.name][np.arange(len(starts))[:, None], crop]
        coarse, fine = np.split(codes, [self.vocabulary.coarse_codebooks], axis=-1)
        parts = [
            self.vocabulary.coarse.tokens(coarse, self.dtype),
            self.vocabulary.fine.tokens(fine, self.dtype),
        ]
        return {"tokens": np.concatenate(parts, axis=-1)}

    def crop_start(self, clip_id: str, epoch: int) -> int:
        """Returns the first frame of the crop of a clip."""
        keyed = generator(seed=self.seed, purpose=f"crop in epoch {epoch}", key=clip_id)
        return int(keyed.bit_generator.random_raw()) % (self.acoustic.shape[0] - self.frames + 1)


def _sequence(
    source: str, kinds: str, vocabulary: Vocabulary, fields: Mapping[str, RecordField]
) -> TokenSequence:
    return TokenSequence(
        vocabulary=vocabulary,
        semantic=_field(f"{source}_semantic", fields) if "S" in kinds else None,
        acoustic=_field(f"{source}_acoustic", fields) if "A" in kinds else None,
    )


def _field(name: str, fields: Mapping[str, RecordField]) -> RecordField:
    if name not in fields:
        raise ValueError(f"the dataset has no {name}; its fields are {', '.join(fields)}")
    return fields[name]


def _small_dtype(size: int) -> np.dtype[np.integer]:
    return np.dtype(np.uint16 if size <= np.iinfo(np.uint16).max else np.int32)
