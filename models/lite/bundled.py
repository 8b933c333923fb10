"""The weights that come with the package. Each is named by a number and never changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from singsong.models.weights import WeightsError
from singsong.schemas.recipe import ModelSpec

NEWEST = {"acoustic": "2", "semantic": "1"}
"""What a spec without a source means; a later release may bring newer ones. A dataset and a
checkpoint keep the hash of their weights, by which `numbered` finds those of before."""

ACOUSTIC_NUMBERS = {
    "bc0929dd758e6e4e6f4f2d370db05cab1749acc83f66e7f44f6ca13fc584189b": "1",
    "03accf82799a96bdf5ad28545ba1875cc533554808ff5142115ce1aee1c15f12": "2",
}
"""The number of the bundled acoustic weights with each hash."""


def weights_path(kind: str, source: str | None) -> Path:
    """Returns the file that a source names.

    Args:
        kind: "acoustic" or "semantic".
        source: The number of bundled weights, a safetensors file, or None for the newest.

    Raises:
        WeightsError: No bundled weights have that number.

    >>> weights_path("acoustic", None).name, weights_path("acoustic", "./1").name
    ('acoustic-2.safetensors', '1')
    """
    source = source or NEWEST[kind]
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


def numbered(acoustic: ModelSpec, *, weights_sha256: str) -> ModelSpec:
    """Returns the spec of a codec with the number of the bundled weights that have a hash.

    A recipe that was stored names no source: the hash beside it says which weights it means.

    Args:
        acoustic: The codec; returned as it is if it has a source, or if no bundled weights have
            the hash.
        weights_sha256: The hash of its weights.

    >>> first = "bc0929dd758e6e4e6f4f2d370db05cab1749acc83f66e7f44f6ca13fc584189b"
    >>> str(numbered(ModelSpec.parse("lite"), weights_sha256=first))
    'lite:1'
    """
    if acoustic.name != "lite" or acoustic.source is not None:
        return acoustic
    return replace(acoustic, source=ACOUSTIC_NUMBERS.get(weights_sha256))
