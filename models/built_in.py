"""The models that this package has by name, and how each is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Parser: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """How to make a model.

    Attributes:
        make: Takes the source, the options, device, dtype and batch_clips.
        options: Name of each option to what parses it; None takes any option as text.
    """

    make: Callable[..., Any]
    options: Mapping[str, Parser] | None = field(default_factory=dict)


def _spleeter(source: str | None, **where: Any) -> Any:
    from singsong.models.spleeter import SpleeterSeparator

    return SpleeterSeparator(source, **where)


def _demucs(source: str | None, **settings: Any) -> Any:
    from singsong.models.htdemucs import DemucsSeparator

    return DemucsSeparator(source, **settings)


def _mdx(source: str | None, **settings: Any) -> Any:
    from singsong.models.mdx import MdxSeparator

    return MdxSeparator(source, **settings)


def _lite_acoustic(source: str | None, coarse: int | None = None, **_where: Any) -> Any:
    from singsong.models.lite.acoustic import LiteAcousticCodec

    return LiteAcousticCodec.load(source, coarse_codebooks=coarse)


def _lite_semantic(source: str | None, **_where: Any) -> Any:
    from singsong.models.lite.semantic import LiteSemanticEncoder

    return LiteSemanticEncoder.load(source)


def _dac(source: str | None, coarse: int | None = None, **where: Any) -> Any:
    from singsong.models.dac import DacCodec

    return DacCodec(source, coarse_codebooks=coarse, **where)


def _encodec(source: str | None, coarse: int | None = None, **settings: Any) -> Any:
    from singsong.models.encodec import EncodecCodec

    return EncodecCodec(source, coarse_codebooks=coarse, **settings)


def _lyra(source: str | None, coarse: int | None = None, pack: int = 2, **_where: Any) -> Any:
    from singsong.models.lyra import LyraCodec

    return LyraCodec(source, pack=pack, coarse_codebooks=coarse)


def _features(kind: str) -> Callable[..., Any]:
    def make(source: str | None, codebook: str | None = None, **settings: Any) -> Any:
        del codebook  # it is what will be fitted
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

ADAPTERS: dict[str, dict[str, Adapter]] = {
    "separator": {
        "demucs": Adapter(make=_demucs, options={"overlap": float, "shifts": int}),
        "mdx": Adapter(
            make=_mdx, options={"stem": str, "n_fft": int, "compensate": float, "table": str}
        ),
        "spleeter": Adapter(make=_spleeter),
    },
    "acoustic": {
        "dac": Adapter(make=_dac, options={"coarse": int}),
        "encodec": Adapter(make=_encodec, options={"bandwidth": float, "coarse": int}),
        "lite": Adapter(make=_lite_acoustic, options={"coarse": int}),
        "lyra": Adapter(make=_lyra, options={"coarse": int, "pack": int}),
    },
    "semantic": {
        "hubert": Adapter(make=_ssl("hubert"), options=_SSL_OPTIONS),
        "lite": Adapter(make=_lite_semantic),
        "w2v-bert": Adapter(make=_ssl("w2v-bert"), options=_SSL_OPTIONS),
    },
    "features": {
        "hubert": Adapter(make=_features("hubert"), options=_SSL_OPTIONS),
        "w2v-bert": Adapter(make=_features("w2v-bert"), options=_SSL_OPTIONS),
    },
}
