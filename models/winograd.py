"""A transposed convolution with fewer multiplications, for networks on a CPU.

Upsampling by 2 turns each input pixel into four, each a convolution with 3 x 3 taps (some of them
zero). Winograd's method evaluates those on tiles: a fixed linear map of an input tile, one matrix
product per point, and a fixed linear map back.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

Matrix: TypeAlias = npt.NDArray[np.floating[Any]]

_TAPS = 3
_POINTS = {2: (0, 1, -1), 4: (0, 1, -1, 0.5, -2)}
"""Where the polynomials are evaluated, besides infinity, by the length of an output tile; for 4,
the points that lose the least precision."""


class WinogradUpsampling(nn.Module):
    """Replaces a transposed convolution (kernel 5, stride 2) whose border is cropped.

    In float32 the result differs from that of the convolution by some 1e-6 of its range, about the
    rounding error of the convolution itself.

    Args:
        convolution: Kernel 5 x 5, stride 2, no padding, with a bias.
        tile: Length of a tile, 2 or 4; 4 needs fewer multiplications and more memory for weights.

    Raises:
        ValueError: The convolution is of another kind, or the tile is of another length.
    """

    def __init__(self, convolution: nn.ConvTranspose2d, *, tile: int) -> None:
        super().__init__()
        kind = (convolution.kernel_size, convolution.stride, convolution.padding)
        if kind != ((5, 5), (2, 2), (0, 0)) or convolution.bias is None:
            raise ValueError(
                f"needs kernel 5, stride 2, no padding and a bias, found {convolution}"
            )
        if tile not in _POINTS:
            raise ValueError(f"tile must be one of {tuple(_POINTS)}, found {tile}")
        self._tile = tile
        self._channels = convolution.out_channels
        outputs, taps, inputs = winograd_matrices(tile)
        # [points, input channels, 2 x 2 phases of output channels]
        along = np.einsum("nk,pkw->pnw", taps, _phases())
        kernel = convolution.weight.detach().double().cpu().numpy()
        weight = np.einsum("ioyx,pay,qbx->abipqo", kernel, along, along)
        self._add("weight", weight.reshape((tile + 2) ** 2, convolution.in_channels, -1))
        self._add("to_points", np.kron(inputs, inputs))
        self._add("from_points", np.kron(outputs, outputs))
        self._add("bias", convolution.bias.detach().double().cpu().numpy())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns [clips, output channels, 2 height, 2 width] of [clips, channels, height, width].

        Fastest where both are channels_last.
        """
        clips, channels, height, width = x.shape
        tile, size = self._tile, self._tile + 2
        pixels = functional.pad(
            x.permute(0, 2, 3, 1), (0, 0, 1, 1 + -width % tile, 1, 1 + -height % tile)
        )
        tiles = pixels.unfold(1, size, tile).unfold(2, size, tile)  # [clips, down, across, c, s, s]
        down, across = tiles.shape[1:3]
        flat = tiles.permute(4, 5, 0, 1, 2, 3).reshape(size * size, -1)
        points = (self.to_points @ flat).view(size * size, -1, channels)
        product = torch.bmm(points, self.weight).view(size * size, -1)
        # [row, column, clips, down, across, row phase, column phase, output channels]
        y = (self.from_points @ product).view(tile, tile, clips, down, across, 2, 2, -1)
        y = y.permute(2, 3, 0, 5, 4, 1, 6, 7).reshape(
            clips, down * tile * 2, across * tile * 2, self._channels
        )
        return (y[:, : 2 * height, : 2 * width] + self.bias).permute(0, 3, 1, 2)

    def _add(self, name: str, value: Matrix) -> None:
        self.register_buffer(name, torch.from_numpy(value).float().contiguous())


def winograd_matrices(
    tile: int,
) -> tuple[Matrix, Matrix, Matrix]:
    """Returns A, G, B so that A ((G taps) * (B x)) is the correlation of x with three taps.

    Args:
        tile: Number of outputs, a key of `_POINTS`; x has two elements more.

    Returns:
        float64 [tile, tile + 2], [tile + 2, 3] and [tile + 2, tile + 2].

    >>> outputs, taps, inputs = winograd_matrices(2)
    >>> x, g = np.array([1.0, 2, 3, 4]), np.array([1.0, 10, 100])
    >>> np.allclose(outputs @ ((taps @ g) * (inputs @ x)), np.correlate(x, g))
    True
    """
    # Correlation is the transpose of the product of polynomials, which is pointwise at points.
    to_points: Matrix = np.linalg.inv(_at_points(tile, tile + _TAPS - 1)).T
    from_points: Matrix = _at_points(tile, tile).T
    return from_points, _at_points(tile, _TAPS), to_points


def _at_points(tile: int, coefficients: int) -> Matrix:
    """Returns the matrix that evaluates a polynomial of so many coefficients at the points.

    Its value at infinity is its highest coefficient.
    """
    finite = np.vander(np.array(_POINTS[tile], np.float64), coefficients, increasing=True)
    return np.vstack([finite, np.eye(coefficients)[-1]])


def _phases() -> Matrix:
    """Returns [phase, tap, k]: output 2 j + phase reads input j - 1 + tap by kernel[k]."""
    phases = np.zeros((2, _TAPS, 5))
    for phase, tap, k in ((0, 0, 3), (0, 1, 1), (1, 0, 4), (1, 1, 2), (1, 2, 0)):
        phases[phase, tap, k] = 1
    return phases
