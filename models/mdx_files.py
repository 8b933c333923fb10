"""Opens the ONNX files of MDX-Net, and finds what such a file does not say about itself."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,  # noqa: A004
    RuntimeException,
)

from singsong.models.weights import WeightsError
from singsong.schemas.arrays import FloatArray

HOP_SAMPLES = 1024
PLANES = 4
"""Planes of a spectrogram: real and imaginary part of the left channel, then of the right."""
STEMS = ("vocals", "instrumental")

_LEAST_FFT_SAMPLES = 2 * HOP_SAMPLES
_HASHED_BYTES = 10_240_000
_SILENT = 4  # only what ends the process is logged, since errors are raised
# The key "location" of a map, under which a tensor names the file that its values lie in, which
# onnxruntime would read. Its tag and its length, 8, may be padded, as protobuf allows.
_ELSEWHERE = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
_BROKEN = (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
)
_ROW_FIELDS: dict[str, Any] = {
    "mdx_dim_f_set": int,
    "mdx_dim_t_set": int,
    "mdx_n_fft_scale_set": int,
    "compensate": (int, float),
    "primary_stem": str,
}


@dataclass(frozen=True, kw_only=True)
class Net:
    """A network that turns the spectrogram of a mix into that of one stem.

    Attributes:
        session: The network.
        one_by_one: Whether the graph takes one spectrogram at a time.
        bins: Frequency bins it sees, from 0 Hz.
        frames: Frames it sees.
    """

    session: Any
    one_by_one: bool
    bins: int
    frames: int

    def run(self, spectrogram: FloatArray) -> FloatArray:
        """Returns the stem's spectrogram of that of a mix: float32 [batch, 4, bins, frames].

        Raises:
            MemoryError: There is too little memory, of the machine or of its GPU.
            RuntimeError: onnxruntime fails otherwise.
            WeightsError: The network gives another shape or type.
        """
        name = self.session.get_inputs()[0].name
        try:
            result: FloatArray = self.session.run(None, {name: spectrogram})[0]
        except _BROKEN as error:
            # As exceptions that `is_machine_trouble` knows: these derive from Exception alone.
            out_of_memory = "Failed to allocate memory" in str(error)
            kind = MemoryError if out_of_memory else RuntimeError
            raise kind(f"onnxruntime cannot run the MDX-Net: {error}") from error
        if result.shape != spectrogram.shape or result.dtype != np.float32:
            raise WeightsError(
                f"the MDX-Net file turns float32 {spectrogram.shape} into {result.dtype} "
                f"{result.shape}, and should keep type and shape: take a file for one stem"
            )
        return result


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides how a network is used.

    Attributes:
        stem: What the network gives, one of `STEMS`.
        n_fft: Samples of a frame of the spectrogram.
        compensate: The result of the network is multiplied by this.

    Raises:
        ValueError: A value is not allowed.
    """

    stem: str
    n_fft: int
    compensate: float

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise ValueError(f"stem of mdx must be one of {STEMS}, found {self.stem!r}")
        if self.n_fft % 2 or self.n_fft < _LEAST_FFT_SAMPLES:
            raise ValueError(
                f"n_fft of mdx must be even and at least {_LEAST_FFT_SAMPLES}, found {self.n_fft}"
            )
        if not 0 < self.compensate < float("inf"):
            raise ValueError(
                f"compensate of mdx must be positive and finite, found {self.compensate}"
            )


def read_onnx(path: Path) -> bytes:
    """Returns the bytes of an ONNX file.

    Raises:
        WeightsError: There is no such file, or it wants to read further ones.
    """
    if not path.is_file():
        raise WeightsError(f"no MDX-Net at {path}: give the path of an .onnx file")
    content = path.read_bytes()
    if _ELSEWHERE.search(content):
        raise WeightsError(
            f"refused to load {path}: its tensors may lie in other files, which are never read; "
            "save it as one file where you trust it"
        )
    return content


