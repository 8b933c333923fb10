"""What a model was trained on: stored in its config, so that its codes keep their meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np

from singsong.dataset.manifest import Manifest
from singsong.schemas.arrays import IntArray, TokenArray
from singsong.schemas.json_values import recipe_differences
from singsong.schemas.recipe import DatasetRecipe, ModelSpec, recipe_from_json, recipe_json
from singsong.schemas.records import Geometry
from singsong.training.featurization import VIEWS, AnyView, Featurization, FineCrops, ModelKind
from singsong.training.vocabulary import FineVocabulary, Vocabulary

_MODEL_TYPES = {f"singsong-{kind}": kind for kind in ModelKind}
"""`model_type` in the `config.json` of each kind of model."""


@dataclass(frozen=True, kw_only=True)
class Provenance(Generic[AnyView]):
    """What a model was trained on.

    Attributes:
        recipe: The recipe of the dataset, without the places its models were read from.
        weights: Hex digest of each model's weights, by role.
        geometry: Shapes of the codes.
        dataset_digest: Which dataset.
        view: What the model reads and writes.
    """

    recipe: DatasetRecipe
    weights: Mapping[str, str]
    geometry: Geometry
    dataset_digest: str
    view: AnyView

    @classmethod
    def of(cls, manifest: Manifest, view: AnyView) -> Provenance[AnyView]:
        """Returns the provenance of a model that is trained on a dataset."""
        return Provenance(
            recipe=_recipe(manifest.recipe),
            weights=manifest.weights,
            geometry=Geometry.from_json(manifest.geometry),
            dataset_digest=manifest.dataset_digest,
            view=view,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any], kind: ModelKind) -> Provenance[Any]:
        """Returns the provenance that `to_json` gave.

        Args:
            value: The JSON values.
            kind: Which kind of model they are about.

        Raises:
            ValueError: A value is outside its range.
            KeyError: A value is missing.
            TypeError: A value has another type, or is unknown.
        """
        return Provenance(
            recipe=_recipe(value["recipe"]),
            weights=value["weights"],
            geometry=Geometry.from_json(value["geometry"]),
            dataset_digest=value["dataset_digest"],
            view=VIEWS[kind].from_json(value["view"]),
        )

    def to_json(self) -> dict[str, object]:
        """Returns the provenance as JSON values."""
        return {
            "recipe": recipe_json(self.recipe),
            "weights": dict(self.weights),
            "geometry": self.geometry.to_json(),
            "dataset_digest": self.dataset_digest,
            "view": self.view.to_json(),
        }

    @property
    def clip_seconds(self) -> float:
        """Length of the training clips, and so of a window of a song."""
        return self.recipe.encode.clip_seconds

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the accompaniment model."""
        return Vocabulary.from_geometry(self.geometry)

    @property
    def fine_vocabulary(self) -> FineVocabulary:
        """The tokens of the fine model. Raises ValueError where the codec has no fine codes."""
        return FineVocabulary.from_geometry(self.geometry)

    def source_tokens(
        self: Provenance[Featurization], *, semantic: IntArray, acoustic: IntArray
    ) -> TokenArray:
        """Returns the tokens of windows of vocals that the accompaniment model reads.

        Args:
            semantic: Integers [batch, frames].
            acoustic: Integers [batch, frames, codebooks].

        Returns:
            int64 [batch, positions].
        """
        kinds = self.view.input_kinds
        parts = [self.vocabulary.semantic_tokens(semantic)] if "S" in kinds else []
        parts += [self.vocabulary.coarse_tokens(acoustic)] if "A" in kinds else []
        return np.concatenate(parts, -1)

    def chunk_frames(self: Provenance[FineCrops]) -> int:
        """Returns the number of acoustic frames in a crop of the fine model."""
        return self.view.frames(self.geometry.acoustic)


def read_provenance(model: str | Path, view_class: type[AnyView]) -> Provenance[AnyView]:
    """Returns what a model in a folder was trained on.

    Args:
        model: Folder of the model.
        view_class: `Featurization` for an accompaniment model, `FineCrops` for a fine model.

    Raises:
        ValueError: It is not a model that was trained here, or it is of the other kind.
    """
    try:
        config = json.loads((Path(model) / "config.json").read_text())
        kind = _MODEL_TYPES[config["model_type"]]
        provenance = Provenance.from_json(config["data"], kind)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{model} does not hold a model of `singsong train`") from error
    if kind is not view_class.kind:
        raise ValueError(
            f"{model} holds {_WITH_ARTICLE[kind]} model, not {_WITH_ARTICLE[view_class.kind]} model"
        )
    return provenance


def differences(old: Provenance[AnyView], new: Provenance[AnyView]) -> list[str]:
    """Returns a line for each way in which two datasets differ, apart from their content."""
    return recipe_differences(_comparable(old), _comparable(new))


def code_differences(old: Provenance[AnyView], new: Provenance[AnyView]) -> list[str]:
    """Returns a line for each reason why a model of one dataset cannot read the codes of another.

    Codebooks, rates and lengths are such reasons; how clips were chosen and separated is not.
    """
    return recipe_differences(_meaning(old), _meaning(new))


_WITH_ARTICLE = {ModelKind.ACCOMPANIMENT: "an accompaniment", ModelKind.FINE: "a fine"}


def _recipe(value: Mapping[str, Any]) -> DatasetRecipe:
    """Returns the recipe of JSON values, whose models have a name and options but no source."""
    models = {}
    for role in ("separator", "acoustic", "semantic"):
        if spec := value["encode"][role]:
            options = tuple(sorted(spec["options"].items()))
            models[role] = str(ModelSpec(name=spec["name"], options=options))
    return recipe_from_json(value, models)


def _comparable(provenance: Provenance[Any]) -> dict[str, object]:
    value = provenance.to_json()
    del value["dataset_digest"]
    return value


def _meaning(provenance: Provenance[Any]) -> dict[str, object]:
    return {
        "weights": {role: provenance.weights.get(role) for role in ("acoustic", "semantic")},
        "geometry": provenance.geometry.to_json(),
        "clip_seconds": provenance.clip_seconds,
    }
