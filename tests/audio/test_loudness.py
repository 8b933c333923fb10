"""The reference is SoX 14.4.2: `sox x.wav -n stats`, line "RMS Pk dB", on the signals below."""

import numpy as np
import pytest

from singsong.audio.loudness import SILENCE_DB, drop_reason, peak_rms_db, without_offset
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
    heard = without_offset(audio, sample_rate_hz=RATE)
    frames = [heard[i : i + samples] for i in range(0, len(audio) - samples + 1, hop)]
    want = max(10 * np.log10(np.mean(np.square(frame, dtype=np.float64))) for frame in frames)
    window = LoudnessWindow(seconds=seconds, hop_fraction=hop_fraction)
    assert peak_rms_db(audio, sample_rate_hz=RATE, rms_window=window) == pytest.approx(
        want, abs=1e-6
    )


@pytest.mark.parametrize("hop_fraction", [0.25, 1.0])
def test_the_first_and_the_last_frame_count(hop_fraction: float) -> None:
    window = LoudnessWindow(seconds=0.04, hop_fraction=hop_fraction)
    audio = np.zeros(3 * 40, np.float32)
    audio[-40:] = 0.1 * (-1.0) ** np.arange(40)
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
    ten = (0.1 * (-1.0) ** np.arange(10)).astype(np.float32)
    short = peak_rms_db(ten, sample_rate_hz=RATE, rms_window=window)
    assert short == pytest.approx(-20, abs=0.01)


def level_db(audio: np.ndarray, kind: str = "rect", rate: int = RATE) -> float:
    return peak_rms_db(
        audio.astype(np.float32), sample_rate_hz=rate, rms_window=LoudnessWindow(kind=kind)
    )


OFFSETS = {
    "constant": lambda seconds: 0.2 + 0 * seconds,
    "negative": lambda seconds: -0.9 + 0 * seconds,
    "ramp": lambda seconds: 0.3 * seconds / seconds[-1],
    "sag": lambda seconds: 0.3 * np.exp(-seconds),
    "wander": lambda seconds: 0.2 * np.sin(2 * np.pi * 0.2 * seconds),
}


@pytest.mark.parametrize("rate", [8000, 44100, 48001])
@pytest.mark.parametrize("kind", ["rect", "exp"])
@pytest.mark.parametrize("name", OFFSETS)
def test_an_offset_is_silence_and_changes_no_level(name: str, kind: str, rate: int) -> None:
    seconds = np.arange(4 * rate) / rate
    offset = OFFSETS[name](seconds)
    assert level_db(offset, kind, rate) < -50
    tone = 0.1 * np.sin(2 * np.pi * 441 * seconds)
    assert level_db(tone + offset, kind, rate) == pytest.approx(level_db(tone, kind, rate), abs=0.1)


@pytest.mark.parametrize("hz", [25, 41.2, 60, 100, 195, 200, 205, 1000])
@pytest.mark.parametrize("phase", [0, np.pi / 2])
def test_what_is_heard_keeps_its_level(hz: float, phase: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hz * TIMES / RATE + phase)
    plain = SIGNALS["tone"]()
    assert level_db(plain) == pytest.approx(-9.03, abs=0.02)
    # What frames of 50 ms measure of a note of few periods depends on where they begin.
    assert -9.2 < level_db(tone) < -9.03 + (1.0 if hz < 60 else 0.2)


@pytest.mark.parametrize("samples", [0, 1, 10, 219, 220, 221, 441])
def test_the_shortest_clips_have_no_offset_either(samples: int) -> None:
    audio = np.full(samples, 0.3, np.float32)
    rest = without_offset(audio, sample_rate_hz=RATE)
    assert rest.shape == audio.shape
    assert not np.abs(rest).max(initial=0) > 1e-7
    assert (audio == np.float32(0.3)).all()


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
