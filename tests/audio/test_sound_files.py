"""Sound files, read back by libsndfile and ffmpeg."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.audio.sound_files import write_sound_file
from singsong.audio.sound_formats import FORMATS, check_sound_file
from singsong.schemas.errors import UnwritableAudioError
from tests.support import audio_files as files


def tone(channels: int, amplitude: float = 0.5) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    return np.tile(wave.astype(np.float32), (channels, 1))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, channels: int) -> None:
    path, audio = tmp_path / f"sound{suffix}", tone(channels)
    assert write_sound_file(str(path), audio, sample_rate_hz=44100) == 1
    if suffix == ".m4a":
        back, rate = files.read_with_ffmpeg(path, channels=channels), 44100
    else:
        read, rate = soundfile.read(path, dtype="float32", always_2d=True)
        back = read.T
    assert (rate, len(back)) == (44100, channels)
    tolerance = 0.02 if suffix in (".mp3", ".m4a") else 1e-6
    np.testing.assert_allclose(back[:, 10_000:40_000], audio[:, 10_000:40_000], atol=tolerance)


def test_what_is_too_loud_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    path, audio = tmp_path / "loud.wav", tone(1, amplitude=2.0)
    scale = write_sound_file(str(path), audio, sample_rate_hz=44100)
    assert scale == pytest.approx(0.5, rel=1e-4)
    back, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(back, audio[0] * scale, atol=1e-6)


def test_other_formats_and_rates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in one of \.wav"):
        check_sound_file("mix.aac")
    with pytest.raises(UnwritableAudioError, match=r"found 1 at 96000 Hz: write \.wav"):
        write_sound_file(str(tmp_path / "mix.mp3"), tone(1), sample_rate_hz=96000)
    with pytest.raises(UnwritableAudioError, match=r"m4a .* found 3 at 44100 Hz: write \.wav"):
        write_sound_file(str(tmp_path / "mix.m4a"), tone(3), sample_rate_hz=44100)
    with pytest.raises(UnwritableAudioError, match="up to 8 channels, found 9"):
        write_sound_file(str(tmp_path / "mix.flac"), tone(9), sample_rate_hz=48000)
    assert not list(tmp_path.iterdir())
