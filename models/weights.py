"""Loads model weights without executing pickles, and identifies them by their content."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

Tensor: TypeAlias = "npt.NDArray[Any] | torch.Tensor"
Allowed: TypeAlias = "Callable[..., Any] | tuple[Callable[..., Any], str]"

# torch has one global allowlist, which two threads that load at once would mix up.
_ALLOWLIST_LOCK = threading.Lock()

# What says where a model is from and how it is stored, not what it computes.
_NOT_SHAPING = frozenset(
    {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
)

# What the readers raised for files with random bytes changed.
_BROKEN = (
    SafetensorError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
)


class WeightsError(ValueError):
    """Weights that are missing, broken or unsafe to load."""


def tensors_sha256(tensors: Mapping[str, Tensor], *, settings: Mapping[str, Any]) -> str:
    """Returns the hex sha256 of tensors and of the settings that shape a model's result.

    Device, dtype and batch shape do not belong in `settings`: codes made in bfloat16 on a GPU are
    decoded in float32 on a laptop by the same model.

    Args:
        tensors: Name to tensor, in any order.
        settings: JSON values.

    >>> tensors_sha256({"a": np.zeros(2, np.float32)}, settings={"layer": 7})[:12]
    '3f0df81602ad'
    """
    digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for name in sorted(tensors):
        dtype, shape, content = _plain_bytes(tensors[name])
        digest.update(json.dumps([name, dtype, shape]).encode())
        digest.update(content.data)
    return digest.hexdigest()


def load_safely(path: str | Path, *, allowed: Sequence[Allowed] = ()) -> Any:
    """Returns the content of a checkpoint: plain containers, tensors and allowed classes only.

    Args:
        path: A `.safetensors` file, or one written by `torch.save`.
        allowed: Further classes and functions that a `torch.save` file may name. Where the file
            uses a different name for one, a pair of the object and that full name.

    Raises:
        WeightsError: There is no such file, it is broken, or it needs other code to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: put the file there, or give another source")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with _ALLOWLIST_LOCK, torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(path, str(error))) from None
    except _BROKEN as error:
        raise WeightsError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): "
            "it may be cut short; download it again"
        ) from error


def load_pretrained(
    model_class: Any,
    source: str,
    *,
    optional: Sequence[str] = (),
    safetensors_only: bool = False,
) -> Any:
    """Returns a `transformers` model with all its weights, in float32, ready for inference.

    Args:
        model_class: The model's own class, so that no code stored beside the weights can run.
        source: Hub id or local folder.
        optional: Endings of the names of tensors that may be missing because inference does not
            read them.
        safetensors_only: Whether to refuse weights from `torch.save` even as plain tensors.

    Raises:
        WeightsError: The weights are missing, broken, unsafe, or those of another model.
    """
    try:
        model, report = model_class.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=True if safetensors_only else None,
            weights_only=True,
            output_loading_info=True,
        )
    except OSError as error:
        raise WeightsError(_unavailable(source, error)) from error
    except pickle.UnpicklingError as error:
        raise WeightsError(_refusal(Path(source), str(error))) from None
    except _BROKEN as error:
        raise WeightsError(f"{source} does not hold a {model_class.__name__}: {error}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(tuple(optional)))
    if missing:
        raise WeightsError(f"{source} lacks weights of {model_class.__name__}: {missing}")
    return model.eval()


def shaping_config(config: Any) -> dict[str, Any]:
    """Returns the values of a `transformers` configuration that can shape a model's result.

    Those that have the default of their class are left out, so that a new release of
    `transformers` with further defaults changes no digest.
    """
    values = config.to_diff_dict()
    return {key: value for key, value in values.items() if key not in _NOT_SHAPING}


def load_extractor(extractor_class: Any, source: str) -> Any:
    """Returns a `transformers` feature extractor with the settings stored beside the weights.

    Raises:
        WeightsError: There are none.
    """
    try:
        return extractor_class.from_pretrained(source)
    except OSError as error:
        raise WeightsError(_unavailable(source, error)) from error


def _unavailable(source: str, error: OSError) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"no usable weights at {source!r} ({reason}): give a local folder with config.json, "
        "preprocessor_config.json and model.safetensors, or a hub id that this machine can reach"
    )


def _refusal(path: Path, complaint: str) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", complaint)
    what = f"names {wanted[1]}" if wanted else "holds more than weights, or is broken"
    return (
        f"refused to load {path}: its pickle {what}, and code in a checkpoint is never executed; "
        "get the file from its publisher, or convert it to safetensors where you trust it"
    )


def _plain_bytes(tensor: Tensor) -> tuple[str, list[int], npt.NDArray[np.uint8]]:
    if isinstance(tensor, torch.Tensor):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        dtype = str(tensor.dtype).removeprefix("torch.")
        # numpy has no bfloat16, so the bytes are read without their type.
        return dtype, list(tensor.shape), flat.view(torch.uint8).numpy()
    little = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
    return tensor.dtype.name, list(tensor.shape), little.reshape(-1).view(np.uint8)
