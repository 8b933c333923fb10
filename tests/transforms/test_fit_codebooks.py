from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from singsong.models.lite.acoustic import LiteAcousticCodec
from singsong.models.lite.semantic import LiteSemanticEncoder
from singsong.schemas.elements import Track
from singsong.transforms.fit_codebooks import draw_frames, fit_to_files, load_fitter_of
from singsong.transforms.fit_config import FitConfig
from singsong.transforms.progress import STOP_NAME, ProgressReader, StoppedError


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
    assert len(draw_frames(track, config, load_fitter_of(config))) == 2 * 7
    assert ProgressReader(told).read().seconds == 20

    (told / STOP_NAME).touch()
    with pytest.raises(StoppedError):
        draw_frames(track, config, load_fitter_of(config))


@pytest.mark.parametrize(
    ("kind", "model"), [("acoustic", LiteAcousticCodec), ("semantic", LiteSemanticEncoder)]
)
def test_codebooks_have_the_size_that_was_asked_for(
    kind: str, model: Any, track: Track, tmp_path: Path
) -> None:
    config = FitConfig(
        kind=kind, output=str(tmp_path / "fit.safetensors"), scratch="", codes=16, iterations=2
    )
    np.save(tmp_path / "frames.npy", draw_frames(track, config, load_fitter_of(config)))
    fit_to_files([str(tmp_path / "frames.npy")], config)
    fitted = model.load(config.output)
    audio, _ = soundfile.read(track.uri, dtype="float32")
    codes = fitted.encode(audio[None])
    assert fitted.geometry.codebook_size == 16
    assert 8 <= codes.max() < 16
    if kind == "acoustic":
        assert fitted.decode(codes).shape == (1, len(audio))
        with pytest.raises(ValueError, match="codes must be from 0 to 15, found"):
            fitted.decode(codes + 16)


@pytest.mark.parametrize(
    ("kind", "codes", "message"),
    [
        ("semantic", 0, "codes must be positive, found 0"),
        ("semantic", 65537, "codes must be at most 65536, found 65537"),
        ("acoustic", 255, "codes must be even, found 255"),
    ],
)
def test_sizes_that_no_codebook_can_have(kind: str, codes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitConfig(kind=kind, output="", scratch="", codes=codes)
