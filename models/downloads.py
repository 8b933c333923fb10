"""Downloads what a model is loaded from, ahead of loading it, and says whether it is here."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HTTPError

from singsong.models.catalogue import KnownModel, Way, known_as
from singsong.models.weights import WeightsError
from singsong.schemas.recipe import ModelSpec
from singsong.storage import is_machine_trouble, sha256_of

_SETTINGS = ("config.json", "preprocessor_config.json")
_SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_TORCH = ("pytorch_model.bin",)
"""Read where a repository has no safetensors."""


def model_files(role: str, spec: ModelSpec) -> list[Path]:
    """Returns the files that a model is loaded from, and downloads those that are not here.

    A download that breaks off is resumed where the server can, and no part of it gets the name of
    the whole. A file whose publisher states a sha256 has it.

    Args:
        role: "separator", "acoustic" or "semantic".
        spec: Name, source and options.

    Returns:
        The files; none where they are the user's own, or belong to an installed package.

    Raises:
        WeightsError: There is no such model, or no network, or the user has to get it by hand.
    """
    known = known_as(role, spec)
    if known is None or known.way is Way.PACKAGE or is_local(spec):
        return []
    if known.way is Way.HAND:
        raise WeightsError(
            f"{spec} is not there and must be fetched by hand: {known.origin}; then name it as "
            f"{known.spec}"
        )
    source = spec.source or ModelSpec.parse(known.spec).source or ""
    if Path(source).is_absolute() or source.startswith("."):
        raise WeightsError(f"there is no {source}: check the path, or name a published model")
    if known.way is Way.DEMUCS:
        from singsong.models.demucs_checkpoints import published_files

        return [_checked(path) for path in published_files(source)]
    return _hub_files(source)


def is_local(spec: ModelSpec) -> bool:
    """Returns whether the source of a spec is a file or folder of this machine."""
    return spec.source is not None and Path(spec.source).exists()


def is_here(model: KnownModel) -> bool:
    """Returns whether a known model can be loaded from this machine's disk alone."""
    if model.way is Way.PACKAGE:
        return find_spec(model.origin) is not None
    source = ModelSpec.parse(model.spec).source or ""
    if model.way is Way.DEMUCS:
        from singsong.models.demucs_checkpoints import published_files

        try:
            return bool(published_files(source, download=False))
        except WeightsError:
            return False
    if model.way is Way.HUB:
        names = (_SETTINGS[0], _SAFETENSORS[0], _TORCH[0])
        config, *weights = (isinstance(try_to_load_from_cache(source, n), str) for n in names)
        return config and any(weights)
    return False


def _hub_files(source: str) -> list[Path]:
    try:
        folder = Path(snapshot_download(source, allow_patterns=[*_SETTINGS, *_SAFETENSORS]))
        if not any(folder.glob(_SAFETENSORS[0])) and not any(folder.glob(_SAFETENSORS[1])):
            snapshot_download(source, allow_patterns=[*_SETTINGS, *_TORCH])
    except (OSError, HTTPError, ValueError) as error:
        if is_machine_trouble(error):
            raise
        raise WeightsError(
            f"cannot download {source!r} ({_first_line(error)}): check the name and the network, "
            "or set HF_ENDPOINT to a mirror; without a network, give a folder that `singsong "
            "models fetch --to FOLDER` made elsewhere"
        ) from error
    patterns = (*_SETTINGS, *_SAFETENSORS, *_TORCH)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not any(path.suffix in (".safetensors", ".bin") for path in files):
        raise WeightsError(f"{source!r} on the hub holds neither {_SAFETENSORS[0]} nor {_TORCH[0]}")
    return [_checked(path) for path in files]


def _checked(path: Path) -> Path:
    """Returns a file of the hub's cache that has the sha256 which the hub states for it.

    The cache names a large file by its sha256, and `huggingface_hub` checks its size alone. Demucs
    checks its own names.
    """
    blob = path.resolve()
    stated = blob.name
    if not re.fullmatch(r"[0-9a-f]{64}", stated):
        return path
    found, _ = sha256_of(str(blob))
    if found != stated:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise WeightsError(
            f"{path.name} came with the sha256 {found[:12]}, and the hub states {stated[:12]}: it "
            "is removed; download it again"
        )
    return path


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
