"""What a model was trained on: written into its config, so that its codes keep their meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from singsong.dataset.manifest import Manifest
from singsong.schemas.arrays import IntArray, TokenArray
from singsong.schemas.geometry import clip_samples
from singsong.schemas.json_values import recipe_differences
from singsong.schemas.records import Geometry
from singsong.training.featurization import Featurization
from singsong.training.vocabulary import FineVocabulary, Vocabulary


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a model was trained on.

    Attributes:
        recipe: The dataset recipe, as JSON values.
        weights: Hex digest of each model's weights, by role.
        geometry: Shapes of the codes, as JSON values.
        dataset_digest: Which dataset.
        view: What the model reads and writes, as JSON values: `featurization` and `noisy` of the
            accompaniment model, `crop_seconds` of the fine model.
    """

    recipe: Mapping[str, Any]
    weights: Mapping[str, str]
    geometry: Mapping[str, Any]
    dataset_digest: str
    view: Mapping[str, Any]

    @classmethod
    def of(cls, manifest: Manifest, view: Mapping[str, Any]) -> Provenance:
        """Returns the provenance of a model that is trained on a dataset."""
        return cls(
            recipe=manifest.recipe,
            weights=manifest.weights,
            geometry=manifest.geometry,
            dataset_digest=manifest.dataset_digest,
            view=view,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Provenance:
        """Returns the provenance that `to_json` gave."""
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Returns the provenance as JSON values."""
        return asdict(self)

    @property
    def clip_seconds(self) -> float:
        """Length of the clips, and so of a window."""
        return float(self.recipe["encode"]["clip_seconds"])

    @property
    def shapes(self) -> Geometry:
        """The shapes of the codes."""
        return Geometry.from_json(self.geometry)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the accompaniment model."""
        return Vocabulary.from_geometry(self.shapes)

    @property
    def fine_vocabulary(self) -> FineVocabulary:
        """The tokens of the fine model. Raises ValueError where the codec has no fine codes."""
        return FineVocabulary.from_geometry(self.shapes)

    def source_tokens(self, *, semantic: IntArray, acoustic: IntArray) -> TokenArray:
        """Returns the tokens that the accompaniment model reads, of windows of vocals.

        Args:
            semantic: Integers [batch, frames].
            acoustic: Integers [batch, frames, codebooks].

        Returns:
            int64 [batch, positions].
        """
        kinds = self.featurization.input_kinds
        parts = [self.vocabulary.semantic_tokens(semantic)] if "S" in kinds else []
        parts += [self.vocabulary.coarse_tokens(acoustic)] if "A" in kinds else []
        return np.concatenate(parts, -1)

    @property
    def featurization(self) -> Featurization:
        """What the accompaniment model reads and writes."""
        return Featurization(name=self.view["featurization"], noisy=self.view["noisy"])

    @property
    def chunk_frames(self) -> int:
        """Acoustic frames in a crop of the fine model."""
        acoustic = self.shapes.acoustic
        samples = clip_samples(self.view["crop_seconds"], acoustic.sample_rate_hz)
        return acoustic.frames(samples)


def read_provenance(model: str | Path) -> Provenance:
    """Returns what a model in a folder was trained on.

    Raises:
        ValueError: It is no model that was trained here.
    """
    try:
        config = json.loads((Path(model) / "config.json").read_text())
        return Provenance.from_json(config["data"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{model} holds no model of `singsong train`") from error


def differences(old: Provenance, new: Provenance) -> list[str]:
    """Returns a line for each way in which two datasets differ, content aside."""
    return recipe_differences(_comparable(old), _comparable(new))


def code_differences(old: Provenance, new: Provenance) -> list[str]:
    """Returns a line for each reason why a model of one dataset cannot read the codes of another.

    How its clips were chosen and separated is none; its codebooks, rates and lengths are.
    """
    return recipe_differences(_meaning(old), _meaning(new))


def _comparable(provenance: Provenance) -> dict[str, Any]:
    value = provenance.to_json()
    del value["dataset_digest"]
    return value


def _meaning(provenance: Provenance) -> dict[str, Any]:
    return {
        "weights": {role: provenance.weights.get(role) for role in ("acoustic", "semantic")},
        "geometry": provenance.geometry,
        "clip_seconds": provenance.clip_seconds,
    }
