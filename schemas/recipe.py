"""How a dataset is made: every setting that can change a byte of it, and nothing else.

An `EncodeRecipe` (with the hashes of the model weights) names the part files, a `DatasetRecipe` the
dataset. Both leave out where the files of a model are; the hash of its weights stands for them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from singsong.schemas.json_values import json_digest
from singsong.schemas.separation import NO_SEPARATION_LIMITS, SeparationLimits

WINDOW_KINDS = ("rect", "exp")
DTYPES = ("float32", "bfloat16")


class ShardFormat(StrEnum):
    """A file format of shards; the first one that a dataset has is the one that is read."""

    PARQUET = "parquet"
    TFRECORD = "tfrecord"


FORMATS = tuple(shard_format.value for shard_format in ShardFormat)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which model to load, and from where.

    Attributes:
        name: The adapter: see `singsong.models.registry`.
        source: Hub id or local folder; None takes what comes with the package.
        options: Settings of the adapter, sorted by key.

    Raises:
        ValueError: The name is empty.
    """

    name: str
    source: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a model needs a name, found an empty one")

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Returns the spec written as `name[:source][,key=value...]`.

        A source or a value that begins with `~/` lies in the user's home folder: no shell says so
        after a colon or an equals sign.

        Raises:
            ValueError: An option is not `key=value`, or is given twice.

        >>> ModelSpec.parse("hubert:facebook/hubert-base-ls960,layer=7").options
        (('layer', '7'),)
        """
        head, *pairs = text.split(",")
        name, _, source = head.partition(":")
        options: dict[str, str] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not (key and equals and value):
                raise ValueError(f"a model option is key=value, found {pair!r} in {text!r}")
            if key in options:
                raise ValueError(f"model option {key!r} is given twice in {text!r}")
            options[key] = _at_home(value)
        source = _at_home(source)
        return cls(name=name, source=source or None, options=tuple(sorted(options.items())))

    def __str__(self) -> str:
        source = f":{self.source}" if self.source else ""
        return self.name + source + "".join(f",{key}={value}" for key, value in self.options)


def _at_home(text: str) -> str:
    return os.path.expanduser(text) if text.startswith("~/") else text


@dataclass(frozen=True, kw_only=True)
class LoudnessWindow:
    """The frame over which RMS is measured.

    Attributes:
        seconds: Length of a rectangular frame, or time constant of an exponential one.
        hop_fraction: Distance between rectangular frames, as a part of their length.
        kind: "rect" or "exp".

    Raises:
        ValueError: A field is outside its range.

    Default: the paper names no window (4.2).
    """

    seconds: float = 0.05
    hop_fraction: float = 0.25
    kind: str = "rect"

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"loudness window seconds must be positive, found {self.seconds}")
        if not 0 < self.hop_fraction <= 1:
            raise ValueError(f"hop_fraction must be in (0, 1], found {self.hop_fraction}")
        if self.kind not in WINDOW_KINDS:
            raise ValueError(f"kind must be one of {WINDOW_KINDS}, found {self.kind!r}")


@dataclass(frozen=True, kw_only=True)
class LoudnessFilter:
    """The thresholds of the loudness decision.

    Attributes:
        min_instrumental_db: A clip with a quieter instrumental is dropped.
        max_vocals_above_db: A clip whose vocals are this much above the instrumental is dropped.

    Raises:
        ValueError: A threshold is NaN.

    Paper: 4.2.
    """

    min_instrumental_db: float = -25.0
    max_vocals_above_db: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isnan(value):
                raise ValueError(f"{name} must be a number of dB, found NaN")


NO_FILTER = LoudnessFilter(min_instrumental_db=-1e9, max_vocals_above_db=1e9)
"""Keeps every clip: the paper's NoFilt."""


@dataclass(frozen=True, kw_only=True)
class EncodeRecipe:
    """How a track becomes a part file.

    Attributes:
        clip_seconds: Length of a clip.
        mix_rate_hz: Rate at which the mix is clipped and measured.
        separator: Splits the vocals off; None encodes the mix itself.
        stereo: Whether the separator gets both channels. The mean of its vocals' channels, and that
            of the mix, are what the recipe goes on with.
        acoustic: The acoustic codec.
        semantic: The semantic encoder.
        noise_sigma: Standard deviation of the noise on the vocals.
        noise_seed: Seed of that noise.
        window: How loudness is measured.
        separation: A clip whose vocals are outside these limits fails.
        store_audio: Whether rows hold the 16-bit FLAC of each encoded sound.
        device: Where the networks run.
        dtype: What the networks compute in; the quantisers are always float32.
        batch_clips: The one batch shape the networks run on.

    Raises:
        ValueError: A field is outside its range.

    Paper: 3.4, 4.1 and 4.2; the training branch. The paper separates the mean of both channels.
    """

    clip_seconds: float = 10.0
    mix_rate_hz: int = 44100
    separator: ModelSpec | None = field(default_factory=lambda: ModelSpec(name="spleeter"))
    stereo: bool = False
    acoustic: ModelSpec = field(default_factory=lambda: ModelSpec(name="lite", source="2"))
    semantic: ModelSpec = field(default_factory=lambda: ModelSpec(name="lite", source="1"))
    noise_sigma: float = 0.01
    noise_seed: int = 0
    window: LoudnessWindow = field(default_factory=LoudnessWindow)
    separation: SeparationLimits = field(default_factory=SeparationLimits)
    store_audio: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    batch_clips: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.clip_seconds <= 600:
            raise ValueError(f"clip_seconds must be in (0, 600], found {self.clip_seconds}")
        if self.mix_rate_hz <= 0:
            raise ValueError(f"mix_rate_hz must be positive, found {self.mix_rate_hz}")
        if self.stereo and self.separator is None:
            raise ValueError("stereo is for a separator: leave it out, or name a separator")
        if not 0 <= self.noise_sigma < 1:
            raise ValueError(f"noise_sigma must be in [0, 1), found {self.noise_sigma}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, found {self.dtype!r}")
        if self.batch_clips < 1:
            raise ValueError(f"batch_clips must be at least 1, found {self.batch_clips}")

    @property
    def sources(self) -> tuple[str, ...]:
        """The sounds of a clip that are encoded, in the order of the record table."""
        return ("vocals", "vocals_noisy", "instrumental") if self.separator else ("mix",)


