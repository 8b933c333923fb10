"""The examples run as they are, on songs that are made here."""

import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.support.command import ROOT
from tests.support.tiny_dataset import make_run

EXAMPLES = ROOT / "examples"


def example(name: str) -> Callable[[list[str]], None]:
    main: Callable[[list[str]], None] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


def test_a_dataset_is_prepared_and_looked_at(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music = tmp_path / "music"
    music.mkdir()
    shutil.copy(sorted(songs.iterdir())[0], music / "long enough.flac")
    audio, rate = soundfile.read(music / "long enough.flac", always_2d=True)
    soundfile.write(music / "long enough.flac", np.concatenate([audio, audio]), rate)
    (music / "damaged.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    example("prepare_and_inspect.py")([str(music), "--output", str(tmp_path / "dataset")])
    printed = capsys.readouterr().out
    assert "files: {'failed': 1, 'encoded': 1}" in printed or (
        "files: {'encoded': 1, 'failed': 1}" in printed
    )
    assert f"{music / 'damaged.wav'}: " in printed
    assert re.search(
        r"^\w+: 1 clips, vocals at -\d+\.\d dBFS \(median\), \d+ of 1024", printed, re.M
    )


def losses(printed: str) -> list[str]:
    return re.findall(r"step \d+: (\d+\.\d+) nats per code", printed)


def test_a_loop_of_your_own_resumes_where_it_stopped(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = example("train_your_own.py")
    command = [str(tiny_dataset), "--batch-size", "2"]
    train([*command, "--steps", "3", "--output", str(tmp_path / "whole.pt")])
    whole = losses(capsys.readouterr().out)
    assert len(whole) == 3
    assert float(whole[-1]) < float(whole[0])
    for steps in ("1", "3"):
        train([*command, "--steps", steps, "--output", str(tmp_path / "halves.pt")])
    assert losses(capsys.readouterr().out) == whole
    one, other = (
        torch.load(tmp_path / name, weights_only=True)["model"]
        for name in ("whole.pt", "halves.pt")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_wav_is_accompanied(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tiny_dataset, tmp_path / "run")
    time = np.arange(2 * 22050) / 22050
    voice = np.stack([np.sin(2 * np.pi * hz * time) for hz in (220, 440)], axis=1) * 0.2
    soundfile.write(tmp_path / "vocals.wav", voice, 22050)
    accompany = example("accompany_a_wav.py")
    command = [str(tmp_path / "vocals.wav"), "--checkpoint", str(run)]
    mixes = []
    for seed in ("0", "1"):
        accompany([*command, "--seed", seed, "--output", str(tmp_path / "mix.wav")])
        mixes.append(soundfile.read(tmp_path / "mix.wav")[0])
        assert "mix.wav: 2.0 s" in capsys.readouterr().out
    sung = soundfile.read(tmp_path / "vocals.wav")[0]
    assert mixes[0].shape == voice.shape
    # One band under both channels, so that they differ by the voice alone, turned down if need be.
    mixed, own = np.diff(mixes[0])[:, 0], np.diff(sung)[:, 0]
    gain = (mixed @ own) / (own @ own)
    assert 0.3 < gain <= 1 + 1e-4
    assert np.abs(mixed - gain * own).max() < 1e-4
    assert np.abs(mixes[0][:, 0] - gain * sung[:, 0]).max() > 1e-3
    assert np.abs(mixes[0] - mixes[1]).max() > 1e-3


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its cells are run one after the other, without Jupyter; those that need it are left out."""
    notebook = json.loads((EXAMPLES / "what_the_codes_preserve.ipynb").read_text())
    assert notebook["nbformat"] == 4
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == [], "commit the notebook without outputs"
        if cell["cell_type"] == "code" and "notest" not in cell["metadata"].get("tags", []):
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    ratios = names["ratios"]
    assert isinstance(ratios, dict)
    assert ratios[1] < ratios[4] < ratios[12]
    assert "semantic (150,) acoustic (300, 12) uint16" in capsys.readouterr().out
