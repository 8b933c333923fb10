"""Small models, untrained but always the same, behind the real lite codec and encoder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from singsong.models.registry import load_acoustic, load_semantic
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe
from singsong.schemas.records import Geometry
from singsong.training.accompaniment_model import AccompanimentConfig, AccompanimentModel
from singsong.training.featurization import AnyView, Featurization, FineCrops
from singsong.training.fine_model import FineConfig, FineModel
from singsong.training.presets import ACCOMPANIMENT, FINE
from singsong.training.provenance import Provenance

WHERE = {"device": "cpu", "dtype": "float32", "batch_clips": 1}
CLIP_SECONDS = 1.0


def lite_provenance(view: AnyView, **changes: Any) -> Provenance[AnyView]:
    encode = EncodeRecipe(clip_seconds=CLIP_SECONDS)
    encode = replace(encode, acoustic=changes.pop("acoustic", encode.acoustic))
    acoustic = load_acoustic(encode.acoustic, **WHERE)
    semantic = load_semantic(encode.semantic, **WHERE)
    values = {
        "recipe": DatasetRecipe(encode=encode),
        "weights": {
            "acoustic": acoustic.weights_sha256,
            "semantic": semantic.weights_sha256,
            "separator": "s",
        },
        "geometry": Geometry(acoustic=acoustic.geometry, semantic=semantic.geometry),
        "dataset_digest": "d",
        "view": view,
    }
    return Provenance(**{**values, **changes})


def save_accompaniment(
    folder: Path, featurization: str = "S-SA", *, seed: int = 0, **changes: Any
) -> str:
    provenance = lite_provenance(Featurization(name=featurization), **changes)
    config = AccompanimentConfig(
        vocab_size=provenance.vocabulary.size,
        data=provenance.to_json(),
        **ACCOMPANIMENT["tiny"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # with 0 a mix stays below full scale, and so is not scaled
        AccompanimentModel(config).save_pretrained(folder)
    return str(folder)


def save_fine(folder: Path, **changes: Any) -> str:
    provenance = lite_provenance(FineCrops(seconds=0.5), **changes)
    config = FineConfig(
        vocab_size=provenance.fine_vocabulary.size, data=provenance.to_json(), **FINE["tiny"]
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        FineModel(config).save_pretrained(folder)
    return str(folder)
