"""The three kinds of model the pipeline needs, and all it knows about them.

Every adapter is one file that hides one library behind one of these protocols. Nothing outside
`models/` may assume a frame rate, a number of codebooks or a batch size: the adapter says.

An adapter takes any number of clips and gives each of them the same result whatever the others
are: inside, it runs its network on one fixed batch shape (see `singsong.models.batching`).
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry

FloatArray: TypeAlias = npt.NDArray[np.float32]
CodeArray: TypeAlias = npt.NDArray[np.uint16]


class Separator(Protocol):
    """Splits vocals from a mono mix.

    Attributes:
        sample_rate_hz: Rate of the audio it takes and gives.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.
    """

    sample_rate_hz: int
    weights_sha256: str

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip: float32 [clips, samples], as the input is."""
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
        """Returns audio [clips, samples] of codes [clips, frames, k], k <= codebooks."""
        ...


class SemanticEncoder(Protocol):
    """Turns audio into one code per frame that says what sounds rather than how.

    Attributes:
        geometry: Sample rate, frame rate and codebook size.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.
    """

    geometry: SemanticGeometry
    weights_sha256: str

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes [clips, frames] of audio [clips, samples] in [-1, 1]."""
        ...
