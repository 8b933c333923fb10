"""Windows, the two forced runs, stitching, and the fine codes in chunks."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from singsong.generation.song_codes import accompany_codes, fine_codes
from singsong.generation.song_windows import (
    WindowLayout,
    force_overlap,
    join_windows,
    window_starts,
)
from singsong.training.t5_layers import evaluation_mode
from singsong.training.vocabulary import Vocabulary
from tests.support.trained import FINE_VOCABULARY, VOCABULARY, small_accompaniment, small_fine

LAYOUT = WindowLayout(semantic_frames=4, semantic_hop=2, coarse_frames=6, coarse_hop=3)
PAPER = WindowLayout.overlapping(semantic_frames=250, coarse_frames=500)
PAPER_VOCABULARY = Vocabulary(semantic_size=1024, coarse_codebooks=4, codebook_size=1024)
WINDOWS = [np.arange(2, 9).repeat(2).reshape(7, 2).T + shift for shift in (0, 5, 10)]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return small_accompaniment()


@pytest.fixture(scope="module")
def fine_model() -> Any:
    torch.manual_seed(0)
    return small_fine()


def accompanied(model: Any, windows: list[Any] = WINDOWS, **how: Any) -> Any:
    settings = {"vocabulary": VOCABULARY, "layout": LAYOUT, "seeds": (0, 1)}
    return accompany_codes(model, windows, **{**settings, **how})


def test_the_paper_s_prompt_is_two_runs() -> None:
    """Positions 0 to 124 and 250 to 1249 of 2250."""
    before = torch.arange(2250)[None]
    forced = torch.full((1, 2250), -1)
    force_overlap(forced, before, layout=PAPER, codebooks=4)
    runs = (forced[0] >= 0).nonzero()[:, 0].tolist()
    assert runs == [*range(125), *range(250, 1250)]
    assert forced[0, :125].tolist() == list(range(125, 250))
    assert forced[0, 250:1250].tolist() == list(range(1250, 2250))


def test_a_model_without_semantic_codes_has_one_run() -> None:
    layout = WindowLayout.overlapping(semantic_frames=0, coarse_frames=500)
    forced = torch.full((1, 2000), -1)
    force_overlap(forced, torch.arange(2000)[None], layout=layout, codebooks=4)
    assert (forced[0] >= 0).nonzero()[:, 0].tolist() == list(range(1000))
    assert layout.ranges(PAPER_VOCABULARY).shape == (2000, 2)


def test_thirty_seconds_are_five_windows() -> None:
    assert window_starts(30, window=10, hop=5) == [0, 5, 10, 15, 20]
    assert window_starts(31, window=10, hop=5) == [0, 5, 10, 15, 20, 25]
    assert window_starts(1, window=10, hop=5) == [0]
    assert window_starts(20, window=10, hop=10) == [0, 10]


def test_codes_are_as_long_as_the_windows_reach(model: Any) -> None:
    codes = accompanied(model)
    assert codes.semantic.shape == (2, 4 + 2 + 2)
    assert codes.coarse.shape == (2, 6 + 3 + 3, VOCABULARY.coarse_codebooks)
    assert 0 <= codes.semantic.min() <= codes.semantic.max() < VOCABULARY.semantic_size
    assert 0 <= codes.coarse.min() <= codes.coarse.max() < VOCABULARY.codebook_size


def test_a_longer_song_begins_with_the_shorter_one(model: Any) -> None:
    long, short = accompanied(model), accompanied(model, WINDOWS[:2])
    np.testing.assert_array_equal(long.semantic[:, :6], short.semantic)
    np.testing.assert_array_equal(long.coarse[:, :9], short.coarse)


def test_the_overlap_was_forced(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second window holds there is what the first one wrote, token by token."""
    drawn = []

    def keep(windows: Any, **how: Any) -> Any:
        drawn.extend(windows)
        return join_windows(windows, **how)

    monkeypatch.setattr("singsong.generation.song_codes.join_windows", keep)
    accompanied(model)
    assert len(drawn) == len(WINDOWS)
    for before, after in itertools.pairwise(drawn):
        np.testing.assert_array_equal(after[:, :2], before[:, 2:4])
        np.testing.assert_array_equal(after[:, 4:10], before[:, 10:16])


