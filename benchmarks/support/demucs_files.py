"""Writes Demucs models as they lie on the Hugging Face hub, published sizes among them."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file

PUBLISHED_HTDEMUCS = {
    "t_layers": 5,
    "bottom_channels": 512,
    "dconv_mode": 3,
    "segment": Fraction(39, 5),
}
"""What differs from the defaults of its class: 41,984,456 parameters."""


def htdemucs(**settings: Any) -> HTDemucs:
    """Returns an HTDemucs for the four usual stems, with random weights, always the same."""
    torch.manual_seed(0)
    return HTDemucs(["drums", "bass", "other", "vocals"], **settings)


def save_demucs_safetensors(
    model: torch.nn.Module, path: Path, *, klass: str | None = None
) -> None:
    """Writes a model, its class and its arguments; `klass` names another class."""
    args, kwargs = model._init_args_kwargs
    metadata = {
        "klass": klass or f"{type(model).__module__}.{type(model).__name__}",
        "args": json.dumps(args, default=_encode_fraction),
        "kwargs": json.dumps(kwargs, default=_encode_fraction),
    }
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata)


def _encode_fraction(value: Any) -> dict[str, Any]:
    assert isinstance(value, Fraction)
    return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
