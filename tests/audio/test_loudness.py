"""The reference is SoX 14.4.2: `sox x.wav -n stats`, line "RMS Pk dB", on the signals below."""

import numpy as np
import pytest

from singsong.audio.loudness import SILENCE_DB, drop_reason, peak_rms_db
from singsong.schemas.recipe import LoudnessFilter, LoudnessWindow

RATE = 44100
TIMES = np.arange(10 * RATE)
SIGNALS = {
    "bursts": lambda: (
        np.random.default_rng(0).standard_normal(441000)
        * np.repeat(np.random.default_rng(1).random(100), 4410)
        * 0.3
    ).clip(-1, 1),
    "tone": lambda: 0.5 * np.sin(TIMES * 0.05),
    "decay": lambda: np.exp(-TIMES / 20000) * np.sin(TIMES * 0.1),
    "step": lambda: np.where(TIMES < 5 * RATE, 0.01, 0.5) * np.sin(TIMES * 0.3),
}
SOX_RMS_PEAK_DB = {"bursts": -10.79, "tone": -9.01, "decay": -6.8, "step": -9.03}


@pytest.mark.parametrize("name", SIGNALS)
def test_the_exponential_window_is_that_of_sox(name: str) -> None:
    audio = SIGNALS[name]().astype(np.float32)
    measured = peak_rms_db(audio, sample_rate_hz=RATE, rms_window=LoudnessWindow(kind="exp"))
    assert measured == pytest.approx(SOX_RMS_PEAK_DB[name], abs=0.05)


@pytest.mark.parametrize("hop_fraction", [0.25, 1.0])
@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.4])
def test_the_rectangular_window_is_the_loudest_frame(seconds: float, hop_fraction: float) -> None:
    audio = SIGNALS["bursts"]()[:30000].astype(np.float32)
    samples = round(seconds * RATE)
    hop = max(1, round(samples * hop_fraction))
    frames = [audio[i : i + samples] for i in range(0, len(audio) - samples + 1, hop)]
    want = max(10 * np.log10(np.mean(np.square(frame, dtype=np.float64))) for frame in frames)
    window = LoudnessWindow(seconds=seconds, hop_fraction=hop_fraction)
    assert peak_rms_db(audio, sample_rate_hz=RATE, rms_window=window) == pytest.approx(
        want, abs=1e-6
    )


@pytest.mark.parametrize("hop_fraction", [0.25, 1.0])
def test_the_first_and_the_last_frame_count(hop_fraction: float) -> None:
    window = LoudnessWindow(seconds=0.04, hop_fraction=hop_fraction)
    audio = np.zeros(3 * 40, np.float32)
    audio[-40:] = 0.1
    for clip in (audio, audio[::-1]):
        found = peak_rms_db(clip, sample_rate_hz=1000, rms_window=window)
        assert found == pytest.approx(-20, abs=0.01)


@pytest.mark.parametrize("kind", ["rect", "exp"])
def test_silence_and_short_clips_have_finite_figures(kind: str) -> None:
    window = LoudnessWindow(kind=kind)
    silent = peak_rms_db(np.zeros(RATE, np.float32), sample_rate_hz=RATE, rms_window=window)
    assert silent == SILENCE_DB
    assert (
        peak_rms_db(np.zeros(0, np.float32), sample_rate_hz=RATE, rms_window=window) == SILENCE_DB
    )
    short = peak_rms_db(np.full(10, 0.1, np.float32), sample_rate_hz=RATE, rms_window=window)
    assert short == pytest.approx(-20, abs=0.01)


@pytest.mark.parametrize(
    ("vocals_db", "instrumental_db", "reason"),
    [
        (-100.0, -25.0, None),
        (-100.0, -25.01, "instrumental_too_quiet"),
        (-15.01, -20.0, None),
        (-15.0, -20.0, "vocals_too_loud"),
        (-3.0, -20.0, "vocals_too_loud"),
        (-200.0, -200.0, "instrumental_too_quiet"),
    ],
)
def test_the_decision_at_its_borders(
    vocals_db: float, instrumental_db: float, reason: str | None
) -> None:
    decided = drop_reason(
        vocals_db=vocals_db, instrumental_db=instrumental_db, loudness_filter=LoudnessFilter()
    )
    assert decided == reason
