"""Constrained sampling: valid by construction, forced tokens verbatim, the cache without effect."""

from typing import Any

import numpy as np
import pytest
import torch

from singsong.generation.sampling import FREE, draw, sample_tokens
from singsong.schemas.arrays import TokenArray
from singsong.training.accompaniment_model import target_logits
from tests.support.token_masks import allowed
from tests.support.trained import VOCABULARY, small_accompaniment, small_fine

RANGES = VOCABULARY.ranges(semantic_frames=5, coarse_frames=4)
POSITIONS = len(RANGES)
SOURCE = torch.arange(2, 9).expand(3, 7).clone()
SOURCE[1] += 10
SOURCE[2] += 15


def sampled(
    model: Any,
    *,
    rows: slice = slice(None),
    forced: torch.Tensor | None = None,
    seed: int = 0,
    ranges: TokenArray = RANGES,
    **how: Any,
) -> torch.Tensor:
    source = SOURCE[rows]
    uniforms = torch.from_numpy(np.random.default_rng(seed).random((3, POSITIONS)))[rows]
    return sample_tokens(
        model,
        forced=torch.full((len(source), POSITIONS), FREE) if forced is None else forced,
        ranges=ranges,
        uniforms=uniforms,
        encoded=model.encoder(input_ids=source).last_hidden_state,
        **{"temperature": 0.85, **how},
    )


@pytest.fixture(scope="module", params=[False, True], ids=["fixed", "relative"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return small_accompaniment(relative_positions=request.param)


def test_every_token_lies_in_the_range_of_its_position(model: Any) -> None:
    mask = allowed(RANGES, VOCABULARY.size)
    found = sampled(model).numpy()
    assert mask[np.arange(POSITIONS), found].all()
    unmasked = np.tile([[0, VOCABULARY.size]], (POSITIONS, 1))
    wild = sampled(model, ranges=unmasked).numpy()
    assert not mask[np.arange(POSITIONS), wild].all()


def test_forced_tokens_are_verbatim_and_change_what_follows(model: Any) -> None:
    forced = torch.full((3, POSITIONS), FREE)
    forced[:, 0:2] = torch.tensor([2, 8])
    forced[:, 5:9] = torch.tensor([9, 18, 17, 26])
    found = sampled(model, forced=forced)
    assert found[:, 0:2].eq(forced[:, 0:2]).all()
    assert found[:, 5:9].eq(forced[:, 5:9]).all()
    assert not found.eq(FREE).any()
    assert not found[:, 9:].equal(sampled(model)[:, 9:])


def test_a_forced_past_is_read_as_a_drawn_one(model: Any) -> None:
    """Forcing what was drawn, in two runs, leaves the rest as it was."""
    whole = sampled(model)
    forced = whole.clone()
    forced[:, 3:5] = FREE
    forced[:, 10:] = FREE
    assert sampled(model, forced=forced).equal(whole)


@pytest.mark.parametrize("temperature", [0.0, 0.85])
def test_the_cache_changes_nothing(model: Any, temperature: float) -> None:
    forced = torch.full((3, POSITIONS), FREE)
    forced[:, 5:9] = torch.tensor([9, 18, 17, 26])
    kept, again = (
        sampled(model, forced=forced, temperature=temperature, cached=cached)
        for cached in (True, False)
    )
    assert kept.equal(again)


@pytest.mark.gpu
@pytest.mark.parametrize("relative", [False, True], ids=["fixed", "relative"])
def test_cuda_draws_what_it_computes_without_a_cache(relative: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.manual_seed(0)
    model = small_accompaniment(relative_positions=relative).cuda()
    forced = torch.full((3, POSITIONS), FREE, device="cuda")
    forced[:, 5:9] = torch.tensor([9, 18, 17, 26])
    how = {
        "forced": forced,
        "ranges": RANGES,
        "uniforms": torch.from_numpy(np.random.default_rng(0).random((3, POSITIONS))),
        "temperature": 0.85,
        "encoded": model.encoder(input_ids=SOURCE.cuda()).last_hidden_state,
    }
    found = sample_tokens(model, **how)
    assert found.equal(sample_tokens(model, **how))
    assert found.equal(sample_tokens(model, cached=False, **how))


def test_greedy_tokens_are_the_most_likely_of_the_teacher_forced_model(model: Any) -> None:
    """The cached positions are right: the whole sequence, read at once, gives the same logits."""
    found = sampled(model, temperature=0.0)
    logits = target_logits(model, SOURCE, found)
    logits[:, ~torch.from_numpy(allowed(RANGES, VOCABULARY.size))] = -torch.inf
    assert found.equal(logits.argmax(-1))


@torch.no_grad()
def test_cached_states_are_those_of_the_whole_sequence(model: Any) -> None:
    sequence = sampled(model)
    encoded = model.encoder(input_ids=SOURCE).last_hidden_state
    whole = model.decoder(input_ids=sequence, encoder_hidden_states=encoded, use_cache=False)
    cache, states = None, []
    for piece in sequence.split([1, 6, 1, 5], 1):
        output = model.decoder(
            input_ids=piece, encoder_hidden_states=encoded, past_key_values=cache, use_cache=True
        )
        cache = output.past_key_values
        states.append(output.last_hidden_state)
    torch.testing.assert_close(torch.cat(states, 1), whole.last_hidden_state)


def test_same_seed_same_tokens_other_seed_others(model: Any) -> None:
    assert sampled(model, seed=1).equal(sampled(model, seed=1))
    assert not sampled(model, seed=1).equal(sampled(model, seed=2))


def test_a_row_does_not_depend_on_the_others(model: Any) -> None:
    together = sampled(model)
    for row in range(3):
        assert sampled(model, rows=slice(row, row + 1)).equal(together[row : row + 1])


def test_each_drawn_position_is_reported(model: Any) -> None:
    calls: list[None] = []
    forced = torch.full((3, POSITIONS), FREE)
    forced[:, :5] = 2
    sampled(model, forced=forced, on_token=lambda: calls.append(None))
    assert len(calls) == POSITIONS - 5


def test_the_fine_model_is_sampled_in_the_same_way() -> None:
    model = small_fine()
    forced = torch.full((2, 6), FREE)
    forced[:, :4] = torch.arange(2, 6)
    ranges = np.tile([[20, 29]], (6, 1))
    uniforms = torch.rand(2, 6, dtype=torch.float64)
    kept, again = (
        sample_tokens(
            model, forced=forced, ranges=ranges, uniforms=uniforms, temperature=1.0, cached=cached
        )
        for cached in (True, False)
    )
    assert kept.equal(again)
    assert ((kept[:, 4:] >= 20) & (kept[:, 4:] < 29)).all()


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.3, -1.0, 0.0, 2.0]).expand(20_000, 4)
    uniforms = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    for temperature in (0.5, 1.0):
        counts = draw(logits, uniforms, temperature).bincount(minlength=4) / 20_000
        expected = (logits[0] / temperature).softmax(-1)
        torch.testing.assert_close(counts, expected, atol=1e-4, rtol=0)


def test_an_impossible_code_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for uniform in (0.0, 0.5, 1 - 2**-53):
        assert draw(logits, torch.tensor([uniform], dtype=torch.float64), 1.0).item() == 1


def test_what_cannot_be_sampled_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="temperature must not be negative, found -1"):
        sampled(model, temperature=-1)
    forced = torch.full((3, POSITIONS), FREE)
    forced[0, 0] = 2
    with pytest.raises(ValueError, match="same positions in all rows"):
        sampled(model, forced=forced)
