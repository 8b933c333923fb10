from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.audio.loudness import peak_rms_db
from singsong.commands import cli
from singsong.commands.demo import wheel_recordings
from singsong.evaluation.rms_calibration import RMS_WINDOWS, count_clips, vocal_tracks
from singsong.schemas.recipe import LoudnessWindow
from tests.support.fakes import RATE, tone
from tests.support.real_audio import musdb_excerpt


def test_stem_files_are_counted_by_their_vocals() -> None:
    stems = [path for path in wheel_recordings() if path.name.endswith(".stem.mp4")]
    vocals = musdb_excerpt()["vocals"]
    clips = [vocals[start : start + 2 * RATE] for start in range(0, 6 * RATE, 2 * RATE)]
    counts, total = count_clips(stems, clip_seconds=2.0, threshold_db=-15.0)
    assert total == 3
    for window in RMS_WINDOWS:
        levels = [peak_rms_db(clip, sample_rate_hz=RATE, rms_window=window) for clip in clips]
        if min(abs(level + 15) for level in levels) > 0.01:
            assert counts[window] == sum(level > -15 for level in levels), window


def test_the_folders_of_musdb18_hq_are_read_too(tmp_path: Path, capsys) -> None:
    (tmp_path / "song").mkdir()
    quiet_then_loud = np.concatenate([tone(1, hz=300, level=0.01), tone(1, hz=300)])
    soundfile.write(tmp_path / "song" / "vocals.wav", quiet_then_loud, RATE)
    assert cli.main(["calibrate-rms", str(tmp_path), "--clip-seconds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "2 clips in total; the paper kept 778" in printed
    assert "rect 50 ms" in printed
    assert "-777" in printed
    assert LoudnessWindow() in RMS_WINDOWS


def test_a_folder_without_stems_is_one_sentence(tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="MUSDB18"):
        vocal_tracks(tmp_path)
    assert cli.main(["calibrate-rms", str(tmp_path)]) == 1
    assert "MUSDB18" in capsys.readouterr().err
