"""Tempi, on clicks and on songs whose tempo is known."""

import numpy as np
import pytest

from singsong.evaluation.tempo import estimate_tempo, fold_ratio, tempo_agrees
from singsong.synth.score import SongSpec, compose
from singsong.synth.song import MIX, render_song


@pytest.mark.parametrize("bpm", [80, 96, 125])
def test_clicks_are_counted(bpm: int) -> None:
    clicks = np.zeros(10 * 16000, np.float32)
    clicks[:: 60 * 16000 // bpm] = 1
    assert tempo_agrees(bpm, estimate_tempo(clicks, sample_rate_hz=16000))


@pytest.mark.slow
def test_tempi_of_songs_are_found() -> None:
    found = 0
    for seed in range(6):
        spec = SongSpec(seed=seed, seconds=10.0)
        mix = render_song(spec)[MIX].mean(axis=0)
        estimate = estimate_tempo(mix, sample_rate_hz=spec.sample_rate_hz)
        found += tempo_agrees(compose(spec).tempo_bpm, estimate)
    assert found >= 5


def test_silence_has_no_tempo() -> None:
    assert estimate_tempo(np.zeros(16000, np.float32), sample_rate_hz=16000) is None


def test_a_ratio_must_be_positive() -> None:
    with pytest.raises(ValueError, match="ratio must be positive, found 0"):
        fold_ratio(0)
