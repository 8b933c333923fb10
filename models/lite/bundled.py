"""The weights that come with the package. Each is named by a number and never changes."""

from __future__ import annotations

from pathlib import Path

from singsong.models.weights import WeightsError

FIRST = "1"
"""What a spec without a source means, now and in later releases."""


def weights_path(kind: str, source: str | None) -> Path:
    """Returns the file that a source names.

    Args:
        kind: "acoustic" or "semantic".
        source: The number of bundled weights, a safetensors file, or None for the first weights.

    Raises:
        WeightsError: No bundled weights have that number.

    >>> weights_path("acoustic", None).name, weights_path("acoustic", "./1").name
    ('acoustic-1.safetensors', '1')
    """
    source = source or FIRST
    if not source.isdecimal():
        return Path(source)
    path = Path(__file__).with_name(f"{kind}-{source}.safetensors")
    if not path.is_file():
        known = sorted(file.stem.removeprefix(f"{kind}-") for file in path.parent.glob(f"{kind}-*"))
        raise WeightsError(
            f"this version of singsong has the lite {kind} weights {known}, not {source!r}: "
            "a later version may have them"
        )
    return path
