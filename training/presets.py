"""The sizes of the models, by name, and the settings of t5x. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping

from singsong.training.featurization import ModelKind

WARMUP_STEPS = 10_000
"""Steps before the learning rate falls. Paper: 4.4, as in t5x."""

Z_LOSS = 1e-4
"""Weight of the z-loss. Paper: 4.4, as in t5x."""

ACCOMPANIMENT: Mapping[str, Mapping[str, int]] = {
    "tiny": {"d_model": 64, "d_kv": 16, "num_heads": 4, "num_layers": 2, "d_ff": 128},
    "mini": {"d_model": 128, "d_kv": 32, "num_heads": 4, "num_layers": 3, "d_ff": 256},
    "small": {"d_model": 512, "d_kv": 64, "num_heads": 6, "num_layers": 8, "d_ff": 1024},
    "base": {"d_model": 768, "d_kv": 64, "num_heads": 12, "num_layers": 12, "d_ff": 2048},
    "xl": {"d_model": 2048, "d_kv": 64, "num_heads": 32, "num_layers": 24, "d_ff": 5120},
}
"""T5 v1.1, encoder and decoder of the same depth. Paper: 4.4 uses `base` and `xl`."""

FINE: Mapping[str, Mapping[str, int]] = {
    "tiny": {"d_model": 64, "d_kv": 16, "num_heads": 4, "num_layers": 2, "d_ff": 128},
    "base": {"d_model": 1024, "d_kv": 64, "num_heads": 16, "num_layers": 12, "d_ff": 4096},
}
"""Decoder only. Default: `base` has the size of one of AudioLM's models."""

PRESETS: Mapping[ModelKind, Mapping[str, Mapping[str, int]]] = {
    ModelKind.ACCOMPANIMENT: ACCOMPANIMENT,
    ModelKind.FINE: FINE,
}


def preset(presets: Mapping[str, Mapping[str, int]], name: str) -> dict[str, int]:
    """Returns the sizes of a preset.

    Raises:
        ValueError: There is none of that name.

    >>> preset(FINE, "base")["num_layers"]
    12
    """
    if name not in presets:
        raise ValueError(f"preset must be one of {sorted(presets)}, found {name!r}")
    return dict(presets[name])
