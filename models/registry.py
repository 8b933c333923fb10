"""Models by name, each loaded once per process.

An adapter's library is imported when a model of it is asked for, so that a pipeline which uses none
of them starts without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from singsong.models.loaded import load_once
from singsong.models.protocols import AcousticCodec, SemanticEncoder, Separator
from singsong.schemas.recipe import ModelSpec

if TYPE_CHECKING:
    from singsong.models.ssl_features import SslFeatures

Parser: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class _Adapter:
    """How a model is made.

    Attributes:
        make: Takes the source, the options, device, dtype and batch_clips.
        options: Name of each option to what parses it.
    """

    make: Callable[..., Any]
    options: Mapping[str, Parser] = field(default_factory=dict)


def load_separator(spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> Separator:
    """Returns the separator that a spec names.

    Args:
        spec: Name, source and options: "spleeter", or "demucs" with `overlap`.
        device: "cpu", "cuda" or "cuda:<index>".
        dtype: "float32" or "bfloat16".
        batch_clips: The one batch size.

    Raises:
        ValueError: The name or an option is unknown or wrong, the weights are missing or unsafe, or
            the machine lacks the device.
    """
    separator: Separator = _load(
        "separator", spec, device=device, dtype=dtype, batch_clips=batch_clips
    )
    return separator


def load_acoustic(spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> AcousticCodec:
    """Returns the acoustic codec that a spec names: "lite" or "dac", with `coarse`.

    Args:
        spec: Name, source and options.
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


def _spleeter(source: str | None, **where: Any) -> Any:
    from singsong.models.spleeter import SpleeterSeparator

    return SpleeterSeparator(source, **where)


def _demucs(source: str | None, **settings: Any) -> Any:
    from singsong.models.htdemucs import DemucsSeparator

    return DemucsSeparator(source, **settings)


def _lite_acoustic(source: str | None, coarse: int | None = None, **_where: Any) -> Any:
    from singsong.models.lite.acoustic import LiteAcousticCodec

    return LiteAcousticCodec.load(source, coarse_codebooks=coarse)


def _lite_semantic(source: str | None, **_where: Any) -> Any:
    from singsong.models.lite.semantic import LiteSemanticEncoder

    return LiteSemanticEncoder.load(source)


def _dac(source: str | None, coarse: int | None = None, **where: Any) -> Any:
    from singsong.models.dac import DacCodec

    return DacCodec(source, coarse_codebooks=coarse, **where)


def _features(kind: str) -> Callable[..., Any]:
    def make(source: str | None, codebook: str | None = None, **settings: Any) -> Any:
        del codebook  # the one that is to be fitted
        from singsong.models.ssl_features import SslFeatures

        return SslFeatures(kind, source, **settings)

    return make


def _ssl(kind: str) -> Callable[..., Any]:
    def make(source: str | None, codebook: str | None = None, **settings: Any) -> Any:
        if codebook is None:
            raise ValueError(
                f"{kind} needs the option codebook=<file>.safetensors, a codebook fitted on the "
                "same layer"
            )
        from singsong.models.ssl_encoder import SslSemanticEncoder
        from singsong.models.ssl_features import SslFeatures

        return SslSemanticEncoder(SslFeatures(kind, source, **settings), codebook=codebook)

    return make


_SSL_OPTIONS: dict[str, Parser] = {"codebook": str, "layer": int}

_ADAPTERS: dict[str, dict[str, _Adapter]] = {
    "separator": {
        "demucs": _Adapter(make=_demucs, options={"overlap": float}),
        "spleeter": _Adapter(make=_spleeter),
    },
    "acoustic": {
        "dac": _Adapter(make=_dac, options={"coarse": int}),
        "lite": _Adapter(make=_lite_acoustic, options={"coarse": int}),
    },
    "semantic": {
        "hubert": _Adapter(make=_ssl("hubert"), options=_SSL_OPTIONS),
        "lite": _Adapter(make=_lite_semantic),
        "w2v-bert": _Adapter(make=_ssl("w2v-bert"), options=_SSL_OPTIONS),
    },
    "features": {
        "hubert": _Adapter(make=_features("hubert"), options=_SSL_OPTIONS),
        "w2v-bert": _Adapter(make=_features("w2v-bert"), options=_SSL_OPTIONS),
    },
}


def _load(role: str, spec: ModelSpec, *, device: str, dtype: str, batch_clips: int) -> Any:
    adapters = _ADAPTERS[role]
    if spec.name not in adapters:
        raise ValueError(f"{role} must be one of {sorted(adapters)}, found {spec.name!r}")
    if batch_clips < 1:
        raise ValueError(f"batch_clips must be at least 1, found {batch_clips}")
    options = _parsed(spec, adapters[spec.name].options)
    return load_once(
        (role, spec, device, dtype, batch_clips),
        lambda: adapters[spec.name].make(
            spec.source, device=device, dtype=dtype, batch_clips=batch_clips, **options
        ),
    )


def _parsed(spec: ModelSpec, known: Mapping[str, Parser]) -> dict[str, Any]:
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
