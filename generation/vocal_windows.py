"""Windows of vocals as the accompaniment model reads them: codes, with the noise of training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from singsong.audio.noise import add_noise
from singsong.audio.resample import resample
from singsong.generation.song_windows import WindowLayout, window_layout, window_starts
from singsong.models.protocols import AcousticCodec, SemanticEncoder
from singsong.schemas.arrays import FloatArray, TokenArray
from singsong.schemas.geometry import clip_samples
from singsong.training.featurization import Featurization
from singsong.training.provenance import Provenance

_TICKS_HZ = 1000
"""The length of vocals is rounded to this, so that a sample too many does not cost a window."""


@dataclass(frozen=True, kw_only=True)
class VocalWindows:
    """The windows of vocals, as a model was trained to read them.

    Attributes:
        provenance: What the model was trained on.
        acoustic: The codec of its dataset.
        semantic: The semantic encoder of its dataset.

    Paper: 6: windows of 10 s, 5 s apart.
    """

    provenance: Provenance[Featurization]
    acoustic: AcousticCodec
    semantic: SemanticEncoder

    @property
    def layout(self) -> WindowLayout:
        """The frames of a window of the instrumental."""
        return window_layout(self.provenance)

    @property
    def hop_seconds(self) -> float:
        """Time between the starts of windows: about half their length, in whole frames."""
        return self.layout.coarse_hop / self.acoustic.geometry.frame_rate_hz

    def count(self, samples: int, *, sample_rate_hz: int) -> int:
        """Returns the number of windows that cover vocals of a length."""
        acoustic = self.acoustic.geometry
        ticks = round(samples * _TICKS_HZ / sample_rate_hz)
        length = ticks * acoustic.sample_rate_hz // _TICKS_HZ
        window = clip_samples(self.provenance.clip_seconds, acoustic.sample_rate_hz)
        hop = self.layout.coarse_hop * acoustic.hop_samples
        return len(window_starts(max(1, length), window=window, hop=hop))

    def tokens(self, vocals: FloatArray, *, sample_rate_hz: int) -> TokenArray:
        """Returns what the model reads, int64 [windows, tokens].

        Args:
            vocals: float32 [samples].
            sample_rate_hz: Their rate.

        Raises:
            ValueError: The vocals are not [samples], empty or not finite.

        Paper: 3.4 and 4.5: the noise of training is added at inference, too.
        """
        _check(vocals)
        key = hashlib.sha256(vocals.tobytes()).hexdigest()
        rates_hz = [model.geometry.sample_rate_hz for model in (self.semantic, self.acoustic)]
        audio = {
            rate_hz: self._cut(vocals, from_hz=sample_rate_hz, to_hz=rate_hz, key=key)
            for rate_hz in set(rates_hz)
        }
        semantic, acoustic = (audio[rate_hz] for rate_hz in rates_hz)
        return self.provenance.source_tokens(
            semantic=self.semantic.encode(semantic), acoustic=self.acoustic.encode(acoustic)
        )

    def _cut(self, vocals: FloatArray, *, from_hz: int, to_hz: int, key: str) -> FloatArray:
        """Returns noisy windows of the vocals, float32 [windows, samples]."""
        windows = self.count(len(vocals), sample_rate_hz=from_hz)
        size = clip_samples(self.provenance.clip_seconds, to_hz)
        starts = [round(index * self.hop_seconds * to_hz) for index in range(windows)]
        padded = np.zeros(starts[-1] + size, np.float32)
        audio = resample(vocals, from_hz=from_hz, to_hz=to_hz)[: len(padded)]
        padded[: len(audio)] = audio
        encode = self.provenance.recipe.encode
        sigma = encode.noise_sigma if self.provenance.view.noisy else 0.0
        return np.stack(
            [
                add_noise(
                    padded[start : start + size],
                    sample_rate_hz=to_hz,
                    sigma=sigma,
                    seed=encode.noise_seed,
                    clip_id=f"{key} window {index}",
                )
                for index, start in enumerate(starts)
            ]
        )


def _check(vocals: FloatArray) -> None:
    if vocals.ndim != 1 or not len(vocals):
        raise ValueError(f"vocals must be [samples], found {list(vocals.shape)}")
    if not np.isfinite(vocals).all():
        raise ValueError("the vocals have samples that are NaN or infinite")
