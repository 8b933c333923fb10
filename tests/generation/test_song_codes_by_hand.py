"""Whole accompaniments against a plain loop: each token from the logits of all before it."""

from typing import Any

import numpy as np
import pytest
import torch

from singsong.generation.accompanist import Accompanist
from singsong.generation.sampling_config import Sampling
from singsong.generation.song_codes import accompany_codes, fine_codes
from singsong.generation.song_windows import WindowLayout, force_overlap, join_windows
from singsong.training import accompaniment_model, fine_model
from singsong.training.featurization import FineCrops
from singsong.training.fine_model import FineConfig, FineModel
from singsong.training.presets import FINE
from singsong.training.provenance import Provenance
from singsong.training.vocabulary import FineVocabulary
from tests.support.keyed_random import keyed
from tests.support.recording_models import RATE, voice, windows_of
from tests.support.trained import VOCABULARY, small_accompaniment

UNEVEN = WindowLayout(semantic_frames=4, semantic_hop=1, coarse_frames=6, coarse_hop=2)
SOURCES = np.arange(2, 23).reshape(3, 7)
"""What is read of a singer in three windows."""
FINE_VOCABULARY = FineVocabulary(codebooks=4, coarse_codebooks=2, codebook_size=9)
COARSE = np.random.default_rng(0).integers(0, 9, (1, 7, 2))


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return small_accompaniment()


def new_fine_model(codebooks: int) -> Any:
    torch.manual_seed(1)
    return FineModel(FineConfig(vocab_size=2 + 9 * codebooks, **FINE["tiny"])).eval()


def drawn_by_hand(logits: torch.Tensor, uniform: float, temperature: float) -> int:
    """Returns the code whose slice of [0, 1) holds a number."""
    values = logits.detach().double().numpy()
    if temperature == 0:
        return int(values.argmax())
    weights = np.exp((values - values.max()) / temperature)
    return int(np.searchsorted(np.cumsum(weights / weights.sum()), uniform, side="right"))


def semantic_and_coarse_ranges(layout: WindowLayout) -> list[tuple[int, int]]:
    """7 semantic codes from token 2 on, then 2 coarse codebooks of 9 codes."""
    return [(2, 9)] * layout.semantic_frames + [(9, 18), (18, 27)] * layout.coarse_frames


@torch.no_grad()
def accompanied_by_hand(
    model: Any, sources: np.ndarray, *, layout: WindowLayout, seed: int, temperature: float
) -> tuple[list[int], list[int]]:
    """Returns semantic and coarse tokens; each window keeps what the one before wrote there."""
    semantic: list[int] = []
    coarse: list[int] = []
    for number, source in enumerate(sources):
        uniforms = keyed(seed, "accompaniment", f"window {number}").random(
            layout.semantic_frames + 2 * layout.coarse_frames
        )
        kept_semantic = semantic[number * layout.semantic_hop :]
        kept_coarse = coarse[2 * number * layout.coarse_hop :]
        tokens: list[int] = []
        for position, (first, end) in enumerate(semantic_and_coarse_ranges(layout)):
            at = position - layout.semantic_frames
            kept = kept_semantic[position:] if at < 0 else kept_coarse[at:]
            if kept:
                tokens.append(kept[0])
                continue
            logits = accompaniment_model.target_logits(
                model, torch.tensor(source)[None], torch.tensor([[*tokens, 0]])
            )[0, -1, first:end]
            tokens.append(first + drawn_by_hand(logits, uniforms[position], temperature))
            (semantic if at < 0 else coarse).append(tokens[-1])
    return semantic, coarse


@torch.no_grad()
def fine_by_hand(
    model: Any, coarse: np.ndarray, *, fine_books: int, seed: int, chunk: int, temperature: float
) -> np.ndarray:
    """Returns the fine codes of frames [frames, 2]; each chunk knows its own coarse codes alone."""
    found = []
    for start in range(0, len(coarse), chunk):
        given = (coarse[start : start + chunk] + np.array([2, 11])).reshape(-1).tolist()
        size = len(given) // 2
        uniforms = keyed(seed, "accompaniment", f"frame {start}").random((2 + fine_books) * size)
        fine: list[int] = []
        for position in range(fine_books * size):
            first = 20 + 9 * (position % fine_books)
            logits = fine_model.target_logits(
                model, torch.tensor([given]), torch.tensor([[*fine, 0]])
            )[0, -1, first : first + 9]
            code = drawn_by_hand(logits, uniforms[len(given) + position], temperature)
            fine.append(first + code)
            found.append(code)
    return np.array(found).reshape(-1, fine_books)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
def test_an_accompaniment_is_drawn_as_by_hand(model: Any, temperature: float) -> None:
    seeds = [0, 4]
    codes = accompany_codes(
        model,
        list(SOURCES[:, None].repeat(2, axis=1)),
        vocabulary=VOCABULARY,
        layout=UNEVEN,
        seeds=seeds,
        temperature=temperature,
    )
    for row, seed in enumerate(seeds):
        semantic, coarse = accompanied_by_hand(
            model, SOURCES, layout=UNEVEN, seed=seed, temperature=temperature
        )
        assert (codes.semantic[row] + 2).tolist() == semantic
        assert (codes.coarse[row] + np.array([9, 18])).reshape(-1).tolist() == coarse
    assert (codes.coarse[0] == codes.coarse[1]).all() == (temperature == 0)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
def test_fine_codes_are_drawn_as_by_hand(temperature: float) -> None:
    model, seeds = new_fine_model(codebooks=4), [0, 4]
    found = fine_codes(
        model,
        COARSE.repeat(2, axis=0),
        vocabulary=FINE_VOCABULARY,
        seeds=seeds,
        chunk_frames=3,
        temperature=temperature,
    )
    for row, seed in enumerate(seeds):
        expected = fine_by_hand(
            model, COARSE[0], fine_books=2, seed=seed, chunk=3, temperature=temperature
        )
        np.testing.assert_array_equal(found[row], np.concatenate([COARSE[0], expected], 1))
    assert (found[0] == found[1]).all() == (temperature == 0)


