"""MDX-Net, the separator of the paper, from an ONNX file and through `onnxruntime`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from singsong.models.batching import in_fixed_batches
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.models.mdx_files import (
    HOP_SAMPLES,
    PLANES,
    open_net,
    read_onnx,
    settings_for,
)
from singsong.models.weights import tensors_sha256
from singsong.schemas.arrays import FloatArray

SAMPLE_RATE_HZ = 44100


class MdxSeparator:
    """Separates vocals with one network of MDX-Net or of its kind (`StereoSeparator`).

    The network gives the spectrogram of its stem, not a mask. The clip is cut into pieces, each
    separated with n_fft / 2 samples more on both sides, which are then cut off; there is no
    cross-fade, and no level is changed. The vocals hold nothing above the band of the network,
    `bins / n_fft` of the sample rate.

    Attributes:
        sample_rate_hz: Sample rate of its input and output.
        weights_sha256: Hex digest of the ONNX file and of the settings that shape the result.

    Args:
        source: The ONNX file.
        stem: What the network gives, "vocals" or "instrumental". Of an instrumental, the vocals are
            what the mix has beside it, in the band of the network.
        n_fft: Samples of a frame of the spectrogram it was trained on.
        compensate: The result of the network is multiplied by this.
        table: A file that says what `stem`, `n_fft` and `compensate` do not: see
            `singsong.models.mdx_files.settings_for`.
        device: Where it runs. On CUDA, `onnxruntime-gpu` must be installed.
        dtype: Checked, and otherwise without effect: the ONNX file says what is computed in.
        batch_clips: The fixed batch size on CUDA. On a CPU, clips run one by one.

    Raises:
        ValueError: A setting is missing or not allowed, or the machine lacks the device.
        WeightsError: The file is missing, or is not that of an MDX-Net.

    Paper: 4.1, which names MDX-Net and no more.
    Differs: the published MDX-Net mixes the results of four networks and adds a tenth of the vocals
        of Demucs v2; here the vocals are those of the one network.
    Default: the mono clip is copied to both channels, and the channels of the result are averaged.
    """

    def __init__(
        self,
        source: str | None,
        *,
        stem: str | None = None,
        n_fft: int | None = None,
        compensate: float | None = None,
        table: str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch_clips: int = 1,
    ) -> None:
        if source is None:
            raise ValueError("mdx needs a file: mdx:vocals.onnx,stem=vocals,n_fft=6144")
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self._device = checked_device(device)
        checked_dtype(dtype)
        content = read_onnx(Path(source))
        self._net = open_net(content, name=source, device=self._device)
        self._settings = settings_for(
            content, self._net, stem=stem, n_fft=n_fft, compensate=compensate, table=table
        )
        one_by_one = self._net.one_by_one or self._device.type == "cpu"
        self._batch_clips = 1 if one_by_one else batch_clips
        self._window = torch.hann_window(self._settings.n_fft, device=self._device)
        self.weights_sha256 = tensors_sha256(
            {"onnx": np.frombuffer(content, np.uint8)},
            settings={"model": "mdx", **asdict(self._settings)},
        )

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip.

        Args:
            mix: float32 [clips, samples] at 44.1 kHz.

        Returns:
            float32 [clips, samples].

        Raises:
            ValueError: The mix is not [clips, samples], or there is no clip.
            WeightsError: The network gives something else than a spectrogram like its input.
        """
        return in_fixed_batches(self._run_mono, mix, batch_clips=self._batch_clips)

    def separate_stereo(self, mix: FloatArray) -> FloatArray:
        """Returns the vocals of each clip, as the official inference does.

        Args:
            mix: float32 [clips, 2, samples] at 44.1 kHz.

        Returns:
            float32 [clips, 2, samples].

        Raises:
            ValueError: The mix is not [clips, 2, samples], or there is no clip.
            WeightsError: As for `separate_vocals`.
        """
        return in_fixed_batches(self._run, mix, batch_clips=self._batch_clips, channels=2)

    def _run_mono(self, mix: FloatArray) -> FloatArray:
        both: FloatArray = np.repeat(mix[:, np.newaxis], 2, axis=1)
        vocals: FloatArray = self._run(both).mean(axis=1)
        return vocals

    @torch.inference_mode()
    def _run(self, mix: FloatArray) -> FloatArray:
        audio, samples = on_device(mix, self._device), mix.shape[2]
        trim = self._settings.n_fft // 2
        chunk = HOP_SAMPLES * (self._net.frames - 1)
        kept = chunk - 2 * trim
        padded = functional.pad(audio, (trim, trim + -samples % kept))
        chunks = padded.unfold(2, chunk, kept)  # [clips, 2, chunks, samples]
        vocals = [self._separate(one)[:, :, trim:-trim] for one in chunks.unbind(2)]
        result: FloatArray = torch.cat(vocals, dim=2)[:, :, :samples].cpu().numpy()
        return result

    def _separate(self, chunk: torch.Tensor) -> torch.Tensor:
        """Returns the vocals [clips, 2, samples] of what the network sees at once."""
        mix = self._spectrogram(chunk)
        stem = torch.from_numpy(self._net.run(mix.cpu().numpy())).to(self._device)
        stem = stem * self._settings.compensate
        return self._waveform(mix - stem if self._settings.stem == "instrumental" else stem)

    def _spectrogram(self, audio: torch.Tensor) -> torch.Tensor:
        """Returns [clips, 4, bins, frames] of audio [clips, 2, samples]."""
        spectrum = torch.stft(
            audio.flatten(0, 1),
            self._settings.n_fft,
            HOP_SAMPLES,
            window=self._window,
            return_complex=True,
        )[:, : self._net.bins]
        parts = torch.view_as_real(spectrum).movedim(3, 1)  # [clips x 2, 2, bins, frames]
        return parts.reshape(len(audio), PLANES, self._net.bins, self._net.frames)

    def _waveform(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Returns the audio [clips, 2, samples] of what `_spectrogram` gives."""
        parts = spectrogram.unflatten(1, (2, 2)).flatten(0, 1).movedim(1, 3).contiguous()
        above = self._settings.n_fft // 2 + 1 - self._net.bins
        spectrum = functional.pad(torch.view_as_complex(parts), (0, 0, 0, above))
        audio = torch.istft(spectrum, self._settings.n_fft, HOP_SAMPLES, window=self._window)
        return audio.unflatten(0, (-1, 2))