def open_net(content: bytes, *, name: str, device: torch.device) -> Net:
    """Returns the network of the bytes of an ONNX file.

    On a CPU it computes on the thread that calls it, as torch does in the workers of each job.

    Args:
        content: The file.
        name: What errors call it.
        device: Where it runs.

    Raises:
        ValueError: onnxruntime cannot use the device.
        WeightsError: It is not an ONNX file, or not that of an MDX-Net.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.use_deterministic_compute = True
    try:
        session = onnxruntime.InferenceSession(content, options, providers=_providers(device))
    except _BROKEN as error:
        raise WeightsError(
            f"{name} is not an ONNX file that onnxruntime can run; it may be cut short, or what "
            f"Git LFS leaves in place of a file ({str(error).splitlines()[0]})"
        ) from None
    if device.type == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise ValueError(_NO_CUDA)
    return _checked(session, name)


_NO_CUDA = (
    "onnxruntime cannot use the CUDA device: install onnxruntime-gpu in place of onnxruntime, in "
    "the version for your CUDA, or run mdx on the CPU"
)


def _providers(device: torch.device) -> list[Any]:
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ValueError(_NO_CUDA)
    # As `set_numerics` has it for torch: no TensorFloat-32, and no choice of kernels by trial.
    settings = {"device_id": device.index or 0, "use_tf32": 0, "cudnn_conv_algo_search": "DEFAULT"}
    return [("CUDAExecutionProvider", settings), "CPUExecutionProvider"]


def _checked(session: Any, name: str) -> Net:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [one.type for one in (*inputs, *outputs)] == ["tensor(float)"] * 2 and len(inputs) == 1:
        match inputs[0].shape:
            case [1 | str() | None as batch, 4, int() as bins, int() as frames]:
                return Net(session=session, one_by_one=batch == 1, bins=bins, frames=frames)
    found = [(one.name, one.type, one.shape) for one in (*inputs, *outputs)]
    raise WeightsError(
        f"{name} is not an MDX-Net: it should turn one float32 [batch, {PLANES}, bins, frames], "
        f"of fixed bins and frames, into another, found {found}"
    )


def settings_for(
    content: bytes,
    net: Net,
    *,
    stem: str | None,
    n_fft: int | None,
    compensate: float | None,
    table: str | None,
) -> Settings:
    """Returns how to use a network; what is not given comes from the table, if there is one.

    Args:
        content: The ONNX file.
        net: Its network.
        stem: See `Settings`.
        n_fft: See `Settings`.
        compensate: See `Settings`.
        table: Path of a JSON object of UVR's form (`model_data_new.json`): from the md5 of the last
            10,240,000 bytes of a file to its row.

    Raises:
        ValueError: Something is neither given nor known, is not allowed, or does not fit the net;
            or there is no such table, it has no row for this file, or the row does not fit.
    """
    known: dict[str, Any] = {}
    if table is not None:
        row = _row_of(content, table)
        bins, exponent = row["mdx_dim_f_set"], row["mdx_dim_t_set"]
        if (bins, exponent) != (net.bins, math.log2(net.frames)):
            raise ValueError(
                f"table={table} has {bins} bins and 2^{exponent} frames for this MDX-Net, whose "
                f"graph has {net.bins} and {net.frames}: correct the table"
            )
        known["stem"] = row["primary_stem"].lower()
        known["n_fft"] = row["mdx_n_fft_scale_set"]
        known["compensate"] = row["compensate"]
    given = {"stem": stem, "n_fft": n_fft, "compensate": compensate}
    known |= {key: value for key, value in given.items() if value is not None}
    missing = [key for key in ("stem", "n_fft") if key not in known]
    if missing:
        raise ValueError(
            f"mdx needs the options {missing}, since its file does not tell: "
            "mdx:vocals.onnx,stem=vocals,n_fft=6144, or table=PATH.json"
        )
    known["compensate"] = float(known.get("compensate", 1))
    settings = Settings(**known)
    _check_fit(settings, net)
    return settings


def _check_fit(settings: Settings, net: Net) -> None:
    if net.bins > settings.n_fft // 2 + 1:
        raise ValueError(
            f"n_fft={settings.n_fft} has {settings.n_fft // 2 + 1} bins, and this MDX-Net "
            f"sees {net.bins}: give the n_fft it was trained with"
        )
    chunk = HOP_SAMPLES * (net.frames - 1)
    if chunk <= settings.n_fft:
        raise ValueError(
            f"n_fft={settings.n_fft} leaves nothing of the {chunk} samples that this MDX-Net sees: "
            "give the n_fft it was trained with"
        )


def _row_of(content: bytes, table: str) -> dict[str, Any]:
    try:
        rows = json.loads(Path(table).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"table={table} of mdx is not a JSON file that can be read: {error}"
        ) from None
    key = hashlib.md5(content[-_HASHED_BYTES:], usedforsecurity=False).hexdigest()
    row = rows.get(key) if isinstance(rows, dict) else None
    if not isinstance(row, dict):
        raise ValueError(
            f"table={table} of mdx has no row {key}, which is that of this file: "
            "give stem=, n_fft= and compensate= instead"
        )
    for field, kind in _ROW_FIELDS.items():
        if not isinstance(row.get(field), kind) or isinstance(row[field], bool):
            raise ValueError(
                f"row {key} of table={table} must have a {field}, found {row.get(field)!r}"
            )
    return row