def test_windows_are_joined_at_the_frame_where_the_new_one_goes_on() -> None:
    """Windows whose codes count the frames of the song, cut out of it every hop."""
    song = np.arange(8) % 7
    acoustic = np.stack([np.arange(10) % 9, (np.arange(10) + 4) % 9], -1)
    windows = []
    for number in range(3):
        semantic = song[number : number + 4] + 2
        coarse = acoustic[2 * number : 2 * number + 6] + np.array([9, 18])
        windows.append(np.concatenate([semantic, coarse.reshape(-1)])[None])
    joined = join_windows(windows, vocabulary=VOCABULARY, layout=UNEVEN)
    np.testing.assert_array_equal(joined.semantic[0], song[:6])
    np.testing.assert_array_equal(joined.coarse[0], acoustic)


def test_frames_with_the_silence_of_a_clip_s_end_are_drawn_anew() -> None:
    """Windows of 4 semantic and 6 coarse frames whose last ones are padded, marked by a 6 or 8."""
    layout = WindowLayout(
        semantic_frames=4,
        semantic_hop=1,
        coarse_frames=6,
        coarse_hop=2,
        semantic_padded=1,
        coarse_padded=1,
    )
    song = np.arange(6) % 6
    acoustic = np.stack([np.arange(10) % 8, (np.arange(10) + 4) % 8], -1)
    windows = []
    for number in range(3):
        semantic = np.append(song[number : number + 3], 6) + 2
        coarse = np.append(acoustic[2 * number : 2 * number + 5], [[8, 8]], 0) + np.array([9, 18])
        windows.append(np.concatenate([semantic, coarse.reshape(-1)])[None])
    joined = join_windows(windows, vocabulary=VOCABULARY, layout=layout)
    assert joined.semantic[0].tolist() == [0, 1, 2, 3, 4, 6]
    np.testing.assert_array_equal(joined.coarse[0], [*acoustic[:9], [8, 8]])
    forced = torch.full((1, 16), -1)
    force_overlap(forced, torch.tensor(windows[0]), layout=layout, codebooks=2)
    known = forced[0] >= 0
    assert known.tolist() == [True] * 2 + [False] * 2 + [True] * 6 + [False] * 6
    np.testing.assert_array_equal(forced[0, known], windows[1][0, known])
    assert layout.free_tokens(3, codebooks=2) == 16 + 2 * (2 + 6)


def test_a_window_that_follows_the_last_keeps_its_padded_frame() -> None:
    layout = WindowLayout(
        semantic_frames=0, semantic_hop=0, coarse_frames=3, coarse_hop=3, coarse_padded=1
    )
    assert (layout.coarse_kept, layout.free_tokens(2, codebooks=2)) == (0, 12)
    windows = [np.tile([9, 18], 3)[None] + number for number in range(2)]
    joined = join_windows(windows, vocabulary=VOCABULARY, layout=layout)
    assert joined.coarse[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1]


def accompanist_of(model: Any, *, fine: bool) -> Accompanist:
    windows = windows_of(featurization="S-SA", noisy=False)
    provenance = windows.provenance
    own = Provenance(**{**vars(provenance), "view": FineCrops(seconds=0.75)})
    return Accompanist(
        model=model,
        provenance=provenance,
        acoustic=windows.acoustic,
        semantic=windows.semantic,
        fine=(new_fine_model(codebooks=3), own) if fine else None,
    )


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.3, fine_temperature=3.0),
        Sampling(temperature=3.0, fine_temperature=0.0),
    ],
)
def test_the_user_s_seeds_and_temperatures_decide(
    model: Any, sampling: Sampling, fine: bool
) -> None:
    """Two seconds are three windows: 2 semantic and 4 coarse frames, of which half are new."""
    accompanist, seeds = accompanist_of(model, fine=fine), [0, 5]
    layout = WindowLayout(semantic_frames=2, semantic_hop=1, coarse_frames=4, coarse_hop=2)
    vocals = voice(2.0)
    accompanist.accompany(vocals, sample_rate_hz=RATE, seeds=seeds, sampling=sampling)
    sources = accompanist.windows.tokens(vocals, sample_rate_hz=RATE)
    assert len(sources) == 3
    for row, seed in enumerate(seeds):
        _, coarse = accompanied_by_hand(
            model, sources, layout=layout, seed=seed, temperature=sampling.temperature
        )
        expected = np.array(coarse).reshape(-1, 2) - np.array([9, 18])
        if fine:
            more = fine_by_hand(
                accompanist.fine[0] if accompanist.fine else None,
                expected,
                fine_books=1,
                seed=seed,
                chunk=3,
                temperature=sampling.fine_temperature,
            )
            expected = np.concatenate([expected, more], 1)
        np.testing.assert_array_equal(accompanist.acoustic.read[row], expected)


@pytest.mark.parametrize("rate_hz", [800, 1600, 4410])
def test_an_accompaniment_has_the_pitch_and_the_time_of_its_codes(model: Any, rate_hz: int) -> None:
    """The codec decodes to one tone, whatever the codes."""
    vocals = voice(1.3, rate_hz)
    accompanist = accompanist_of(model, fine=False)
    (heard,) = accompanist.accompany(vocals, sample_rate_hz=rate_hz)
    assert heard.shape == vocals.shape
    inside = slice(rate_hz // 16, -rate_hz // 16)
    np.testing.assert_allclose(heard[inside], vocals[inside], atol=0.02)
