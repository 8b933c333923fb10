"""Finds models by name and loads each once per process.

A name is built in, or belongs to another installed package: see `singsong.models.plugins`. The
library behind a model is imported when that model is asked for, so a pipeline that does not use it
starts without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from singsong.models.built_in import ADAPTERS, Adapter, Parser
from singsong.models.loaded import load_once
from singsong.models.plugins import find_plugin, plugin_packages
from singsong.schemas.extras import extra_needed
from singsong.schemas.recipe import ModelSpec

if TYPE_CHECKING:
    from singsong.models.protocols import AcousticCodec, SemanticEncoder, Separator
    from singsong.models.ssl_features import SslFeatures

MODEL_ROLES = ("separator", "acoustic", "semantic")


@overload
def load_model(
    role: Literal["separator"],
    spec: ModelSpec | str,
    *,
    device: str = ...,
    dtype: str = ...,
    batch_clips: int = ...,
) -> Separator: ...
@overload
def load_model(
    role: Literal["acoustic"],
    spec: ModelSpec | str,
    *,
    device: str = ...,
    dtype: str = ...,
    batch_clips: int = ...,
) -> AcousticCodec: ...
@overload
def load_model(
    role: Literal["semantic"],
    spec: ModelSpec | str,
    *,
    device: str = ...,
    dtype: str = ...,
    batch_clips: int = ...,
) -> SemanticEncoder: ...
@overload
def load_model(
    role: Literal["acoustic", "semantic"],
    spec: ModelSpec | str,
    *,
    device: str = ...,
    dtype: str = ...,
    batch_clips: int = ...,
) -> AcousticCodec | SemanticEncoder: ...
def load_model(
    role: str,
    spec: ModelSpec | str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    batch_clips: int = 1,
) -> Separator | AcousticCodec | SemanticEncoder:
    """Returns the model that a spec names; the second call in a process returns the same one.

    Calls `singsong.models.devices.set_numerics`, since codes may not depend on the process.

    Args:
        role: "separator", "acoustic" or "semantic".
        spec: Name, source and options, as the command line takes them:
            `NAME[:SOURCE][,KEY=VALUE...]`.
        device: As for `load_separator`.
        dtype: As for `load_separator`.
        batch_clips: As for `load_separator`.

    Raises:
        ValueError: The role is unknown, or as for `load_separator`.
        MissingLibraryError: The library behind the model is not installed.

    >>> import singsong
    >>> codec = singsong.load_model("acoustic", "lite,coarse=2")
    >>> codec.geometry.frame_rate_hz, codec.geometry.coarse_codebooks
    (50.0, 2)
    """
    if role not in MODEL_ROLES:
        raise ValueError(f"role must be one of {MODEL_ROLES}, found {role!r}")
    if isinstance(spec, str):
        spec = ModelSpec.parse(spec)
    from singsong.models.devices import set_numerics

    model: Separator | AcousticCodec | SemanticEncoder = _load(
        role, spec, device=device, dtype=dtype, batch_clips=batch_clips
    )
    set_numerics()
    return model


def load_separator(spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> Separator:
    """Returns the separator that a spec names.

    Args:
        spec: Name, source and options: "spleeter", "mdx", "demucs", or a plug-in.
        device: "cpu", "cuda" or "cuda:<index>".
        dtype: "float32" or "bfloat16".
        batch_clips: The fixed batch size of the network.

    Raises:
        ValueError: The name or an option is unknown or wrong, the weights are missing or unsafe,
            the machine lacks the device, or the plug-in that has the name is broken.
    """
    separator: Separator = _load(
        "separator", spec, device=device, dtype=dtype, batch_clips=batch_clips
    )
    return separator


def load_acoustic(spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> AcousticCodec:
    """Returns the acoustic codec that a spec names.

    Args:
        spec: "lite" or "dac" with `coarse`, "encodec" also with `bandwidth`, "lyra" also with
            `pack`, or a plug-in.
        device: As for `load_separator`.
        dtype: As for `load_separator`.
        batch_clips: As for `load_separator`.

    Raises:
        ValueError: As for `load_separator`.
    """
    codec: AcousticCodec = _load(
        "acoustic", spec, device=device, dtype=dtype, batch_clips=batch_clips
    )
    return codec


def load_semantic(spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> SemanticEncoder:
    """Returns the semantic encoder that a spec names.

    Args:
        spec: "lite", or "w2v-bert" or "hubert" with `codebook` and `layer`.
        device: As for `load_separator`.
        dtype: As for `load_separator`.
        batch_clips: As for `load_separator`.

    Raises:
        ValueError: As for `load_separator`, or the codebook is not named.
    """
    encoder: SemanticEncoder = _load(
        "semantic", spec, device=device, dtype=dtype, batch_clips=batch_clips
    )
    return encoder


def load_ssl_features(spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> SslFeatures:
    """Returns the features that the codebook of a spec is, or is to be, fitted on.

    Args:
        spec: "w2v-bert" or "hubert" with `layer`; a `codebook` is not read.
        device: As for `load_separator`.
        dtype: As for `load_separator`.
        batch_clips: As for `load_separator`.

    Raises:
        ValueError: As for `load_separator`.
    """
    features: SslFeatures = _load(
        "features", spec, device=device, dtype=dtype, batch_clips=batch_clips
    )
    return features


def make_model(role: str, spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> Any:
    """Returns a new instance of a model, for whoever compares two or lets it go again.

    Args:
        role: As for `load_model`, or "features": see `load_ssl_features`.
        spec: Name, source and options.
        device: As for `load_separator`.
        dtype: As for `load_separator`.
        batch_clips: As for `load_separator`.

    Raises:
        ValueError: As for `load_separator`.
        MissingLibraryError: The library behind the model is not installed.
    """
    if batch_clips < 1:
        raise ValueError(f"batch_clips must be at least 1, found {batch_clips}")
    with extra_needed("prepare", by=f"the {role} model {spec.name}"):
        adapter = _adapter(role, spec.name)
        return adapter.make(
            spec.source,
            device=device,
            dtype=dtype,
            batch_clips=batch_clips,
            **_parsed(spec, adapter.options),
        )


def check_spec(role: str, spec: ModelSpec) -> None:
    """Checks the name and the options of a spec, and loads no model.

    Raises:
        ValueError: The name or an option is unknown or wrong.
    """
    _parsed(spec, _adapter(role, spec.name).options)


def _load(role: str, spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> Any:
    where: dict[str, Any] = {"device": device, "dtype": dtype, "batch_clips": batch_clips}
    return load_once((role, spec, *where.values()), lambda: make_model(role, spec, **where))


def _adapter(role: str, name: str) -> Adapter:
    built_in = ADAPTERS[role]
    plugin = find_plugin(role, name, built_in=built_in)
    if plugin is not None:
        options = None if plugin.options is None else dict.fromkeys(plugin.options, str)
        return Adapter(make=plugin.make, options=options)
    if name not in built_in:
        known = sorted({*built_in, *(plugin for plugin, _ in plugin_packages(role))})
        raise ValueError(f"{role} must be one of {known}, found {name!r}")
    return built_in[name]


def _parsed(spec: ModelSpec, known: Mapping[str, Parser] | None) -> dict[str, Any]:
    if known is None:
        return dict(spec.options)
    options = {}
    for key, text in spec.options:
        if key not in known:
            raise ValueError(f"options of {spec.name} are {sorted(known)}, found {key!r}")
        try:
            options[key] = known[key](text)
        except ValueError:
            kind = known[key].__name__
            raise ValueError(f"{key} of {spec.name} must be {kind}, found {text!r}") from None
    return options
