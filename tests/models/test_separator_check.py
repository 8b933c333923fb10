"""A separator that is late, inverted or not whole is named before any track."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import singsong.models.bundle
from singsong.models.bundle import load_models
from singsong.models.separator_check import SeparatorCheckError, check_on_known_song, known_song
from singsong.models.spleeter import SpleeterSeparator
from singsong.schemas.arrays import FloatArray
from singsong.schemas.recipe import EncodeRecipe, ModelSpec
from singsong.schemas.separation import NO_SEPARATION_LIMITS, SeparationLimits

Change = Callable[[FloatArray], FloatArray]


class Masking:
    """Takes the upper part of the spectrum for vocals, and then does something to them."""

    weights_sha256 = "0" * 64

    def __init__(self, change: Change = lambda vocals: vocals, rate_hz: int = 44100) -> None:
        self.sample_rate_hz = rate_hz
        self._change = change
        self.calls = 0

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        self.calls += 1
        spectrum = np.fft.rfft(mix)
        hz = np.fft.rfftfreq(mix.shape[1], 1 / self.sample_rate_hz)
        vocals = np.fft.irfft(spectrum * (hz > 200), mix.shape[1])
        return self._change(vocals.astype(np.float32))


def check(separator: Masking, limits: SeparationLimits | None = None) -> None:
    check_on_known_song(separator, limits or SeparationLimits(), name="mine")


def set_nan(vocals: FloatArray) -> FloatArray:
    vocals[0, 77] = np.nan
    return vocals


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 48000])
def test_a_mask_passes_at_every_rate(rate_hz: int) -> None:
    check(Masking(rate_hz=rate_hz))


def test_spleeter_passes_within_a_second() -> None:
    separator = SpleeterSeparator()
    start = time.process_time()
    check_on_known_song(separator, SeparationLimits(), name="spleeter")
    assert time.process_time() - start < 3  # about 0.2 s; three where the machine is busy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vocals: np.roll(vocals, 4410, axis=1), "the vocals are 100.0 ms late"),
        (lambda vocals: np.roll(vocals, 882, axis=1), "the vocals are 20.0 ms late"),
        (lambda vocals: np.roll(vocals, -2205, axis=1), "ms early"),
        (lambda vocals: -vocals, "inverted"),
        (lambda vocals: np.float32(-3) * vocals, "inverted"),
        (lambda vocals: np.float32(3) * vocals, "too loud"),
        (
            lambda vocals: np.random.default_rng(0).standard_normal(vocals.shape, np.float32),
            "not those of this mix",
        ),
        (lambda vocals: vocals[:, :-1], "have the shape of the mix"),
        (lambda vocals: vocals[0], "have the shape of the mix"),
        (lambda vocals: vocals.astype(np.float64), "array of float32, found float64"),
        (lambda vocals: vocals.tolist(), "array of float32, found list"),
        (set_nan, "NaN or infinite"),
    ],
)
def test_a_broken_separator_is_named_with_what_is_wrong(change: Change, message: str) -> None:
    with pytest.raises(SeparatorCheckError, match="the separator mine fails the test") as caught:
        check(Masking(change))
    assert message in str(caught.value)
    assert "--separator" in str(caught.value)


def test_a_separator_that_changes_its_mix_is_named() -> None:
    class Scaling(Masking):
        def separate_vocals(self, mix: FloatArray) -> FloatArray:
            mix *= np.float32(0.5)
            return super().separate_vocals(mix)

    with pytest.raises(SeparatorCheckError, match="it changes the mix"):
        check(Scaling())


def test_without_limits_only_the_array_is_looked_at() -> None:
    check(Masking(lambda vocals: -vocals), NO_SEPARATION_LIMITS)
    with pytest.raises(SeparatorCheckError, match="shape"):
        check(Masking(lambda vocals: vocals[:, :-1]), NO_SEPARATION_LIMITS)


def test_a_separator_that_finds_no_voice_passes() -> None:
    check(Masking(lambda vocals: 0 * vocals))


def test_the_song_is_the_same_each_time_and_within_full_scale() -> None:
    assert np.array_equal(known_song(44100), known_song(44100))
    assert 0.5 < np.abs(known_song(44100)).max() <= 1


def test_loading_models_tests_the_separator_once(monkeypatch: pytest.MonkeyPatch) -> None:
    separator = Masking()
    monkeypatch.setattr(singsong.models.bundle, "load_separator", lambda spec, **where: separator)
    recipe = EncodeRecipe(separator=ModelSpec(name="a separator of this test"))
    for _ in range(2):
        assert load_models(recipe).separator is separator
    assert separator.calls == 1
    inverted = Masking(lambda vocals: -vocals)
    monkeypatch.setattr(singsong.models.bundle, "load_separator", lambda spec, **where: inverted)
    other = replace(recipe, separator=ModelSpec(name="another"))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"the separator another fails .* inverted"):
            load_models(other)


class MaskingStereo(Masking):
    """The same on each channel."""

    def separate_stereo(self, mix: FloatArray) -> FloatArray:
        sides = [super(MaskingStereo, self).separate_vocals(side) for side in mix]
        return np.stack(sides)


def test_stereo_passes_where_both_channels_do() -> None:
    check_on_known_song(MaskingStereo(), SeparationLimits(), name="mine", stereo=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vocals: np.roll(vocals, 882, axis=-1), r"20\.0 ms late"),
        (lambda vocals: vocals.mean(axis=0, keepdims=True), "the shape of the mix"),
    ],
)
def test_stereo_is_tested_with_two_channels(change: Change, message: str) -> None:
    separator = MaskingStereo(change)
    with pytest.raises(SeparatorCheckError, match=message):
        check_on_known_song(separator, SeparationLimits(), name="mine", stereo=True)


def test_a_separator_without_stereo_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singsong.models.bundle, "load_separator", lambda *_, **__: Masking())
    recipe = EncodeRecipe(separator=ModelSpec(name="mine"), stereo=True)
    with pytest.raises(ValueError, match="the separator mine takes mono alone: leave --stereo out"):
        load_models(recipe)


@pytest.mark.parametrize("stereo", [False, True])
def test_a_separator_is_tested_as_it_will_run(
    monkeypatch: pytest.MonkeyPatch, stereo: bool
) -> None:
    class LateInStereo(MaskingStereo):
        def separate_stereo(self, mix: FloatArray) -> FloatArray:
            return np.roll(super().separate_stereo(mix), 882, axis=-1)

    monkeypatch.setattr(singsong.models.bundle, "load_separator", lambda *_, **__: LateInStereo())
    recipe = EncodeRecipe(separator=ModelSpec(name=f"late-{stereo}"), stereo=stereo)
    if stereo:
        with pytest.raises(SeparatorCheckError, match="late"):
            load_models(recipe)
    else:
        assert load_models(recipe).separator is not None
