"""The open data system for singing-accompaniment models.

Turn music into a dataset of codes, read it, train on it, and accompany a singer:

    import singsong

    dataset = singsong.prepare("music", output="dataset")
    for clip in dataset.clips("train"):
        ...
    config = singsong.TrainConfig(stage="accompaniment", data="dataset", output="run")
    singsong.train(config)
    accompanist = singsong.Accompanist.load("run")

Every name in `__all__` is public; everything else may change in any release. Names are imported
when they are first used, so `import singsong` costs nothing, and a name whose libraries are not
installed says which extra brings them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singsong.dataset.handle import Dataset, open_dataset
    from singsong.generation.accompanist import Accompanist
    from singsong.models.arrays import decode, encode, separate
    from singsong.models.registry import load_model
    from singsong.pipelines.prepare_call import prepare
    from singsong.training.featurization import Featurization
    from singsong.training.loader import LoaderConfig, ShardDataset
    from singsong.training.train import train
    from singsong.training.train_config import TrainConfig

    __version__: str

__all__ = [
    "Accompanist",
    "Dataset",
    "Featurization",
    "LoaderConfig",
    "ShardDataset",
    "TrainConfig",
    "__version__",
    "decode",
    "encode",
    "load_model",
    "open_dataset",
    "prepare",
    "separate",
    "train",
]

# Name to the module that defines it and the extra that brings its libraries.
_HOMES = {
    "Accompanist": ("singsong.generation.accompanist", "train"),
    "Dataset": ("singsong.dataset.handle", ""),
    "Featurization": ("singsong.training.featurization", "train"),
    "LoaderConfig": ("singsong.training.loader", "train"),
    "ShardDataset": ("singsong.training.loader", "train"),
    "TrainConfig": ("singsong.training.train_config", "train"),
    "decode": ("singsong.models.arrays", "prepare"),
    "encode": ("singsong.models.arrays", "prepare"),
    "load_model": ("singsong.models.registry", "prepare"),
    "open_dataset": ("singsong.dataset.handle", ""),
    "prepare": ("singsong.pipelines.prepare_call", "prepare"),
    "separate": ("singsong.models.arrays", "prepare"),
    "train": ("singsong.training.train", "train"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("singsong")
    elif name in _HOMES:
        from singsong.schemas.extras import extra_needed

        module, extra = _HOMES[name]
        with extra_needed(extra, by=f"singsong.{name}"):
            value = getattr(import_module(module), name)
    else:
        raise AttributeError(f"module 'singsong' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
