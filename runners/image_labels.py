"""Labels that describe a worker image, so that a wrong image is found before a job starts.

    $ docker build --tag singsong:unlabelled .
    $ echo "FROM singsong:unlabelled" | docker build --tag $IMAGE \
        $(docker run --rm --entrypoint python singsong:unlabelled \
            -m singsong.runners.image_labels) -

prints the labels of the machine it runs on as flags of `docker build`: run it in the image itself.
Arguments are the models whose weights are baked in, as `role=NAME[:SOURCE][,KEY=VALUE...]`; without
any, those of the default recipe.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from singsong.models.registry import load_acoustic, load_semantic, load_separator
from singsong.schemas.recipe import EncodeRecipe, ModelSpec

VERSION_LABEL = "org.singsong.version"
PYTHON_LABEL = "org.singsong.python"
BEAM_LABEL = "org.singsong.beam"
WEIGHTS_LABEL = "org.singsong.weights"

_ROOT = Path(__file__).resolve().parents[1]
_NOT_INSTALLED = frozenset({"benchmarks", "docs", "examples", "tests"})
"""Folders of the repository that the installed package, and so the image, lacks."""

_LOADERS: Mapping[str, Callable[..., Any]] = {
    "acoustic": load_acoustic,
    "semantic": load_semantic,
    "separator": load_separator,
}


def software_labels() -> dict[str, str]:
    """Returns the labels of the code, Python and Beam of this machine."""
    return {
        VERSION_LABEL: f"{_package_version()}+{source_digest()[:12]}",
        PYTHON_LABEL: f"{sys.version_info.major}.{sys.version_info.minor}",
        BEAM_LABEL: version("apache-beam"),
    }


def format_weights(weights: Iterable[tuple[str, str]]) -> str:
    """Returns the label of baked-in weights, without any character that is special to a shell.

    Args:
        weights: Role and hex digest of each model; a role may come more than once.

    >>> format_weights([("semantic", "ef"), ("acoustic", "ab")])
    'acoustic=ab,semantic=ef'
    """
    return ",".join(sorted(f"{role}={digest}" for role, digest in weights))


def parse_weights(label: str) -> set[tuple[str, str]]:
    """Returns the role and digest of each model that a label names.

    >>> sorted(parse_weights("acoustic=ab,semantic=ef"))
    [('acoustic', 'ab'), ('semantic', 'ef')]
    """
    pairs = (item.partition("=") for item in label.split(",") if item)
    return {(role, digest) for role, _, digest in pairs}


def image_labels(models: Sequence[tuple[str, ModelSpec]]) -> Mapping[str, str]:
    """Returns the labels of an image that holds what this machine holds.

    Args:
        models: Role and spec of each model that is baked in; they are loaded for their hashes.

    Raises:
        ValueError: A role is unknown, or a model cannot be loaded.
    """
    weights = []
    for role, spec in models:
        if role not in _LOADERS:
            raise ValueError(f"a role must be one of {sorted(_LOADERS)}, found {role!r}")
        model = _LOADERS[role](spec, device="cpu", dtype="float32", batch_clips=1)
        weights.append((role, model.weights_sha256))
    return {**software_labels(), WEIGHTS_LABEL: format_weights(weights)}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the labels as flags of `docker build` and returns 0."""
    given = [item.partition("=") for item in (sys.argv[1:] if argv is None else argv)]
    models = [(role, ModelSpec.parse(spec)) for role, _, spec in given]
    for name, value in image_labels(models or _default_models()).items():
        print(f"--label {name}={value}")
    return 0


def _default_models() -> list[tuple[str, ModelSpec]]:
    recipe = EncodeRecipe()
    found = [(role, getattr(recipe, role)) for role in sorted(_LOADERS)]
    return [(role, spec) for role, spec in found if spec is not None]


def _package_version() -> str:
    try:
        return version("singsong")
    except PackageNotFoundError:
        return "from-source"


def source_digest(root: Path = _ROOT) -> str:
    """Returns a hex digest of the code of the whole package: a version number may lag behind it.

    Args:
        root: Folder of the package.
    """
    rooms = {path.parent for path in root.glob("*/__init__.py")}
    files = [*root.glob("__*__.py"), *(path for room in rooms for path in room.rglob("*.py"))]
    digest = hashlib.sha256()
    for path in sorted(files):
        name = path.relative_to(root)
        if name.parts[0] not in _NOT_INSTALLED:
            digest.update(name.as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
