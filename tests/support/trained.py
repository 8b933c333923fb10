"""A small dataset to train on, and training runs on it that finish in seconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.support.code_dataset import ONE_SECOND, SMALL, recommitted, write_dataset
from singsong.dataset.counts import SplitCounts
from singsong.dataset.manifest import Manifest
from singsong.training.accompaniment_model import AccompanimentConfig, AccompanimentModel
from singsong.training.checkpoints import list_checkpoints
from singsong.training.featurization import Featurization
from singsong.training.fine_model import FineConfig, FineModel
from singsong.training.presets import ACCOMPANIMENT, FINE
from singsong.training.provenance import Provenance
from singsong.training.train_config import TrainConfig
from singsong.training.vocabulary import FineVocabulary, Vocabulary

VOCABULARY = Vocabulary.from_geometry(SMALL)
FINE_VOCABULARY = FineVocabulary.from_geometry(SMALL)
WEIGHTS = {"acoustic": "aaa", "semantic": "bbb", "separator": "ccc"}


def write_trainable(folder: Path, **recipe: Any) -> Path:
    """Writes 48 clips of one second to train on and 16 to validate on."""
    encode = replace(ONE_SECOND, **recipe)
    manifest = write_dataset(folder, clips=64, shards=8, clips_per_track=4, recipe=encode)
    shards = sorted(manifest.shards, key=lambda shard: shard.rows)
    held_out = [replace(shard, split="validation") for shard in shards[:3]]
    recommitted(
        folder,
        shards=(*held_out, *shards[3:]),
        splits={name: SplitCounts() for name in ("train", "validation", "test")},
        weights=WEIGHTS,
    )
    return folder


def quick_config(data: Path, output: Path, **changes: Any) -> TrainConfig:
    """Returns a run of six steps on the CPU."""
    quick: dict[str, Any] = {
        "kind": "accompaniment",
        "preset": "tiny",
        "steps": 6,
        "batch_size": 8,
        "evaluate_every": 0,
        "save_every": 0,
        "log_every": 1,
        "device": "cpu",
    }
    return TrainConfig(data=str(data), output=str(output), **{**quick, **changes})


def saved_weights(run: Path) -> dict[str, torch.Tensor]:
    """Returns the weights in the last checkpoint of a run of the accompaniment model."""
    model = AccompanimentModel.from_pretrained(list_checkpoints(run)[-1].model)
    return dict(model.state_dict())


def small_accompaniment(**fields: Any) -> AccompanimentModel:
    sizes = ACCOMPANIMENT["tiny"]
    return AccompanimentModel(
        AccompanimentConfig(vocab_size=VOCABULARY.size, **{**sizes, **fields})
    ).eval()


def small_fine(**fields: Any) -> FineModel:
    sizes = FINE["tiny"]
    return FineModel(FineConfig(vocab_size=FINE_VOCABULARY.size, **{**sizes, **fields})).eval()


def provenance_of(manifest: Manifest, name: str = "S-SA") -> Provenance[Featurization]:
    return Provenance.of(manifest, Featurization(name=name))
