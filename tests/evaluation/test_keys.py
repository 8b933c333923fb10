"""Keys, on songs whose key is known."""

import numpy as np
import pytest

from singsong.evaluation.keys import estimate_key, key_agreement
from singsong.synth.score import Key, SongSpec, compose
from singsong.synth.song import MIX, render_song

C_MAJOR, A_MINOR = Key(tonic=0, mode="major"), Key(tonic=9, mode="minor")


@pytest.mark.slow
def test_keys_of_songs_are_found() -> None:
    agreements = []
    for seed in range(6):
        spec = SongSpec(seed=seed, seconds=10.0)
        mix = render_song(spec)[MIX].mean(axis=0)
        score = compose(spec)
        estimate = estimate_key(mix, sample_rate_hz=spec.sample_rate_hz)
        agreements.append(key_agreement(score.key, estimate))
    assert np.mean(agreements) > 0.7  # by chance it would be 0.1


def test_silence_has_no_key() -> None:
    assert estimate_key(np.zeros(44100, np.float32), sample_rate_hz=44100) is None
    assert key_agreement(C_MAJOR, None) == 0


@pytest.mark.parametrize(
    ("reference", "estimate", "score"),
    [
        (C_MAJOR, C_MAJOR, 1),
        (C_MAJOR, Key(tonic=7, mode="major"), 0.5),
        (C_MAJOR, Key(tonic=5, mode="major"), 0.5),
        (C_MAJOR, A_MINOR, 0.3),
        (A_MINOR, C_MAJOR, 0.3),
        (C_MAJOR, Key(tonic=0, mode="minor"), 0.2),
        (C_MAJOR, Key(tonic=1, mode="major"), 0),
        (A_MINOR, Key(tonic=6, mode="major"), 0),
    ],
)
def test_the_score_is_that_of_mirex(reference: Key, estimate: Key, score: float) -> None:
    assert key_agreement(reference, estimate) == score
