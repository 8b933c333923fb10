"""Small ONNX files with the topology of MDX-Net, and others that only look like them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from benchmarks.support.mdx_net import ConvTdfNet, export, random_net

N_FFT, BINS, FRAMES = 2048, 64, 16
KEPT = 1024 * (FRAMES - 1) - N_FFT
"""Samples of each chunk that reach the result."""


def small_net(seed: int = 0) -> ConvTdfNet:
    """Returns the published topology, but smaller and less deep."""
    return random_net(frames=FRAMES, seed=seed, bins=BINS, blocks=5, growth=4)


def save_small_net(path: Path, *, seed: int = 0, batch: str | None = "batch_size") -> Path:
    return export(small_net(seed), path, bins=BINS, frames=FRAMES, batch=batch)


def save_graph(
    path: Path,
    *,
    operator: str = "Identity",
    domain: str = "",
    inputs: int = 1,
    shape: tuple[int | str, ...] = ("batch", 4, BINS, FRAMES),
    made: tuple[int | str, ...] | None = None,
    kind: int = TensorProto.FLOAT,
    tensors: tuple[TensorProto, ...] = (),
) -> Path:
    """Writes a graph of one operator, by default one that gives back the spectrogram it takes."""
    names = [f"x{number}" for number in range(inputs)]
    node = helper.make_node(
        operator, names + [one.name for one in tensors], ["output"], domain=domain
    )
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in names],
        [helper.make_tensor_value_info("output", kind, made or shape)],
        list(tensors),
    )
    sets = [helper.make_opsetid("", 13)]
    if domain:
        sets.append(helper.make_opsetid(domain, 1))
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    return path


def tensor_in(location: str) -> TensorProto:
    """Returns a float32 whose value lies in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor
