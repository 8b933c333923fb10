"""Demucs, hybrid Demucs and hybrid transformer Demucs, through the `demucs` package."""

from __future__ import annotations

import json

import torch
from demucs.apply import apply_model
from torch.nn import functional

from singsong.models.batching import in_fixed_batches
from singsong.models.demucs_checkpoints import load_bag
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.models.weights import WeightsError, tensors_sha256
from singsong.schemas.arrays import FloatArray

DEFAULT_SOURCE = "htdemucs"


class DemucsSeparator:
    """Separates vocals with Demucs models (`StereoSeparator`).

    The clip is cut into overlapping segments of the length used in training. Of a bag, only models
    with a weight for the vocals run.

    Attributes:
        sample_rate_hz: Rate of the audio it takes and gives.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.

    Args:
        source: See `singsong.models.demucs_checkpoints.load_bag`; None uses `DEFAULT_SOURCE`.
        overlap: Fraction of a segment that the next one also covers.
        shifts: How many shifts of the clip, by up to half a second, to average over; 0 separates it
            once, unshifted. The shifts are evenly spaced, where Demucs draws them at random.
        device: Where it runs.
        dtype: What the network computes in; spectra and statistics are float32.
        batch_clips: The fixed batch size. On a CPU, more than one is slower.

    Raises:
        ValueError: A setting is not allowed, or the machine lacks the device.
        WeightsError: The weights are missing, broken or unsafe, or have no vocals.

    Paper: 4.1, with a different separator.
    Default: the mono clip is copied to every channel, and the channels of the result are averaged.
    """

    def __init__(
        self,
        source: str | None = None,
        *,
        overlap: float = 0.25,
        shifts: int = 0,
        device: str = "cpu",
        dtype: str = "float32",
        batch_clips: int = 1,
    ) -> None:
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must be in [0, 1), found {overlap}")
        if shifts < 0:
            raise ValueError(f"shifts must be at least 0, found {shifts}")
        self._device = checked_device(device)
        self._dtype = checked_dtype(dtype)
        self._overlap = overlap
        self._shifts = shifts
        self._batch_clips = batch_clips
        bag = load_bag(source or DEFAULT_SOURCE)
        if "vocals" not in bag.sources:
            raise WeightsError(f"this Demucs model separates {bag.sources}, so no vocals")
        self.sample_rate_hz = int(bag.samplerate)
        self._channels = int(bag.audio_channels)
        self._vocals = bag.sources.index("vocals")
        self._models = [
            (model.eval(), float(weights[self._vocals]))
            for model, weights in zip(bag.models, bag.weights, strict=True)
            if weights[self._vocals]
        ]
        self.weights_sha256 = self._digest()
        for model, _ in self._models:
            model.to(self._device)

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip.

        Args:
            mix: float32 [clips, samples] at `sample_rate_hz`.

        Returns:
            float32 [clips, samples].

        Raises:
            ValueError: The mix is not [clips, samples], or there is no clip.
        """
        return in_fixed_batches(self._run, mix, batch_clips=self._batch_clips)

    def separate_stereo(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip, normalised by its mono mix as `demucs.api` does.

        Args:
            mix: float32 [clips, 2, samples] at `sample_rate_hz`.

        Returns:
            float32 [clips, 2, samples].

        Raises:
            ValueError: The mix is not [clips, 2, samples], there is no clip, or the models take
                another number of channels.
        """
        if self._channels != 2:
            raise ValueError(f"this Demucs model takes {self._channels} channels, found 2")
        return in_fixed_batches(self._run_stereo, mix, batch_clips=self._batch_clips, channels=2)

    @torch.inference_mode()
    def _run(self, mix: FloatArray) -> FloatArray:
        audio = on_device(mix, self._device)
        mean, std = _level(audio)
        channels = ((audio - mean) / std)[:, None].expand(-1, self._channels, -1)
        vocals = self._separate_normalised(channels)
        result: FloatArray = (vocals.mean(dim=1) * std + mean).cpu().numpy()
        return result

    @torch.inference_mode()
    def _run_stereo(self, mix: FloatArray) -> FloatArray:
        audio = on_device(mix, self._device)
        mean, std = (value[:, None] for value in _level(audio.mean(dim=1)))
        vocals = self._separate_normalised((audio - mean) / std)
        result: FloatArray = (vocals * std + mean).cpu().numpy()
        return result

    def _separate_normalised(self, channels: torch.Tensor) -> torch.Tensor:
        """Returns the vocals [clips, channels, samples] that all models find together."""
        bfloat16 = self._dtype == torch.bfloat16
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16):
            vocals = sum(weight * self._separate(model, channels) for model, weight in self._models)
        return vocals / sum(weight for _, weight in self._models)

    def _separate(self, model: torch.nn.Module, channels: torch.Tensor) -> torch.Tensor:
        """Returns the vocals [clips, channels, samples] that one model finds."""
        if not self._shifts:
            return self._separate_once(model, channels)
        longest, samples = self.sample_rate_hz // 2, channels.shape[2]
        padded = functional.pad(channels, (longest, longest))
        total = torch.zeros_like(channels, dtype=torch.float32)
        for number in range(self._shifts):
            start = longest * number // self._shifts
            vocals = self._separate_once(model, padded[:, :, start : longest + samples])
            total += vocals[:, :, longest - start :]
        return total / self._shifts

    def _separate_once(self, model: torch.nn.Module, channels: torch.Tensor) -> torch.Tensor:
        separated = apply_model(model, channels, shifts=0, split=True, overlap=self._overlap)
        vocals: torch.Tensor = separated[:, self._vocals].float()
        return vocals

    def _digest(self) -> str:
        made_by = [
            [type(model).__name__, model._init_args_kwargs, str(model.segment), weight]
            for model, weight in self._models
        ]
        settings = {
            "models": json.loads(json.dumps(made_by, default=str)),
            "overlap": self._overlap,
        }
        if self._shifts:
            settings["shifts"] = self._shifts
        tensors = {
            f"{index}.{name}": tensor
            for index, (model, _) in enumerate(self._models)
            for name, tensor in model.state_dict().items()
        }
        return tensors_sha256(tensors, settings=settings)


def _level(audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean and standard deviation [clips, 1] of audio [clips, samples]."""
    return audio.mean(dim=1, keepdim=True), audio.std(dim=1, keepdim=True) + 1e-8
