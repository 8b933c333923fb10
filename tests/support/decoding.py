"""What tests do with the decoder: decode a file whole, or see it refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from singsong.audio.decode import stream_mono


def decode(path: Path, rate_hz: int = 44100, **options: object) -> np.ndarray:
    """Returns the whole file, having checked every block."""
    blocks = list(stream_mono(os.fspath(path), rate_hz=rate_hz, **options))
    assert blocks
    assert all(b.dtype == np.float32 and b.ndim == 1 and b.size for b in blocks)
    return np.concatenate(blocks)


def refuse(path: Path | str, error: type[Exception], message: str, **options: object) -> None:
    """Wants exactly this error, with one line that names no temporary file."""
    with pytest.raises(error, match=message) as caught:
        list(stream_mono(os.fspath(path), rate_hz=44100, **options))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert "singsong-" not in str(caught.value)