def test_what_was_generated_before_changes_what_follows(model: Any) -> None:
    """The last window of vocals is the same; its beginning is not. Eight draws: one may agree."""
    windows = [window[:1].repeat(8, axis=0) for window in WINDOWS]
    same, other = (accompanied(model, [first, windows[2]], seeds=range(8)) for first in windows[:2])
    assert (same.coarse[:, 6:] != other.coarse[:, 6:]).any()


def test_seeds_choose_and_rows_are_independent(model: Any) -> None:
    both = accompanied(model)
    assert (both.coarse[0] != both.coarse[1]).any()
    second = accompanied(model, [window[1:] for window in WINDOWS], seeds=(1,))
    np.testing.assert_array_equal(second.coarse, both.coarse[1:])
    np.testing.assert_array_equal(second.semantic, both.semantic[1:])
    without_cache = accompanied(model, cached=False)
    np.testing.assert_array_equal(without_cache.coarse, both.coarse)


def test_each_position_that_is_drawn_is_reported(model: Any) -> None:
    calls: list[None] = []
    accompanied(model, on_token=lambda: calls.append(None))
    first, later = 4 + 12, 2 + 6
    assert len(calls) == first + 2 * later


def test_dropout_is_off_and_then_as_it_was(model: Any) -> None:
    expected = accompanied(model)
    model.train()
    try:
        np.testing.assert_array_equal(accompanied(model).coarse, expected.coarse)
        assert model.training
    finally:
        model.eval()
    with evaluation_mode(model):
        pass
    assert not model.training


def test_fine_codes_keep_the_coarse_ones(fine_model: Any) -> None:
    coarse = np.random.default_rng(0).integers(0, 9, (2, 7, 2)).astype(np.uint16)
    codes = fine_codes(fine_model, coarse, vocabulary=FINE_VOCABULARY, seeds=(0, 1), chunk_frames=3)
    assert codes.shape == (2, 7, 3)
    np.testing.assert_array_equal(codes[..., :2], coarse)
    assert 0 <= codes.min() <= codes.max() < 9


def test_fine_chunks_depend_on_nothing_but_their_own_codes_and_seed(fine_model: Any) -> None:
    coarse = np.random.default_rng(0).integers(0, 9, (2, 7, 2))

    def fine(codes: Any, **how: Any) -> Any:
        settings = {"vocabulary": FINE_VOCABULARY, "seeds": (0, 1), "chunk_frames": 3}
        return fine_codes(fine_model, codes, **{**settings, **how})

    expected = fine(coarse)
    np.testing.assert_array_equal(fine(coarse, batch_chunks=1), expected)
    np.testing.assert_array_equal(fine(coarse, cached=False), expected)
    np.testing.assert_array_equal(fine(coarse[1:], seeds=(1,)), expected[1:])
    np.testing.assert_array_equal(fine(coarse[:, :6]), expected[:, :6])
    changed = coarse.copy()
    changed[:, :3] = (changed[:, :3] + 1) % 9
    np.testing.assert_array_equal(fine(changed)[:, 3:], expected[:, 3:])
    assert (fine(coarse, seeds=(2, 3)) != expected).any()
    assert (fine(coarse, temperature=0.0) != expected).any()


def test_what_makes_no_sense_is_refused(model: Any, fine_model: Any) -> None:
    with pytest.raises(ValueError, match="coarse_hop must be in \\[1, 6\\], found 7"):
        WindowLayout(semantic_frames=0, semantic_hop=0, coarse_frames=6, coarse_hop=7)
    with pytest.raises(ValueError, match="semantic_hop must be in \\[1, 4\\], found 0"):
        WindowLayout(semantic_frames=4, semantic_hop=0, coarse_frames=6, coarse_hop=3)
    with pytest.raises(ValueError, match="semantic_hop must be in \\[1, 1\\], found 0"):
        WindowLayout.overlapping(semantic_frames=1, coarse_frames=2)
    with pytest.raises(ValueError, match="found length 0, window 10, hop 5"):
        window_starts(0, window=10, hop=5)
    with pytest.raises(ValueError, match="at least one window"):
        accompanied(model, [])
    with pytest.raises(ValueError, match="found 2 rows, 1 seeds"):
        accompanied(model, seeds=(0,))
    with pytest.raises(ValueError, match="chunk_frames and batch_chunks must be positive"):
        fine_codes(
            fine_model,
            np.zeros((1, 2, 2), np.int64),
            vocabulary=FINE_VOCABULARY,
            seeds=(0,),
            chunk_frames=0,
        )
