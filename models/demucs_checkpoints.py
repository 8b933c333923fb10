"""Reads Demucs models from a folder, the Hugging Face hub or Meta's server, without pickles.

The loaders of the `demucs` package unpickle whatever a `.th` file holds and import whatever class a
`.safetensors` file names. This module builds only the three model classes of Demucs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml
from demucs.apply import BagOfModels
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
from demucs.htdemucs import HTDemucs
from demucs.pretrained import REMOTE_ROOT, ROOT_URL
from demucs.states import load_model
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError, safe_open

from singsong.models.weights import WeightsError, load_safely
from singsong.storage import is_machine_trouble

MODEL_CLASSES = (HTDemucs, HDemucs, Demucs)
_CLASS_BY_NAME = {f"{klass.__module__}.{klass.__name__}": klass for klass in MODEL_CLASSES}
_SUFFIXES = (".safetensors", ".th")

_logger = logging.getLogger(__name__)


def load_bag(source: str) -> BagOfModels:
    """Returns the models that a name or path denotes, with their weights for each source.

    Args:
        source: A `.yaml` bag, a `.th` or `.safetensors` file, or a folder with exactly one bag or,
            without a bag, one model; otherwise the name of a published model, such as "htdemucs" or
            "<hub user>/<name>".

    Raises:
        WeightsError: Nothing is found, a file is broken or unsafe, or a model needs `diffq`.
    """
    path = Path(source)
    if path.is_dir():
        path = _only_model_in(path)
    if path.suffix in _SUFFIXES and path.is_file():
        return BagOfModels([load_one(path)])
    if path.suffix == ".yaml" and path.is_file():
        return _bag(path, lambda signature: _file_of(signature, path.parent))
    if path.suffix in {".yaml", *_SUFFIXES} or path.is_absolute() or source.startswith("."):
        raise WeightsError(f"no Demucs model at {source}: put one there, or name a published one")
    return _published(source)


def load_one(path: Path) -> torch.nn.Module:
    """Returns one model from a `.th` package or a `.safetensors` file of Demucs.

    Raises:
        WeightsError: The file is missing, broken or unsafe, or the model needs `diffq`.
    """
    package = _safetensors_package(path) if path.suffix == ".safetensors" else _th_package(path)
    if package["klass"] not in MODEL_CLASSES:
        raise WeightsError(f"{path} names the class {package['klass']}, which is not Demucs's")
    if package["state"].get("__quantized"):
        raise WeightsError(f"{path} is quantised by diffq: take the same model without _q")
    try:
        model: torch.nn.Module = load_model(package)
    except (RuntimeError, TypeError) as error:
        raise WeightsError(f"the tensors of {path} are not those of its model: {error}") from error
    return model


def _th_package(path: Path) -> dict[str, Any]:
    package = load_safely(path, allowed=[*MODEL_CLASSES, Fraction])
    if not isinstance(package, dict) or not {"klass", "args", "kwargs", "state"} <= set(package):
        raise WeightsError(f"{path} is not a Demucs model package")
    return package


def _safetensors_package(path: Path) -> dict[str, Any]:
    state = load_safely(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error
    if not {"klass", "args", "kwargs"} <= set(metadata):
        raise WeightsError(f"{path} does not say which Demucs model it holds")
    if "structure" in metadata:
        raise WeightsError(f"{path} is quantised by diffq: take the same model without _q")
    return {
        "klass": _CLASS_BY_NAME.get(metadata["klass"], metadata["klass"]),
        "args": json.loads(metadata["args"], object_hook=_fraction),
        "kwargs": json.loads(metadata["kwargs"], object_hook=_fraction),
        "state": state,
    }


def _fraction(value: dict[str, Any]) -> Any:
    if value.get("_type") == "fraction":
        return Fraction(value["numerator"], value["denominator"])
    return value


def _bag(path: Path, file_of: Callable[[str], Path]) -> BagOfModels:
    """Returns the models of a bag, with its weights for each source and its segment."""
    bag = _read_bag(path)
    models = [load_one(file_of(signature)) for signature in bag["models"]]
    return BagOfModels(models, bag.get("weights"), bag.get("segment"))


def _read_bag(path: Path) -> dict[str, Any]:
    """Returns what a YAML file says of a bag: model signatures, weights, segment."""
    bag = yaml.safe_load(path.read_text())
    if not isinstance(bag, dict) or not bag.get("models"):
        raise WeightsError(f"{path} is not a bag of Demucs models")
    return bag


def _only_model_in(folder: Path) -> Path:
    files = sorted(folder.iterdir())
    for suffixes in ((".yaml",), _SUFFIXES):
        found = [file for file in files if file.suffix in suffixes]
        if len(found) == 1:
            return found[0]
        if found:
            names = [file.name for file in found]
            raise WeightsError(f"{folder} holds {names}: give one of these files as the source")
    raise WeightsError(f"{folder} holds no Demucs model: neither .yaml, .th nor .safetensors")


def _file_of(signature: str, folder: Path) -> Path:
    """Returns the file `<signature>[-<start of its sha256>].<suffix>`; checks the sha256."""
    files = sorted(folder.iterdir())
    found = [f for f in files if f.suffix in _SUFFIXES and f.stem.split("-")[0] == signature]
    if len(found) != 1:
        raise WeightsError(
            f"{folder} must hold one model named {signature}, found {[f.name for f in found]}"
        )
    _, _, expected = found[0].stem.partition("-")
    if expected and not hashlib.sha256(found[0].read_bytes()).hexdigest().startswith(expected):
        raise WeightsError(f"{found[0]} does not have the sha256 in its name: download it again")
    return found[0]


def published_files(name: str, *, download: bool = True) -> list[Path]:
    """Returns the files of a published model, on this machine: first the bag's, if it is a bag.

    They come from the Hugging Face hub or, if that has no such model, from Meta's server, whose
    file names hold the start of their sha256.

    Args:
        name: As for `load_bag`.
        download: Whether to download what is missing.

    Raises:
        WeightsError: There is no such model, or no network, or a file is missing and may not be
            downloaded.
    """
    try:
        return _from_hub(name, download=download)
    except (OSError, HTTPError) as error:
        _logger.info("no Demucs model %s from the hub (%s), trying Meta's server", name, error)
    try:
        return _from_server(name, download=download)
    # torch raises a RuntimeError for a file with another sha256, and keeps nothing of it.
    except (OSError, RuntimeError) as error:
        if is_machine_trouble(error):
            raise
        raise WeightsError(
            f"cannot download the Demucs model {name!r} ({error}): put its .yaml and .safetensors "
            "or .th files in a folder and give that as the source"
        ) from error


def _published(name: str) -> BagOfModels:
    first, *models = published_files(name)
    if first.suffix != ".yaml":
        return BagOfModels([load_one(first)])
    by_signature = {file.stem.split("-")[0]: file for file in models}
    return _bag(first, by_signature.__getitem__)


def _signatures(bag: Path) -> list[str]:
    """Returns the models of a bag, each once."""
    return list(dict.fromkeys(_read_bag(bag)["models"]))


def _from_hub(name: str, *, download: bool) -> list[Path]:
    namespace, _, short = name.rpartition("/")
    repo = f"{namespace or DEFAULT_NAMESPACE}/{hf_repo_name(short)}"

    def file_of(file: str) -> Path:
        return Path(hf_hub_download(repo, file, local_files_only=not download))

    bag = file_of(f"{short}.yaml")
    return [bag, *(file_of(f"{signature}.safetensors") for signature in _signatures(bag))]


def _from_server(name: str, *, download: bool) -> list[Path]:
    urls = _server_urls((REMOTE_ROOT / "files.txt").read_text())

    def file_of(signature: str) -> Path:
        if signature not in urls:
            raise WeightsError(f"no Demucs model is named {signature!r}")
        url = urls[signature]
        target = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
        if not target.exists():
            if not download:
                raise FileNotFoundError(f"{target} does not exist")
            target.parent.mkdir(parents=True, exist_ok=True)
            sha256_start = target.stem.partition("-")[2]
            progress = sys.stderr.isatty()
            torch.hub.download_url_to_file(url, str(target), sha256_start, progress=progress)
        return target

    bag = REMOTE_ROOT / f"{name}.yaml"
    if not bag.is_file():
        return [file_of(name)]
    return [bag, *(file_of(signature) for signature in _signatures(bag))]


def _server_urls(listing: str) -> dict[str, str]:
    """Returns the URL of each signature: file names, each below the last `root:` line above it."""
    urls, root = {}, ""
    for line in filter(None, map(str.strip, listing.splitlines())):
        if line.startswith("root:"):
            root = line.removeprefix("root:").strip()
        elif not line.startswith("#"):
            urls[line.split("-")[0]] = ROOT_URL + root + line
    return urls
