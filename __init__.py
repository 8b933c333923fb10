"""The open data system for singing-accompaniment models.

Turn music into a dataset of codes:

    >>> import singsong
    >>> prepared = singsong.prepare("music", output="new-dataset")  # doctest: +ELLIPSIS
    tracks listed ...

Read a dataset:

    >>> dataset = singsong.open_dataset("dataset")
    >>> isinstance(dataset, singsong.Dataset), len(dataset)
    (True, 20)
    >>> clip = next(dataset.clips("train"))
    >>> clip.codes["instrumental"].acoustic.shape  # frames, codebooks
    (50, 12)

Hear what codes hold:

    >>> codes = clip.codes["instrumental"].acoustic
    >>> singsong.decode(codes, sample_rate_hz=44100).shape
    (44100,)

Train a model, or read batches for your own:

    >>> batches = singsong.ShardDataset(
    ...     "dataset", singsong.Featurization(name="S-SA"), singsong.LoaderConfig(batch_size=4)
    ... )
    >>> next(iter(batches))["input_tokens"].shape  # clips, tokens
    torch.Size([4, 25])
    >>> config = singsong.TrainConfig(
    ...     kind="accompaniment", preset="tiny", data="dataset", output="new-run",
    ...     steps=1, batch_size=2, evaluate_every=0, device="cpu",
    ... )
    >>> singsong.train(config).step
    1

Accompany a singer:

    >>> import numpy as np
    >>> vocals = np.zeros(16000, np.float32)
    >>> accompanist = singsong.Accompanist.load("run")
    >>> accompanist.accompany(vocals, sample_rate_hz=16000, seeds=[0]).shape
    (1, 16000)

Every name in `__all__` is public; everything else may change in any release. A name is imported
when it is first used, so `import singsong` is fast, and a name whose libraries are missing says
which extra brings them.
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
