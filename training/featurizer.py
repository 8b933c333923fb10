"""Turns records into tokens: a view, bound to the fields and the vocabulary of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.dataset.handle import Dataset
from singsong.dataset.shard_reader import Rows
from singsong.schemas.arrays import TokenArray
from singsong.schemas.records import Geometry, RecordField
from singsong.schemas.seeds import generator
from singsong.training.featurization import Featurization, FineCrops, View
from singsong.training.vocabulary import FineVocabulary, TokenBlock, Vocabulary

Features = dict[str, npt.NDArray[np.integer]]


@dataclass(frozen=True, kw_only=True)
class TokenPart:
    """The tokens of neighbouring codebooks of one field.

    Attributes:
        field: The field of codes.
        block: The tokens that its codes become.
        frames: Frames of a record.
        first_codebook: Which codebook of the field is the first of the block.
    """

    field: RecordField
    block: TokenBlock
    frames: int
    first_codebook: int = 0

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.frames * self.block.codebooks

    def tokens(self, rows: Rows, dtype: npt.DTypeLike) -> npt.NDArray[np.integer]:
        """Returns the tokens of records, `dtype` [rows, length]."""
        codes = rows[self.field.name]
        if len(self.field.shape) == 1:  # semantic codes have one codebook and no axis for it
            codes = codes[..., None]
        end = self.first_codebook + self.block.codebooks
        return self.block.tokens(codes[..., self.first_codebook : end], dtype)


@dataclass(frozen=True, kw_only=True)
class TokenSequence:
    """The tokens of one or two parts, one after the other.

    Attributes:
        parts: In their order: semantic codes come before coarse ones.
    """

    parts: tuple[TokenPart, ...]

    @property
    def length(self) -> int:
        """Number of tokens."""
        return sum(part.length for part in self.parts)

    @property
    def ranges(self) -> TokenArray:
        """Which tokens each position may hold, int64 [length, 2]; see `Vocabulary.ranges`."""
        return np.concatenate([part.block.ranges(part.frames) for part in self.parts])

    def tokens(self, rows: Rows, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[np.integer]:
        """Returns the tokens of records.

        Args:
            rows: By field name: semantic codes [rows, frames], acoustic codes [rows, frames,
                codebooks].
            dtype: A type that holds every token.

        Returns:
            `dtype` [rows, length].
        """
        return np.concatenate([part.tokens(rows, dtype) for part in self.parts], axis=-1)


@dataclass(frozen=True, kw_only=True)
class RandomCrops:
    """Crops of a field of codes, a different one in each epoch.

    Attributes:
        field: The field, [frames, codebooks].
        frames: Frames in a crop.
        clip_id: The field that keys the crop.
        seed: The user's seed.
    """

    field: RecordField
    frames: int
    clip_id: RecordField
    seed: int

    def crop(self, rows: Rows, *, epoch: int) -> Rows:
        """Returns the field of records, [rows, frames, codebooks], cropped."""
        clips = rows[self.clip_id.name]
        starts = np.array([self.crop_start(clip, epoch) for clip in clips], np.int64)
        crop = starts[:, None] + np.arange(self.frames)
        return {self.field.name: rows[self.field.name][np.arange(len(starts))[:, None], crop]}

    def crop_start(self, clip_id: str, epoch: int) -> int:
        """Returns the first frame of the crop of a clip."""
        keyed = generator(seed=self.seed, purpose=f"crop in epoch {epoch}", key=clip_id)
        return int(keyed.bit_generator.random_raw()) % (self.field.shape[0] - self.frames + 1)


@dataclass(frozen=True, kw_only=True)
class Featurizer:
    """Gives `input_tokens` and `target_tokens` of the records of a dataset.

    Attributes:
        input_tokens: The tokens that are given: those of the vocals, or the coarse ones of a crop.
        target_tokens: The tokens to predict: those of the instrumental, or the fine ones.
        vocabulary: The vocabulary of both.
        first_scored: Target tokens from this one on count for the likelihood that is reported.
        crops: Which part of a record is taken; None takes all of it.
    """

    input_tokens: TokenSequence
    target_tokens: TokenSequence
    vocabulary: Vocabulary | FineVocabulary
    first_scored: int
    crops: RandomCrops | None = None

    @property
    def fields(self) -> tuple[RecordField, ...]:
        """The fields that are read."""
        parts = (*self.input_tokens.parts, *self.target_tokens.parts)
        fields = [self.crops.clip_id] if self.crops else []
        fields += [part.field for part in parts]
        return tuple({field.name: field for field in fields}.values())

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
        small = self.vocabulary.size <= np.iinfo(np.uint16).max
        return np.dtype(np.uint16 if small else np.int32)

    def features(self, rows: Rows, *, epoch: int) -> Features:
        """Returns each feature of the records, `dtype` [rows, tokens].

        Args:
            rows: The `fields` of records.
            epoch: Which epoch; it decides which crop is taken.
        """
        if self.crops is not None:
            rows = self.crops.crop(rows, epoch=epoch)
        return {
            "input_tokens": self.input_tokens.tokens(rows, self.dtype),
            "target_tokens": self.target_tokens.tokens(rows, self.dtype),
        }


def featurizer_of(view: View, dataset: Dataset, *, seed: int = 0) -> Featurizer:
    """Returns what turns records of a dataset into the tokens of a view.

    Args:
        view: What the model reads and writes.
        dataset: What it is read from.
        seed: The user's seed, which keys the crops of the fine model.

    Raises:
        ValueError: The dataset lacks a field, a crop is longer than a clip, or the codec has no
            fine codebooks.
    """
    fields = {field.name: field for field in dataset.fields}
    geometry = dataset.geometry
    if isinstance(view, FineCrops):
        return _fine(view, geometry, fields, seed=seed)
    return _accompaniment(view, geometry, fields)


def _accompaniment(
    view: Featurization, geometry: Geometry, fields: Mapping[str, RecordField]
) -> Featurizer:
    vocabulary = Vocabulary.from_geometry(geometry)
    vocals = "vocals_noisy" if view.noisy else "vocals"
    return Featurizer(
        input_tokens=_sequence(vocals, view.input_kinds, vocabulary, fields),
        target_tokens=_sequence("instrumental", view.target_kinds, vocabulary, fields),
        vocabulary=vocabulary,
        first_scored=vocabulary.coarse.first,
    )


def _sequence(
    sound: str, kinds: str, vocabulary: Vocabulary, fields: Mapping[str, RecordField]
) -> TokenSequence:
    parts = []
    if "S" in kinds:
        semantic = _field(f"{sound}_semantic", fields)
        parts.append(TokenPart(field=semantic, block=vocabulary.semantic, frames=semantic.shape[0]))
    if "A" in kinds:
        acoustic = _field(f"{sound}_acoustic", fields)
        parts.append(TokenPart(field=acoustic, block=vocabulary.coarse, frames=acoustic.shape[0]))
    return TokenSequence(parts=tuple(parts))


def _fine(
    view: FineCrops, geometry: Geometry, fields: Mapping[str, RecordField], *, seed: int
) -> Featurizer:
    field = _field("instrumental_acoustic", fields)
    frames = view.frames(geometry.acoustic)
    if frames > field.shape[0]:
        raise ValueError(
            f"a crop of {view.seconds} s has {frames} frames, a clip has {field.shape[0]}"
        )
    vocabulary = FineVocabulary.from_geometry(geometry)
    coarse = TokenPart(field=field, block=vocabulary.coarse, frames=frames)
    fine = TokenPart(
        field=field,
        block=vocabulary.fine,
        frames=frames,
        first_codebook=vocabulary.coarse_codebooks,
    )
    return Featurizer(
        input_tokens=TokenSequence(parts=(coarse,)),
        target_tokens=TokenSequence(parts=(fine,)),
        vocabulary=vocabulary,
        first_scored=vocabulary.fine.first,
        crops=RandomCrops(field=field, frames=frames, clip_id=_field("clip_id", fields), seed=seed),
    )


def _field(name: str, fields: Mapping[str, RecordField]) -> RecordField:
    if name not in fields:
        raise ValueError(f"the dataset has no {name}; its fields are {', '.join(fields)}")
    return fields[name]
