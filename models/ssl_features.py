"""Hidden states of w2v-BERT 2.0 and HuBERT, through `transformers`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import (
    HubertModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertModel,
    Wav2Vec2FeatureExtractor,
)

from singsong.models.batching import in_fixed_batches
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.models.weights import load_extractor, load_pretrained, shaping_config, tensors_sha256
from singsong.schemas.arrays import FloatArray

POOLED = 2
"""States averaged into one frame: 50 Hz to 25 Hz."""


@dataclass(frozen=True, kw_only=True)
class SslKind:
    """One of the architectures.

    Attributes:
        model: The network's class.
        extractor: The class that turns audio into the network's input.
        source: Hub id of the default weights.
        layer: The default layer.
    """

    model: Any
    extractor: Any
    source: str
    layer: int


KINDS = {
    "w2v-bert": SslKind(
        model=Wav2Vec2BertModel,
        extractor=SeamlessM4TFeatureExtractor,
        source="facebook/w2v-bert-2.0",
        layer=7,
    ),
    "hubert": SslKind(
        model=HubertModel,
        extractor=Wav2Vec2FeatureExtractor,
        source="facebook/hubert-base-ls960",
        layer=9,
    ),
}


class SslFeatures:
    """One layer of a self-supervised encoder, at 25 frames per second.

    Attributes:
        sample_rate_hz: Rate of the audio it takes.
        hop_samples: Audio samples per frame.
        dimensions: Width of a frame.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.

    Args:
        kind: A key of `KINDS`.
        source: Hub id or local folder; None uses that of the kind.
        layer: The layer whose output is used, counted from 1; later ones are not computed. None
            uses that of the kind.
        device: Where it runs.
        dtype: What the network computes in.
        batch_clips: The fixed batch size.

    Raises:
        ValueError: A setting is not one of those possible, or the machine lacks the device.
        WeightsError: The weights are missing, broken or unsafe.

    Paper: 3.2, an intermediate layer of w2v-BERT.
    Default: the paper does not say which one; AudioLM uses layer 7 of w2v-BERT.
    """

    def __init__(
        self,
        kind: str,
        source: str | None = None,
        *,
        layer: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch_clips: int = 1,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {sorted(KINDS)}, found {kind!r}")
        self._device = checked_device(device)
        self._dtype = checked_dtype(dtype)
        self._batch_clips = batch_clips
        source = source or KINDS[kind].source
        layer = KINDS[kind].layer if layer is None else layer
        model = load_pretrained(KINDS[kind].model, source, optional=("masked_spec_embed",))
        layers = len(model.encoder.layers)
        if not 1 <= layer <= layers:
            raise ValueError(f"layer must be from 1 to {layers} for {source}, found {layer}")
        _stop_after(model, layer)
        extractor = load_extractor(KINDS[kind].extractor, source)
        self._input = (
            _WaveInput(extractor, model.config)
            if kind == "hubert"
            else _MelInput(extractor, self._device)
        )
        self.sample_rate_hz = int(extractor.sampling_rate)
        self.hop_samples = POOLED * self._input.stride_samples
        self.dimensions = int(model.config.hidden_size)
        settings = {
            "kind": kind,
            "layer": layer,
            "extractor": extractor.to_dict(),
            "config": shaping_config(model.config),
        }
        self.weights_sha256 = tensors_sha256(model.state_dict(), settings=settings)
        self._model = model.to(self._device, self._dtype)

    def features(self, audio: FloatArray) -> FloatArray:
        """Returns the layer's output, two states averaged to a frame.

        Args:
            audio: float32 [clips, samples] in [-1, 1].

        Returns:
            float32 [clips, frames, dimensions].

        Raises:
            ValueError: The audio is not [clips, samples], or there is no clip.
        """
        return in_fixed_batches(self._run, audio, batch_clips=self._batch_clips)

    @torch.inference_mode()
    def _run(self, audio: FloatArray) -> FloatArray:
        frames = -(-audio.shape[1] // self.hop_samples)
        # Each clip is prepared by itself, so that no statistic or length of another leaks into it.
        clips = on_device(audio, self._device)
        inputs = torch.stack([self._input(clip, frames * self.hop_samples) for clip in clips])
        states = self._model(
            inputs.to(self._dtype)
        ).last_hidden_state.float()  # [clips, 2 frames, dimensions]
        pooled = states.unflatten(1, (frames, POOLED)).mean(dim=2)
        result: FloatArray = pooled.cpu().numpy()
        return result


class _WaveInput:
    """HuBERT's input: the waveform, normalised where the model expects it.

    The convolutions see 400 samples for each step of 320. Padding each side with half of the
    difference gives one state per whole step, centred on it: 500 for 10 s, not 499.
    """

    def __init__(self, extractor: Any, config: Any) -> None:
        self._extractor = extractor
        self.stride_samples = math.prod(config.conv_stride)
        strides = [math.prod(config.conv_stride[:i]) for i in range(len(config.conv_kernel))]
        pairs = zip(config.conv_kernel, strides, strict=True)
        field = 1 + sum((kernel - 1) * stride for kernel, stride in pairs)
        self._margin = field - self.stride_samples

    def __call__(self, clip: torch.Tensor, samples: int) -> torch.Tensor:
        """Returns float32 [samples + margin] of a clip [at most samples]."""
        if self._extractor.do_normalize:
            clip = (clip - clip.mean()) / (clip.var(correction=0) + 1e-7).sqrt()
        return _centred(clip, samples=samples, margin=self._margin)


class _MelInput:
    """w2v-BERT's input: the log-mel spectrum of Kaldi, each band of zero mean and unit variance.

    This is what `SeamlessM4TFeatureExtractor` computes, but on the device and without its loop over
    frames, which takes longer than the network on a GPU. Margins are those of `_WaveInput`. Like
    the extractor it uses float64: in float32 the logarithm of weak bands differs between
    processors.
    """

    FRAME_SAMPLES = 400
    HOP_SAMPLES = 160
    FFT_SAMPLES = 512
    PREEMPHASIS = 0.97
    FLOOR = 1.192092955078125e-07

    def __init__(self, extractor: Any, device: torch.device) -> None:
        self._stacked = int(extractor.stride)
        self.stride_samples = self.HOP_SAMPLES * self._stacked
        self._window = torch.tensor(extractor.window, dtype=torch.float64, device=device)
        self._filters = torch.tensor(extractor.mel_filters, dtype=torch.float64, device=device)

    def __call__(self, clip: torch.Tensor, samples: int) -> torch.Tensor:
        """Returns float32 [samples / stride, stacked x bands] of a clip [at most samples]."""
        margin = self.FRAME_SAMPLES - self.HOP_SAMPLES
        audio = _centred(clip.double() * 2.0**15, samples=samples, margin=margin)
        frames = audio.unfold(0, self.FRAME_SAMPLES, self.HOP_SAMPLES)  # [frames, 400]
        frames = frames - frames.mean(dim=1, keepdim=True)
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        emphasised = (frames - self.PREEMPHASIS * before) * self._window
        power = torch.fft.rfft(emphasised, n=self.FFT_SAMPLES).abs().square()  # [frames, 257]
        mel = (power @ self._filters).clamp_min(self.FLOOR).log()  # [frames, bands]
        variance, mean = torch.var_mean(mel, dim=0)
        normal = (mel - mean) / (variance + 1e-7).sqrt()
        return normal.float().reshape(-1, self._stacked * mel.shape[1])


def _centred(clip: torch.Tensor, *, samples: int, margin: int) -> torch.Tensor:
    """Returns the clip padded to `samples`, with the margin split between both sides."""
    left = margin // 2
    return functional.pad(clip, (left, samples - len(clip) + margin - left))


def _stop_after(model: Any, layer: int) -> None:
    """Cuts the network off after a layer, so that its last hidden state is that layer's output."""
    model.encoder.layers = model.encoder.layers[:layer]
    if getattr(model.config, "do_stable_layer_norm", False):
        # This kind of HuBERT normalises after its last layer; no layer's output includes that.
        model.encoder.layer_norm = torch.nn.Identity()
    # w2v-BERT may have further layers after its encoder.
    if hasattr(model, "adapter"):
        model.adapter = model.intermediate_ffn = None
