"""Operations counted by PyTorch against a formula by hand."""

import pytest
import torch

from singsong.training.architectures import ARCHITECTURES
from singsong.training.featurization import ModelKind
from singsong.training.throughput import Throughput, peak_flops, training_flops


def by_hand(*, source: int, target: int, vocabulary: int) -> int:
    """Returns forward operations of the tiny preset: two for each multiplication of a matrix."""
    width, inner, hidden, layers = 64, 4 * 16, 128, 2
    mlp = 3 * width * hidden
    attention = 4 * width * inner
    encoder = source * (attention + mlp) + 2 * source * source * inner
    decoder = target * (attention + mlp) + 2 * target * target * inner
    crossing = 2 * width * inner * (source + target) + 2 * source * target * inner
    return 2 * (layers * (encoder + decoder + crossing) + target * width * vocabulary)


def test_operations_are_those_of_the_formula() -> None:
    lengths = {"source": 250, "target": 750}  # so that attention weighs
    architecture = ARCHITECTURES[ModelKind.ACCOMPANIMENT]
    config = architecture.new_config("tiny", vocab_size=27)
    forward = by_hand(vocabulary=27, **lengths)
    assert training_flops(architecture, config, **lengths) == 3 * forward


def test_mfu_is_operations_over_what_the_device_could_do(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 14.0, 14.0, 15.0, 15.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    throughput = Throughput(flops=50, peak=1000.0)
    throughput.add(8)
    throughput.add(8)
    assert throughput.read() == {"samples_per_s": 4.0, "mfu": 0.2}
    throughput.add(3)
    assert throughput.read() == {"samples_per_s": 3.0, "mfu": 0.15}


def test_an_unknown_device_has_no_mfu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_flops(torch.device("cpu"), torch.bfloat16, 1) is None
    assert "mfu" not in Throughput(flops=1, peak=None).read()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    cuda = torch.device("cuda")
    assert peak_flops(cuda, torch.bfloat16, 8) == 8 * 989e12
    assert peak_flops(cuda, torch.float32, 8) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Toaster")
    assert peak_flops(cuda, torch.bfloat16, 1) is None