@dataclass(frozen=True, kw_only=True)
class DatasetRecipe:
    """How part files become a dataset.

    Attributes:
        encode: How the parts were made.
        dataset_filter: Which of their clips are in the dataset.
        splits: Name and weight of each split, in order.
        clips_per_shard: How many clips a shard should hold, about.
        formats: The file formats to write.

    Raises:
        ValueError: A field is outside its range.

    Paper: 4.2. Default: the paper does not name its splits.
    """

    encode: EncodeRecipe = field(default_factory=EncodeRecipe)
    dataset_filter: LoudnessFilter = field(default_factory=LoudnessFilter)
    splits: tuple[tuple[str, float], ...] = (("train", 98), ("validation", 1), ("test", 1))
    clips_per_shard: int = 8192
    formats: tuple[str, ...] = FORMATS

    def __post_init__(self) -> None:
        names = [name for name, _ in self.splits]
        if len(set(names)) != len(names) or not all(name.isidentifier() for name in names):
            raise ValueError(f"split names must be different identifiers, found {names}")
        weights = [weight for _, weight in self.splits]
        if not weights or min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise ValueError(f"split weights must be positive numbers, found {weights}")
        if self.clips_per_shard < 1:
            raise ValueError(f"clips_per_shard must be at least 1, found {self.clips_per_shard}")
        if not self.formats or set(self.formats) - set(FORMATS):
            raise ValueError(f"formats must be some of {FORMATS}, found {self.formats}")


def recipe_json(recipe: EncodeRecipe | DatasetRecipe) -> dict[str, Any]:
    """Returns the recipe as JSON values, without the places the models were read from.

    >>> recipe_json(EncodeRecipe())["separator"]
    {'name': 'spleeter', 'options': {}}
    """
    value = {key: _plain(value) for key, value in vars(recipe).items()}
    if isinstance(recipe, EncodeRecipe):
        value["device"] = recipe.device.partition(":")[0]  # which of several does not matter
    return value


def recipe_from_json(value: Mapping[str, Any], models: Mapping[str, str]) -> DatasetRecipe:
    """Returns the recipe that `recipe_json` gave.

    Args:
        value: The JSON values of a `DatasetRecipe`.
        models: How each model is loaded, by role, as `ModelSpec.parse` reads it.

    Raises:
        ValueError: A value is outside its range.

    >>> recipe = DatasetRecipe()
    >>> models = {"separator": "spleeter", "acoustic": "lite:2", "semantic": "lite:1"}
    >>> recipe_from_json(recipe_json(recipe), models) == recipe
    True
    """
    encode = dict(value["encode"])
    for role in ("separator", "acoustic", "semantic"):
        encode[role] = ModelSpec.parse(models[role]) if role in models else None
    encode["window"] = LoudnessWindow(**encode["window"])
    limits = encode.get("separation") or asdict(NO_SEPARATION_LIMITS)  # written before the check
    encode["separation"] = SeparationLimits(**limits)
    encode.pop("encode_filter", None)  # written before the filter left the recipe of parts
    return DatasetRecipe(
        encode=EncodeRecipe(**encode),
        dataset_filter=LoudnessFilter(**value["dataset_filter"]),
        splits=tuple((name, weight) for name, weight in value["splits"]),
        clips_per_shard=value["clips_per_shard"],
        formats=tuple(value["formats"]),
    )


def encode_digest(
    recipe: EncodeRecipe, *, weights: Mapping[str, str], arithmetic: Mapping[str, int]
) -> str:
    """Returns the hex digest that names parts: of all that decides what is in them.

    Args:
        recipe: The recipe.
        weights: Hex digest of each model's weights, by role.
        arithmetic: Version of each step of the arithmetic, by name.
    """
    content = {"recipe": recipe_json(recipe), "weights": dict(weights)}
    return json_digest(content | {"arithmetic": dict(arithmetic)})


_NOT_IN_CODES = ("codebook", "coarse", "table")
"""Options that are no part of a recipe: the hash of the weights stands for the path to a codebook
or table, and which codebooks count as coarse is said when codes are read."""


def _plain(value: Any) -> Any:
    if isinstance(value, ModelSpec):
        options = {key: option for key, option in value.options if key not in _NOT_IN_CODES}
        return {"name": value.name, "options": options}
    if isinstance(value, (EncodeRecipe, DatasetRecipe)):
        return recipe_json(value)
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
