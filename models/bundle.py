"""The models a recipe names, loaded once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from singsong.models.devices import set_numerics
from singsong.models.loaded import load_once
from singsong.models.protocols import (
    AcousticCodec,
    SemanticEncoder,
    Separator,
    StereoSeparator,
)
from singsong.models.registry import load_acoustic, load_semantic, load_separator
from singsong.models.separator_check import check_on_known_song
from singsong.schemas.arrays import FloatArray
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import EncodeRecipe
from singsong.schemas.records import Geometry

VERSION = 1
"""Version of this step's arithmetic, part of the name of every part: raised when results change."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models that encode a track.

    Attributes:
        acoustic: The acoustic codec.
        semantic: The semantic encoder.
        separator: Separates the vocals; None where the mix itself is encoded.
    """

    acoustic: AcousticCodec
    semantic: SemanticEncoder
    separator: Separator | None

    @property
    def geometry(self) -> Geometry:
        """The shapes of the codes."""
        return Geometry(acoustic=self.acoustic.geometry, semantic=self.semantic.geometry)

    def separate(self, mixes: FloatArray) -> FloatArray:
        """Returns the mono vocals of each mix.

        Args:
            mixes: float32 [clips, samples], or [clips, 2, samples] for a separator in stereo.

        Returns:
            float32 [clips, samples].
        """
        assert self.separator is not None
        if mixes.ndim == 2:
            return self.separator.separate_vocals(mixes)
        assert isinstance(self.separator, StereoSeparator)
        vocals: FloatArray = self.separator.separate_stereo(mixes).mean(axis=1)
        return vocals

    @property
    def weights(self) -> dict[str, str]:
        """Hex digest of each model's weights, by role."""
        weights = {
            "acoustic": self.acoustic.weights_sha256,
            "semantic": self.semantic.weights_sha256,
        }
        if self.separator is not None:
            weights["separator"] = self.separator.weights_sha256
        return weights


class _Where(TypedDict):
    device: str
    dtype: str
    batch_clips: int


def load_models(recipe: EncodeRecipe) -> Models:
    """Returns the models of a recipe; the second call in a process returns the same ones.

    Calls `set_numerics`, since codes may depend neither on the process nor on what ran before. A
    separator is tested once in a process before it is used.

    Raises:
        ValueError: A model is unknown, its weights are missing or unsafe, the machine lacks the
            device, the separator's sample rate is not that of the recipe's clips, it takes no
            stereo where the recipe wants it, it does not do what a separator does
            (`singsong.models.separator_check`), or a clip is not a whole number of samples at the
            rate of each model.
    """
    set_numerics()
    where = _Where(device=recipe.device, dtype=recipe.dtype, batch_clips=recipe.batch_clips)
    separator = load_separator(recipe.separator, **where) if recipe.separator else None
    if separator is not None and separator.sample_rate_hz != recipe.mix_rate_hz:
        raise ValueError(
            f"mix_rate_hz must be the separator's {separator.sample_rate_hz} Hz, "
            f"found {recipe.mix_rate_hz}"
        )
    if recipe.stereo and not isinstance(separator, StereoSeparator):
        raise ValueError(
            f"the separator {recipe.separator} takes mono alone: leave --stereo out, or choose "
            "another with --separator"
        )
    if separator is not None:
        _check_once(separator, recipe, **where)
    models = Models(
        acoustic=load_acoustic(recipe.acoustic, **where),
        semantic=load_semantic(recipe.semantic, **where),
        separator=separator,
    )
    for rate_hz in (
        recipe.mix_rate_hz,
        models.acoustic.geometry.sample_rate_hz,
        models.semantic.geometry.sample_rate_hz,
    ):
        clip_samples(recipe.clip_seconds, rate_hz)
    return models


def _check_once(separator: Separator, recipe: EncodeRecipe, **where: object) -> None:
    name, stereo = str(recipe.separator), recipe.stereo
    key = ("separator check", recipe.separator, recipe.separation, stereo, *where.values())
    load_once(
        key,
        lambda: check_on_known_song(separator, recipe.separation, name=name, stereo=stereo),
    )
