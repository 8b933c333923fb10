"""The vocals of a stem file, against those that ffmpeg gives the tests."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.audio.stem_file import write_vocals
from singsong.commands.demo import wheel_recordings
from singsong.schemas.errors import CorruptAudioError
from tests.support.real_audio import musdb_excerpt


def test_the_vocals_come_out_and_not_the_mix(tmp_path: Path) -> None:
    _, excerpt = wheel_recordings()
    write_vocals(str(excerpt), str(tmp_path / "vocals.wav"))
    vocals, rate_hz = soundfile.read(tmp_path / "vocals.wav", dtype="float32")
    assert rate_hz == 44100
    np.testing.assert_allclose(vocals.mean(axis=1), musdb_excerpt()["vocals"], atol=1e-6)


def test_a_file_without_stems_is_refused(tmp_path: Path) -> None:
    song, _ = wheel_recordings()
    with pytest.raises(CorruptAudioError, match=song.name):
        write_vocals(str(song), str(tmp_path / "vocals.wav"))
