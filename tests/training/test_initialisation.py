"""How weights start: every kernel against the distribution that t5x draws it from."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats

from tests.support.trained import small_accompaniment, small_fine

WIDTH, HEADS, HEAD_SIZE, INNER = 256, 4, 64, 512
SIZES = {"d_model": WIDTH, "d_kv": HEAD_SIZE, "num_heads": HEADS, "d_ff": INNER}
ATTENTIONS = ("SelfAttention", "EncDecAttention")
Build = Callable[..., Any]
CUT_OFF = stats.truncnorm(-2, 2)


def distribution_of(name: str) -> stats.rv_continuous:
    """Returns what t5x draws a weight from; `variance_scaling` of JAX divides by 0.8796."""
    kind, kernel = ["", *name.split(".")][-3:-1]
    if kernel in ("shared", "embed_tokens"):
        return stats.norm(scale=1)
    if kernel == "relative_attention_bias":  # uniform, variance 1 / mean of the two sides
        return stats.uniform(-math.sqrt(6 / (32 + HEADS)), 2 * math.sqrt(6 / (32 + HEADS)))
    if kind in ATTENTIONS:
        inputs = HEADS * HEAD_SIZE if kernel == "o" else WIDTH
        return stats.norm(scale=1 / math.sqrt(inputs * (HEAD_SIZE if kernel == "q" else 1)))
    inputs = INNER if kernel == "wo" else WIDTH
    return stats.truncnorm(-2, 2, scale=1 / math.sqrt(inputs) / CUT_OFF.std())


def check(name: str, weight: torch.Tensor) -> None:
    """Compares a kernel with its distribution: as a whole, its deviation, and its tails."""
    found, expected = weight.flatten().numpy(), distribution_of(name)
    assert stats.kstest(found, expected.cdf).pvalue > 1e-3, name
    assert found.std() == pytest.approx(expected.std(), rel=0.15 if found.size < 999 else 0.03)
    low, high = expected.support()
    assert low <= found.min() * 0.999, name
    assert found.max() * 0.999 <= high, name
    if found.size > 10_000 and math.isinf(high):
        assert abs(found).max() > 3 * expected.std(), name


@pytest.mark.parametrize("relative_positions", [False, True])
@pytest.mark.parametrize("build", [small_accompaniment, small_fine])
def test_every_kernel_is_drawn_as_in_t5x(build: Build, relative_positions: bool) -> None:
    """Attention is normal to its tails; all other kernels are cut off at two deviations."""
    torch.manual_seed(0)
    model = build(**SIZES, relative_positions=relative_positions)
    seen = set()
    for name, weight in model.state_dict().items():
        seen.add(name.split(".")[-2])
        if name.endswith("layer_norm.weight"):
            assert weight.eq(1).all(), name
        elif not (relative_positions and name.endswith("SelfAttention.v.weight")):
            check(name, weight)
    assert seen >= {"q", "k", "v", "o", "wo", "lm_head", "embed_tokens"}
    assert ("relative_attention_bias" in seen) == relative_positions


@pytest.mark.xfail(
    strict=True,
    reason="a stack marks its attention as initialised before its values are replaced, so that "
    "with relative positions they are cut off as other kernels are; to mend it changes checkpoints",
)
@pytest.mark.parametrize("build", [small_accompaniment, small_fine])
def test_values_are_normal_with_relative_positions_too(build: Build) -> None:
    torch.manual_seed(0)
    for name, weight in build(**SIZES, relative_positions=True).state_dict().items():
        if name.endswith("SelfAttention.v.weight"):
            check(name, weight)


def test_weights_start_as_in_t5x() -> None:
    torch.manual_seed(0)
    model = small_accompaniment(d_model=256, d_kv=64, d_ff=512, relative_positions=True)
    weights = model.state_dict()
    block = "encoder.block.0.layer.0.SelfAttention"
    deviations = {
        "shared.weight": 1.0,
        "lm_head.weight": 1 / 16,
        f"{block}.q.weight": 1 / 16 / 8,
        f"{block}.k.weight": 1 / 16,
        f"{block}.o.weight": 1 / 16,
        f"{block}.relative_attention_bias.weight": math.sqrt(2 / (32 + 4)),
        "encoder.block.0.layer.1.DenseReluDense.wo.weight": 1 / math.sqrt(512),
        "decoder.block.0.layer.1.EncDecAttention.q.weight": 1 / 16 / 8,
    }
    for name, expected in deviations.items():
        assert weights[name].std().item() == pytest.approx(expected, rel=0.1), name
    attention, logits = weights[f"{block}.k.weight"], weights["lm_head.weight"]
    assert logits.abs().max() <= 2 / 16 / 0.8796 < 3 * logits.std() < attention.abs().max()
    assert weights["encoder.final_layer_norm.weight"].eq(1).all()
