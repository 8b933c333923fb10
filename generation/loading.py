"""Opens the models of an accompaniment, and checks that they belong together."""

from __future__ import annotations

from typing import TypedDict, TypeVar

from singsong import storage
from singsong.models.lite.bundled import numbered
from singsong.models.protocols import AcousticCodec, SemanticEncoder
from singsong.models.registry import load_acoustic, load_semantic
from singsong.models.weights import load_pretrained
from singsong.schemas.recipe import ModelSpec
from singsong.training.accompaniment_model import AccompanimentModel
from singsong.training.checkpoints import find_model
from singsong.training.featurization import AnyView, Featurization, FineCrops
from singsong.training.fine_model import FineModel
from singsong.training.provenance import Provenance, read_provenance

AnyModel = TypeVar("AnyModel", AccompanimentModel, FineModel)


class _Where(TypedDict):
    device: str
    dtype: str
    batch_clips: int


def load_trained(
    model_class: type[AnyModel], view_class: type[AnyView], place: str, device: str
) -> tuple[AnyModel, Provenance[AnyView]]:
    """Returns a trained model and what it was trained on.

    Args:
        model_class: `AccompanimentModel` or `FineModel`.
        view_class: `Featurization` or `FineCrops`, in the same order.
        place: Folder or URL of a run or of one of its models.
        device: Where the model runs.

    Raises:
        ValueError: There is no model, or it is of the other kind.
    """
    with storage.local_folder(place) as local:
        try:
            folder = find_model(local)
            provenance = read_provenance(folder, view_class)
        except ValueError as error:
            raise ValueError(str(error).replace(local, place)) from error
        model = load_pretrained(model_class, str(folder), safetensors_only=True)
        return model.to(device), provenance


def load_fine(
    place: str, provenance: Provenance[Featurization], device: str
) -> tuple[FineModel, Provenance[FineCrops]]:
    """Returns a fine model and what it was trained on.

    Args:
        place: Folder or URL of a run or of one of its models.
        provenance: What the accompaniment model was trained on.
        device: Where the model runs.

    Raises:
        ValueError: There is no fine model, or it was trained on codes of another codec.
    """
    model, own = load_trained(FineModel, FineCrops, place, device)
    codec = (provenance.geometry.acoustic, provenance.weights["acoustic"])
    if (own.geometry.acoustic, own.weights["acoustic"]) != codec:
        raise ValueError(f"{place} was trained on codes of another acoustic codec")
    return model, own


def load_codec_and_encoder(
    checkpoint: str,
    provenance: Provenance[Featurization],
    *,
    acoustic: ModelSpec | None,
    semantic: ModelSpec | None,
    device: str,
) -> tuple[AcousticCodec, SemanticEncoder]:
    """Returns the codec and the semantic encoder of the dataset that a model was trained on.

    Args:
        checkpoint: Where the model came from, for the error.
        provenance: What it was trained on.
        acoustic: Where to load the codec from; None loads the one that the recipe names.
        semantic: The same for the semantic encoder.
        device: Where both run.

    Raises:
        ValueError: One of them has other weights than the dataset's, or cannot be loaded.
    """
    encode = provenance.recipe.encode
    where = _Where(device=device, dtype=encode.dtype, batch_clips=encode.batch_clips)
    own = numbered(encode.acoustic, weights_sha256=provenance.weights["acoustic"])
    codec = load_acoustic(acoustic or own, **where)
    encoder = load_semantic(semantic or encode.semantic, **where)
    for role, found in (("acoustic", codec.weights_sha256), ("semantic", encoder.weights_sha256)):
        if found != provenance.weights[role]:
            raise ValueError(
                f"{checkpoint} was trained on codes of another {role} model "
                f"({provenance.weights[role][:12]}, this one is {found[:12]}): "
                f"name its own with --{role}"
            )
    return codec, encoder
