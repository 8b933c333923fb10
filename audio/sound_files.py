"""Writes audio to sound files."""

from __future__ import annotations

import io
import os
import tempfile
import warnings

import numpy as np
import soundfile

from singsong import storage
from singsong.audio.decode_process import ffmpeg_path
from singsong.audio.sound_formats import (
    FORMATS,
    check_audio_fits,
    check_sound_file,
    suffix_of,
)
from singsong.schemas.arrays import FloatArray

_M4A_BITRATE = "192k"


def write_sound_file(url: str, audio: FloatArray, *, sample_rate_hz: int) -> float:
    """Writes audio atomically in the format of the URL's suffix; returns the applied gain.

    Audio that exceeds full scale is scaled down as a whole, so that nothing is clipped.

    Args:
        url: Local path or fsspec URL that ends in .wav, .flac, .mp3 or .m4a.
        audio: float32 [channels, samples].
        sample_rate_hz: Its sample rate.

    Raises:
        ValueError: The suffix is not supported.
        UnwritableAudioError: The format does not support the audio.
        OSError: The file cannot be written.
    """
    check_sound_file(url)
    suffix = suffix_of(url)
    kind, subtype = FORMATS[suffix]
    check_audio_fits(suffix, channels=len(audio), sample_rate_hz=sample_rate_hz)
    scale = 1 / max(1.0, float(np.abs(audio).max(initial=0.0)))
    with tempfile.TemporaryDirectory(prefix="singsong-") as folder:
        path = os.path.join(folder, f"sound{suffix}")
        scaled = audio * np.float32(scale)
        if suffix == ".m4a":
            _write_m4a(path, scaled, sample_rate_hz)
        else:
            soundfile.write(path, scaled.T, sample_rate_hz, subtype, format=kind)
        with open(path, "rb") as file:
            storage.put_file(url, file)
    return scale


def _write_m4a(path: str, audio: FloatArray, sample_rate_hz: int) -> None:
    """Writes an m4a with pydub and ffmpeg: libsndfile has no AAC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub finds no ffmpeg on the path; it is given one below
        from pydub import AudioSegment
    AudioSegment.converter = ffmpeg_path()
    samples = np.round(audio.T.clip(-1, 1) * 32767).astype("<i2")
    segment = AudioSegment(
        samples.tobytes(), sample_width=2, frame_rate=sample_rate_hz, channels=len(audio)
    )
    segment.export(path, format="ipod", codec="aac", bitrate=_M4A_BITRATE).close()


def flac_bytes(audio: FloatArray, *, sample_rate_hz: int) -> bytes:
    """Returns audio as a 16-bit FLAC file; samples over full scale are clipped.

    Args:
        audio: float32 [samples] or [channels, samples].
        sample_rate_hz: Samples per second.

    >>> flac_bytes(np.zeros(160, np.float32), sample_rate_hz=16000)[:4]
    b'fLaC'
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.clip(-1, 1).T, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def read_flac_bytes(data: bytes) -> FloatArray:
    """Returns the audio that `flac_bytes` stored.

    Args:
        data: A FLAC file.

    Returns:
        float32 [samples] or [samples, channels], in steps of 2^-15.

    >>> read_flac_bytes(flac_bytes(np.full(160, 0.5, np.float32), sample_rate_hz=16000))[:2]
    array([0.5, 0.5], dtype=float32)
    """
    audio: FloatArray = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    return audio
