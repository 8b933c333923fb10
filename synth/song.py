"""Renders demo songs: the stems of a composed song and their exact sum."""

from __future__ import annotations

import numpy as np
from scipy.signal import oaconvolve

from singsong.audio.loudness import peak_rms_db
from singsong.schemas.arrays import FloatArray
from singsong.schemas.recipe import LoudnessWindow
from singsong.synth.band import play_bass, play_chords, play_drums
from singsong.synth.score import Score, SongSpec, compose
from singsong.synth.voice import sing

STEMS = ("vocals", "drums", "bass", "chords")
MIX = "mix"

# Peak RMS relative to the drums, which carry the band.
_BAND_DB = {"drums": 0.0, "bass": -3.0, "chords": -3.0}
_VOCALS_ABOVE_DB = (-3.0, 1.5)
"""Range of the level of the vocals, which keeps every clip within the paper's loudness filter."""
_MIX_PEAK = 0.89
_ROOM_S = 0.4
_WET = 0.12


def render_song(spec: SongSpec, score: Score | None = None) -> dict[str, FloatArray]:
    """Returns the stems of a song and their sum.

    Args:
        spec: The song.
        score: The composed song, or None to compose it from the spec.

    Returns:
        `STEMS` and `MIX` by name, each float32 [2, samples] within [-1, 1]. The mix is the
        float32 sum of the stems in the order of `STEMS`, without a limiter.

    >>> song = render_song(SongSpec(seed=0, seconds=1, sample_rate_hz=16000))
    >>> [(name, audio.shape) for name, audio in song.items()][-1]
    ('mix', (2, 16000))
    """
    score = compose(spec) if score is None else score
    stems = {
        "vocals": _in_room(sing(score.melody, spec), spec),
        "drums": play_drums(score, spec),
        "bass": play_bass(score, spec),
        "chords": play_chords(score, spec),
    }
    stems = _balanced(stems, spec)
    return {**stems, MIX: mix_stems(stems)}


def mix_stems(stems: dict[str, FloatArray]) -> FloatArray:
    """Returns the float32 sum of the stems, added in the order of `STEMS`.

    >>> mix_stems({name: np.ones((2, 3), np.float32) for name in STEMS})[0].tolist()
    [4.0, 4.0, 4.0]
    """
    total = np.zeros_like(stems[STEMS[0]])
    for name in STEMS:
        total += stems[name]
    return total


def _balanced(stems: dict[str, FloatArray], spec: SongSpec) -> dict[str, FloatArray]:
    band = {
        name: _scaled(stems[name], to_db=above_db, spec=spec) for name, above_db in _BAND_DB.items()
    }
    band_db = _peak_rms_db(np.sum(list(band.values()), axis=0), spec)
    above_db = float(spec.rng("balance").uniform(*_VOCALS_ABOVE_DB))
    vocals = _scaled(stems["vocals"], to_db=band_db + above_db, spec=spec)
    balanced = {"vocals": vocals, **band}
    gain = np.float32(_MIX_PEAK / np.abs(mix_stems(balanced)).max())
    return {name: audio * gain for name, audio in balanced.items()}


def _scaled(audio: FloatArray, *, to_db: float, spec: SongSpec) -> FloatArray:
    if not audio.any():
        return audio
    return audio * np.float32(10 ** ((to_db - _peak_rms_db(audio, spec)) / 20))


def _peak_rms_db(audio: FloatArray, spec: SongSpec) -> float:
    # Measured as in the pipeline, on the mono downmix. No stem has an offset that would count.
    return peak_rms_db(
        audio.mean(axis=0),
        sample_rate_hz=spec.sample_rate_hz,
        rms_window=LoudnessWindow(),
        keep_offset=True,
    )


def _in_room(voice: FloatArray, spec: SongSpec) -> FloatArray:
    """Returns a voice [samples] with the reverberation of a small room, [2, samples]."""
    time_s = np.arange(int(_ROOM_S * spec.sample_rate_hz), dtype=np.float32) / spec.sample_rate_hz
    echoes = spec.rng("room").standard_normal((2, len(time_s)), dtype=np.float32)
    echoes *= np.exp(-time_s / 0.12) * (time_s > 0.012)
    echoes *= _WET / np.sqrt(np.square(echoes).sum(axis=1, keepdims=True))
    echoes[:, 0] = 1
    return np.asarray(oaconvolve(voice[None], echoes, axes=1)[:, : len(voice)], np.float32)
