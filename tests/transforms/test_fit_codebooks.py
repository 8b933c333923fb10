from pathlib import Path

import numpy as np
import pytest
import soundfile

from schemas.elements import Track
from transforms.fit_codebooks import FitConfig, draw_frames
from transforms.progress import STOP_NAME, ProgressReader, StoppedError


@pytest.fixture
def track(tmp_path: Path) -> Track:
    """Two clips of ten seconds, and a tail."""
    path = tmp_path / "noise.wav"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 25 * 16000)
    soundfile.write(path, noise, 16000)
    return Track(track_id="noise", uri=str(path), size_bytes=path.stat().st_size)


@pytest.mark.parametrize("kind", ["acoustic", "semantic"])
def test_each_clip_is_told_and_ctrl_c_is_heard(kind: str, track: Track, tmp_path: Path) -> None:
    told = tmp_path / "progress"
    told.mkdir()
    config = FitConfig(kind=kind, output="", scratch="", progress=str(told), frames_per_clip=7)
    assert len(draw_frames(track, config, config.load_fitter())) == 2 * 7
    assert ProgressReader(told).read().seconds == 20

    (told / STOP_NAME).touch()
    with pytest.raises(StoppedError):
        draw_frames(track, config, config.load_fitter())
