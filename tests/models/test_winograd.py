"""Tests of the transposed convolution by Winograd's method, against torch's own in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from singsong.models.winograd import WinogradUpsampling


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (4, 8), (7, 5)])
@torch.inference_mode()
def test_it_is_the_transposed_convolution(tile: int, size: tuple[int, int]) -> None:
    convolution = nn.ConvTranspose2d(6, 3, 5, stride=2)
    x = torch.randn(2, 6, *size)
    y = WinogradUpsampling(convolution, tile=tile)(x)
    expected = convolution.double()(x.double())[:, :, 1:-2, 1:-2]
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.ConvTranspose2d(4, 2, 3, stride=2),
        nn.ConvTranspose2d(4, 2, 5),
        nn.ConvTranspose2d(4, 2, 5, stride=2, padding=1),
        nn.ConvTranspose2d(4, 2, 5, stride=2, bias=False),
    ],
)
def test_another_convolution_is_refused(convolution: nn.ConvTranspose2d) -> None:
    with pytest.raises(ValueError, match="needs kernel 5, stride 2, no padding and a bias"):
        WinogradUpsampling(convolution, tile=2)


def test_another_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="tile must be one of"):
        WinogradUpsampling(nn.ConvTranspose2d(4, 2, 5, stride=2), tile=3)
