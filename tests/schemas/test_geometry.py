import pytest

from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry, clip_samples

PAPER = {
    "sample_rate_hz": 16000,
    "hop_samples": 320,
    "codebooks": 12,
    "coarse_codebooks": 4,
    "codebook_size": 1024,
}


def test_the_paper_has_2250_target_codes_in_ten_seconds() -> None:
    acoustic = AcousticGeometry(**PAPER)
    semantic = SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=1024)
    samples = clip_samples(10.0, 16000)
    coarse = acoustic.frames(samples) * acoustic.coarse_codebooks
    assert semantic.frames(samples) + coarse == 2250
    assert (acoustic.frame_rate_hz, semantic.frame_rate_hz) == (50.0, 25.0)


@pytest.mark.parametrize("field", PAPER)
def test_nothing_is_zero(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        AcousticGeometry(**{**PAPER, field: 0})


def test_codes_fit_in_uint16() -> None:
    with pytest.raises(ValueError, match="codebook_size"):
        AcousticGeometry(**{**PAPER, "codebook_size": 65537})


def test_no_more_coarse_codebooks_than_codebooks() -> None:
    with pytest.raises(ValueError, match="coarse_codebooks"):
        AcousticGeometry(**{**PAPER, "coarse_codebooks": 13})


@pytest.mark.parametrize(("seconds", "rate"), [(0.00001, 44100), (0.0, 44100), (-1.0, 16000)])
def test_a_clip_is_a_whole_number_of_samples(seconds: float, rate: int) -> None:
    with pytest.raises(ValueError, match="whole number of samples"):
        clip_samples(seconds, rate)


def test_decimal_seconds_are_exact() -> None:
    assert clip_samples(0.1, 44100) == 4410
    assert clip_samples(29.97, 44100) == 1321677
