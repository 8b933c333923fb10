"""What a worker image says of itself in its labels, so that a wrong one is found before a job.

    $ docker build --tag singsong:unlabelled .
    $ echo "FROM singsong:unlabelled" | docker build --tag $IMAGE \
        $(docker run --rm --entrypoint python singsong:unlabelled \
            -m singsong.runners.image_labels) -

prints the labels as flags of `docker build`, as they hold where it runs: best in the image itself.
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

_WORKER_ROOMS = (
    *("schemas", "storage", "audio", "models", "dataset", "training", "generation"),
    *("transforms", "runners"),
)
_LOADERS: Mapping[str, Callable[..., Any]] = {
    "acoustic": load_acoustic,
    "semantic": load_semantic,
    "separator": load_separator,
}


def software_labels() -> dict[str, str]:
    """Returns the labels of the code, Python and Beam that run here."""
    return {
        VERSION_LABEL: f"{_package_version()}+{_source_digest()[:12]}",
        PYTHON_LABEL: f"{sys.version_info.major}.{sys.version_info.minor}",
        BEAM_LABEL: version("apache-beam"),
    }


def format_weights(weights: Iterable[tuple[str, str]]) -> str:
    """Returns the label of baked-in weights: no character of it means anything to a shell.

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
    """Returns the labels of an image that is like this machine.

    Args:
        models: Role and spec of each model that is baked in; they are loaded for their hashes.

    Raises:
        ValueError: A role is unknown, or a model cannot be loaded.
    """
    weights = []
    for role, spec in models:
        if role not in _LOADERS:
            raise ValueError(f"a role is one of {sorted(_LOADERS)}, found {role!r}")
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


def _source_digest() -> str:
    """Names the code that workers import: a version number alone does not change with it."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for room in _WORKER_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
