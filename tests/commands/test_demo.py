from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.commands import cli, demo
from singsong.dataset.counts import TrackCounts
from singsong.dataset.manifest import read_manifest


@pytest.mark.slow
def test_the_demo_runs_twice_and_encodes_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "demo",
        "--folder",
        str(tmp_path),
        "--songs",
        "2",
        "--seconds",
        "11",
        "--steps",
        "4",
    ]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "is whole" in printed
    assert "What to look at" in printed
    manifest = read_manifest(str(tmp_path / "dataset"))
    assert manifest.counts.tracks == TrackCounts(listed=4, encoded=4)
    assert (tmp_path / "listen" / "index.html").exists()
    assert list((tmp_path / "music" / "songs" / "stems").rglob("vocals.flac"))
    vocals, rate_hz = soundfile.read(tmp_path / "vocals.wav", dtype="float32")
    mix, _ = soundfile.read(tmp_path / "accompanied.wav", dtype="float32")
    assert (rate_hz, mix.shape) == (44100, vocals.shape)
    assert np.abs(vocals).max() > 0.1
    assert np.abs(mix - vocals).max() > 0.01
    assert cli.main(arguments) == 0
    assert "worker time" not in capsys.readouterr().out
    assert read_manifest(str(tmp_path / "dataset")).dataset_digest == manifest.dataset_digest


def test_the_recordings_of_the_wheels_are_there() -> None:
    assert [path.suffix for path in demo.wheel_recordings()] == [".mp3", ".mp4"]
