"""The network of MDX-Net as published, with random weights, and the official way to use it.

No published weights come with this: the topology is that of `ConvTDFNet` in kuielab/mdx-net, and
`official_vocals` does what `demix_base` in kuielab/mdx-net-submission does, written anew.
"""

import itertools
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

HOP = 1024


class TfcTdf(nn.Module):
    """Convolutions over time and frequency, then a residual bottleneck along frequency."""

    def __init__(self, channels: int, bins: int, *, layers: int, kernel: int, bottleneck: int):
        super().__init__()
        self.tfc = nn.Sequential(
            *(
                with_norm(nn.Conv2d(channels, channels, kernel, padding=kernel // 2), channels)
                for _ in range(layers)
            )
        )
        self.tdf = nn.Sequential(
            with_norm(nn.Linear(bins, bins // bottleneck, bias=False), channels),
            with_norm(nn.Linear(bins // bottleneck, bins, bias=False), channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.tfc(x)
        return x + self.tdf(x)


class ConvTdfNet(nn.Module):
    """A U-Net from the spectrogram [batch, 4, bins, frames] of a mix to that of a stem.

    The defaults are those of `configs/model/ConvTDFNet_vocals.yaml`.
    """

    def __init__(
        self,
        *,
        bins: int = 2048,
        blocks: int = 11,
        layers: int = 3,
        growth: int = 32,
        kernel: int = 3,
        bottleneck: int = 8,
    ):
        super().__init__()
        block = {"layers": layers, "kernel": kernel, "bottleneck": bottleneck}
        depth = blocks // 2
        widths = [growth * (level + 1) for level in range(depth + 1)]
        self.first = with_norm(nn.Conv2d(4, growth, 1), growth)
        self.encoders = nn.ModuleList(
            TfcTdf(widths[level], bins >> level, **block) for level in range(depth)
        )
        self.downs = nn.ModuleList(
            with_norm(nn.Conv2d(narrow, wide, 2, stride=2), wide)
            for narrow, wide in itertools.pairwise(widths)
        )
        self.middle = TfcTdf(widths[-1], bins >> depth, **block)
        self.ups = nn.ModuleList(
            with_norm(nn.ConvTranspose2d(wide, narrow, 2, stride=2), narrow)
            for narrow, wide in itertools.pairwise(widths)
        )
        self.decoders = nn.ModuleList(
            TfcTdf(widths[level], bins >> level, **block) for level in range(depth)
        )
        self.last = nn.Conv2d(growth, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).transpose(2, 3)  # [batch, channels, frames, bins]
        skips = []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encode(x))
            x = down(skips[-1])
        x = self.middle(x)
        for level in reversed(range(len(skips))):
            x = self.decoders[level](self.ups[level](x) * skips[level])
        return self.last(x.transpose(2, 3))


def with_norm(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


def parameters(net: nn.Module) -> int:
    return sum(one.numel() for one in net.parameters())


@torch.no_grad()
def random_net(*, frames: int, seed: int = 0, **sizes: int) -> ConvTdfNet:
    """Returns a network with random weights and activations as large as those of a trained one.

    The statistics of its norms are measured on noise, and its output is as loud as its input.
    """
    torch.manual_seed(seed)
    net = ConvTdfNet(**sizes)
    norms = [one for one in net.modules() if isinstance(one, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the running statistics are averages
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
    noise = torch.randn(1, 4, sizes.get("bins", 2048), frames) * 10
    net.train()(noise)
    net.eval()
    gain = noise.std() / net(noise).std()
    net.last.weight *= gain
    net.last.bias *= gain
    return net


def export(net: nn.Module, path: Path, *, bins: int, frames: int, batch: str | None = "batch_size"):
    """Writes a network as KUIELab does; with `batch=None`, the graph takes one spectrogram."""
    axes = {name: {0: batch} for name in ("input", "output")} if batch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(1, 4, bins, frames),),
            str(path),
            opset_version=13,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=axes,
            dynamo=False,
        )
    return path


@torch.no_grad()
def official_vocals(
    net: nn.Module,
    mix: npt.NDArray[np.floating],
    *,
    n_fft: int,
    bins: int,
    frames: int,
) -> npt.NDArray[np.floating]:
    """Returns the stem [2, samples] that the official inference finds in a mix [2, samples].

    It computes in the type of the mix, which must be that of the network.
    """
    chunk, trim = HOP * (frames - 1), n_fft // 2
    generated = chunk - 2 * trim
    samples = mix.shape[1]
    pad = generated - samples % generated
    padded = np.pad(mix, ((0, 0), (trim, pad + trim)))
    window = torch.hann_window(n_fft, periodic=True, dtype=torch.tensor(mix).dtype)
    pieces = []
    for start in range(0, samples + pad, generated):
        planes = []
        for channel in torch.tensor(padded[:, start : start + chunk]):
            spectrum = torch.stft(channel, n_fft, HOP, window=window, return_complex=True)
            planes += [spectrum.real[:bins], spectrum.imag[:bins]]
        out = net(torch.stack(planes)[None])[0]
        stem = []
        for real, imag in ((out[0], out[1]), (out[2], out[3])):
            spectrum = torch.complex(real, imag)
            spectrum = nn.functional.pad(spectrum, (0, 0, 0, n_fft // 2 + 1 - bins))
            stem.append(torch.istft(spectrum, n_fft, HOP, window=window))
        pieces.append(torch.stack(stem)[:, trim:-trim])
    return torch.cat(pieces, dim=1)[:, :samples].numpy()
