"""The three kinds of model the pipeline needs, and all it knows about them.

Each adapter is one file that hides one library behind one of these protocols. Nothing outside
`models/` may assume a frame rate, a number of codebooks or a batch size: the adapter states them.

An adapter takes any number of clips, and the result for a clip does not depend on the others: it
runs its network on one fixed batch shape (see `singsong.models.batching`). Whether an adapter keeps
this contract is checked by `singsong.models.conformance`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry


class Separator(Protocol):
    """Separates the vocals from a mono mix.

    Attributes:
        sample_rate_hz: Sample rate of its input and output.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.
    """

    sample_rate_hz: int
    weights_sha256: str

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip: float32 [clips, samples], the shape of the mix."""
        ...


@runtime_checkable
class StereoSeparator(Separator, Protocol):
    """A separator that was trained on stereo, and can have both channels of a mix."""

    def separate_stereo(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip: float32 [clips, 2, samples], the shape of the mix."""
        ...


class AcousticCodec(Protocol):
    """Turns audio into residual codes and back.

    Attributes:
        geometry: Sample rate, frame rate, number and size of the codebooks.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.
    """

    geometry: AcousticGeometry
    weights_sha256: str

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes [clips, frames, codebooks] of audio [clips, samples] in [-1, 1]."""
        ...

    def decode(self, codes: CodeArray) -> FloatArray:
        """Returns audio [clips, frames x hop] of codes [clips, frames, k], k <= codebooks."""
        ...


class SemanticEncoder(Protocol):
    """Turns audio into one code per frame that describes content rather than sound quality.

    Attributes:
        geometry: Sample rate, frame rate and codebook size.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.
    """

    geometry: SemanticGeometry
    weights_sha256: str

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes [clips, frames] of audio [clips, samples] in [-1, 1]."""
        ...
