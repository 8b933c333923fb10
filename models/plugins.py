"""Models that other installed packages offer, found through entry points.

A package offers a model without a change here. In its `pyproject.toml`:

    [project.entry-points."singsong.acoustic_codecs"]
    mycodec = "my_package.codec:MyCodec"

After that, `singsong prepare --acoustic mycodec` and `singsong.load_model("acoustic", "mycodec")`
find it. The entry point names a class or a function that is called as

    MyCodec(source, device="cpu", dtype="float32", batch_clips=1, **options)

and returns what `singsong.models.protocols` describes. `source` is what follows the colon in the
spec, or None. Each further keyword parameter is an option of the spec (`mycodec:folder,layer=3`),
and its value comes as text. `singsong.models.conformance` checks the rest of the contract.

A package is imported only when a model of it is asked for. A name that is taken, by a built-in
model or by another package, is an error when it is asked for: a spec means one model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUPS: Mapping[str, str] = {
    "separator": "singsong.separators",
    "acoustic": "singsong.acoustic_codecs",
    "semantic": "singsong.semantic_encoders",
}
"""The entry-point group of each role."""

_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "separator": ("sample_rate_hz", "weights_sha256", "separate_vocals"),
    "acoustic": ("geometry", "weights_sha256", "encode", "decode"),
    "semantic": ("geometry", "weights_sha256", "encode"),
}
_PLACE = frozenset(("device", "dtype", "batch_clips"))


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A model of another package.

    Attributes:
        make: Takes the source, and the options, device, dtype and batch_clips as keywords.
        options: Names of the options; None where it takes any.
    """

    make: Callable[..., Any]
    options: frozenset[str] | None


def plugin_packages(role: str) -> list[tuple[str, str]]:
    """Returns each model that installed packages offer for a role: its name, and whose it is."""
    return sorted((entry.name, _package(entry)) for entry in _entries(role))


def find_plugin(role: str, name: str, *, built_in: Collection[str]) -> Plugin | None:
    """Returns the model that a package offers under a name; None if none does.

    Args:
        role: A role; one without a group, such as "features", has no plug-ins.
        name: The name in the spec.
        built_in: The names that this package itself has for the role.

    Raises:
        ValueError: The name is taken twice, or the package that offers it cannot be imported.
    """
    offers = [entry for entry in _entries(role) if entry.name == name]
    if not offers:
        return None
    packages = sorted(_package(entry) for entry in offers)
    if name in built_in:
        raise ValueError(
            f"the {role} model {name!r} is built in, and {' and '.join(packages)} offers another "
            "of that name: rename its entry point, or uninstall it"
        )
    if len(offers) > 1:
        raise ValueError(
            f"the {role} model {name!r} is offered by {' and '.join(packages)}: "
            "uninstall all but one"
        )
    return _loaded(role, offers[0])


def _entries(role: str) -> list[EntryPoint]:
    return list(entry_points(group=GROUPS[role])) if role in GROUPS else []


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _loaded(role: str, entry: EntryPoint) -> Plugin:
    origin = f"the {role} model {entry.name!r} of {_package(entry)}"
    try:
        factory = entry.load()
        parameters = inspect.signature(factory).parameters
    # Importing a stranger's package may raise anything; the error says whose it is.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{origin} cannot be imported ({reason})") from error

    def make(source: str | None, **settings: Any) -> Any:
        model = factory(source, **settings)
        missing = [member for member in _MEMBERS[role] if not hasattr(model, member)]
        if missing:
            raise ValueError(
                f"{origin} lacks {', '.join(missing)}: see singsong.models.protocols, and check "
                "it with singsong.models.conformance"
            )
        return model

    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    named = frozenset(name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY)
    return Plugin(make=make, options=None if takes_any else named - _PLACE)
