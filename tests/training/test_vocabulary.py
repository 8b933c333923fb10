"""The paper's figures, and codes that come back as they were."""

import numpy as np
import pytest

from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry
from singsong.schemas.records import Geometry
from singsong.training.vocabulary import PAD, SOS, FineVocabulary, TokenBlock, Vocabulary
from tests.support.token_masks import allowed

PAPER = Geometry(
    acoustic=AcousticGeometry(
        sample_rate_hz=16000, hop_samples=320, codebooks=12, coarse_codebooks=4, codebook_size=1024
    ),
    semantic=SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=1024),
)
VOCABULARY = Vocabulary.from_geometry(PAPER)
FINE = FineVocabulary.from_geometry(PAPER)
SMALL = Vocabulary(semantic_size=5, coarse_codebooks=2, codebook_size=3)


def test_the_paper_has_5122_tokens() -> None:
    assert VOCABULARY.size == 5122
    assert (PAD, SOS) == (0, 1)
    assert VOCABULARY.semantic_tokens(np.array([0, 1023], np.uint16)).tolist() == [2, 1025]
    first = VOCABULARY.coarse_tokens(np.zeros((1, 12), np.uint16))
    last = VOCABULARY.coarse_tokens(np.full((1, 12), 1023, np.uint16))
    assert first.tolist() == [1026, 2050, 3074, 4098]
    assert last.tolist() == [2049, 3073, 4097, 5121]


def test_the_fine_model_has_twelve_ranges() -> None:
    assert FINE.size == 2 + 12 * 1024
    assert FINE.coarse.tokens(np.zeros((1, 4), np.uint16)).tolist() == [2, 1026, 2050, 3074]
    assert FINE.fine.tokens(np.zeros((1, 8), np.uint16)).tolist() == [
        2 + 1024 * codebook for codebook in range(4, 12)
    ]
    assert FINE.ranges(150).shape == (600 + 1200, 2)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_codes_come_back(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    semantic = random.integers(0, 1024, (*shape, 7)).astype(np.uint16)
    tokens = VOCABULARY.semantic_tokens(semantic)
    assert (tokens.dtype, tokens.shape) == (np.int64, semantic.shape)
    np.testing.assert_array_equal(VOCABULARY.semantic_codes(tokens), semantic)
    acoustic = random.integers(0, 1024, (*shape, 7, 12)).astype(np.uint16)
    tokens = VOCABULARY.coarse_tokens(acoustic)
    assert (tokens.dtype, tokens.shape) == (np.int64, (*shape, 28))
    np.testing.assert_array_equal(VOCABULARY.coarse_codes(tokens), acoustic[..., :4])


def test_each_position_has_the_range_of_its_own_codebook() -> None:
    mask = allowed(VOCABULARY.ranges(semantic_frames=250, coarse_frames=500), VOCABULARY.size)
    assert mask.shape == (2250, 5122)
    assert set(mask.sum(1)) == {1024}
    assert not mask[:, [PAD, SOS]].any()
    random = np.random.default_rng(0)
    target = np.concatenate(
        [
            VOCABULARY.semantic_tokens(random.integers(0, 1024, 250)),
            VOCABULARY.coarse_tokens(random.integers(0, 1024, (500, 4))),
        ]
    )
    assert mask[np.arange(2250), target].all()
    assert mask[np.arange(2250), np.roll(target, 1)].sum() == 249


@pytest.mark.parametrize(
    ("ranges", "size"),
    [(SMALL.ranges(semantic_frames=1, coarse_frames=1), SMALL.size), (FINE.ranges(1), FINE.size)],
)
def test_the_ranges_are_disjoint_and_fill_the_vocabulary(ranges: np.ndarray, size: int) -> None:
    assert allowed(ranges, size).sum(0).tolist() == [0, 0] + [1] * (size - 2)


@pytest.mark.parametrize("field", ["semantic_size", "coarse_codebooks", "codebook_size"])
def test_nothing_is_zero(field: str) -> None:
    sizes = {"semantic_size": 1, "coarse_codebooks": 1, "codebook_size": 1}
    with pytest.raises(ValueError, match=field):
        Vocabulary(**{**sizes, field: 0})
    with pytest.raises(ValueError, match="0 codebooks of 4"):
        TokenBlock(first=0, codebooks=0, codebook_size=4)


def test_a_codec_without_fine_codebooks() -> None:
    with pytest.raises(ValueError, match="4 coarse of 4"):
        FineVocabulary(codebooks=4, coarse_codebooks=4, codebook_size=1024)
    with pytest.raises(ValueError, match="codebooks must be positive"):
        FineVocabulary(codebooks=4, coarse_codebooks=0, codebook_size=1024)


def test_too_few_codebooks() -> None:
    with pytest.raises(ValueError, match="4 codebooks, found 3"):
        VOCABULARY.coarse_tokens(np.zeros((5, 3), np.uint16))


@pytest.mark.parametrize("token", [PAD, SOS, SMALL.coarse.first])
def test_a_token_that_is_not_semantic(token: int) -> None:
    with pytest.raises(ValueError, match="of 5"):
        SMALL.semantic_codes(np.array([2, token]))


@pytest.mark.parametrize("tokens", [[6, 10], [10, 10], [7, 13]])
def test_a_token_of_another_codebook(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="of 3"):
        SMALL.coarse_codes(np.array(tokens))


def test_a_frame_that_is_not_whole() -> None:
    with pytest.raises(ValueError, match="frames of 2, found 3"):
        SMALL.coarse_codes(np.array([7, 10, 7]))
