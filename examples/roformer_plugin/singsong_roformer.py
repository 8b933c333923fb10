"""Mel-Band RoFormer as a separator of singsong: `melband-roformer:FILE.ckpt[,config=FILE.yaml]`."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import torch
import yaml
from mel_band_roformer import MelBandRoformer
from torch.nn import functional

from singsong.models.batching import in_fixed_batches
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.models.weights import WeightsError, load_safely, tensors_sha256
from singsong.schemas.arrays import FloatArray


class RoFormerSeparator:
    """Separates vocals with a Mel-Band RoFormer (`singsong.models.protocols.StereoSeparator`).

    The network always sees one clip, and of it `chunk_size` samples, as its configuration says. A
    shorter clip is padded with silence; a longer one is cut into chunks that overlap.

    Args:
        source: The checkpoint: tensors by name, a `.ckpt` of torch or `.safetensors`.
        config: Its configuration; without it, the `.yaml` of the same name beside it.
        device: Where it runs.
        dtype: What the network computes in; the spectrum is float32.
        batch_clips: Not used: in a batch of three, the last bits depend on a clip's place.

    Raises:
        ValueError: A setting is not allowed, or the machine lacks the device.
        WeightsError: A file is missing, unsafe, or not that of a model that separates vocals.
    """

    def __init__(
        self, source: str | None, *, device: str, dtype: str, batch_clips: int, config: str = ""
    ) -> None:
        if source is None:
            raise ValueError("name the checkpoint: melband-roformer:FILE.ckpt")
        del batch_clips
        self._device = checked_device(device)
        self._bfloat16 = checked_dtype(dtype) == torch.bfloat16
        settings = read_config(Path(config) if config else Path(source).with_suffix(".yaml"))
        self._chunk, self._stem = settings["chunk_samples"], settings["stem"]
        self.sample_rate_hz = int(settings["network"].get("sample_rate", 44100))
        net = build_network(settings["network"], source)
        self.weights_sha256 = tensors_sha256(net.state_dict(), settings=settings)
        self._net = net.to(self._device)
        edge = torch.arange(1, self._chunk + 1, device=self._device) / (self._chunk // 10)
        self._fade = torch.minimum(edge, edge.flip(0)).clamp(max=1)

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of mono clips, float32 [clips, samples]: the mean of two channels."""
        return in_fixed_batches(self._run_mono, mix, batch_clips=1)

    def separate_stereo(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of stereo clips, float32 [clips, 2, samples]."""
        return in_fixed_batches(self._run, mix, batch_clips=1, channels=2)

    def _run_mono(self, mix: FloatArray) -> FloatArray:
        vocals: FloatArray = self._run(mix[:, None].repeat(2, axis=1)).mean(axis=1)
        return vocals

    @torch.inference_mode()
    def _run(self, mix: FloatArray) -> FloatArray:
        samples = mix.shape[2]
        audio = functional.pad(on_device(mix, self._device), (0, max(0, self._chunk - samples)))
        total, weight = torch.zeros_like(audio), torch.zeros_like(audio[0, 0])
        for start in chunk_starts(samples, self._chunk):
            span = slice(start, start + self._chunk)
            total[..., span] += self._fade * self._separate(audio[..., span])
            weight[span] += self._fade
        vocals: FloatArray = (total / weight)[..., :samples].cpu().numpy()
        return vocals

    def _separate(self, chunk: torch.Tensor) -> torch.Tensor:
        """Returns the vocals of a chunk, both [1, 2, chunk_samples]."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            stems: torch.Tensor = self._net(chunk)
        return stems if stems.ndim == 3 else stems[:, self._stem]


def read_config(path: Path) -> dict[str, Any]:
    """Returns what shapes the result: the network's arguments, its chunk and the stem to take."""
    if not path.is_file():
        raise WeightsError(f"no configuration at {path}: put it there, or give config=FILE.yaml")
    try:
        # Published files tag lists as tuples, which only an unsafe loader would read.
        config = yaml.safe_load(path.read_text().replace("!!python/tuple", ""))
        model, training = config["model"], config["training"]
        chunk = int({**config.get("audio", {}), **config.get("inference", {})}["chunk_size"])
        target = training.get("target_instrument")
        stems = [str(name).lower() for name in ([target] if target else training["instruments"])]
        known = set(inspect.signature(MelBandRoformer).parameters)
        unknown = sorted(name for name in model if model[name] and name not in known)
        kind = {"stereo": bool(model.get("stereo")), "num_stems": model.get("num_stems", 1)}
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} is not a configuration of a RoFormer: {error!r}") from error
    if unknown or kind != {"stereo": True, "num_stems": len(stems)} or "vocals" not in stems:
        raise WeightsError(
            f"{path} must be of a stereo Mel-Band RoFormer that gives vocals, found {kind}, "
            f"stems {stems} and, unknown to mel_band_roformer, {unknown}"
        )
    loss = {name for name in known if name.startswith("multi_stft")}  # unused, and wants tuples
    network = {name: model[name] for name in model if name in known - loss}
    network["match_input_audio_length"] = True
    return {"network": network, "chunk_samples": chunk, "stem": stems.index("vocals")}


def build_network(arguments: dict[str, Any], source: str) -> MelBandRoformer:
    """Returns the network with the weights of a checkpoint, ready for inference."""
    tensors = load_safely(source)
    for name in ("state", "state_dict", "model_state_dict"):  # as trainers nest them
        tensors = tensors.get(name, tensors) if isinstance(tensors, dict) else tensors
    try:
        net = MelBandRoformer(**arguments).eval()
        net.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise WeightsError(f"{source} does not fit its configuration: {error}") from error
    for estimator in net.mask_estimators:  # on CUDA, bfloat16 cannot be complex
        estimator.register_forward_hook(lambda _module, _inputs, mask: mask.float())
    return net


def chunk_starts(samples: int, chunk: int) -> list[int]:
    """Returns where chunks start, evenly spaced: two that meet share a tenth of a chunk or more.

    >>> chunk_starts(441_000, 485_100), chunk_starts(441_000, 352_800)
    ([0], [0, 88200])
    """
    spare = max(0, samples - chunk)
    steps = math.ceil(spare / (chunk - chunk // 10))
    return [round(spare * step / steps) for step in range(steps)] + [spare]
