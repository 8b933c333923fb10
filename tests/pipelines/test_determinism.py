"""`--check-determinism` ends a job whose models do not repeat themselves."""

import numpy as np
import pytest

from singsong.dataset.handle import open_dataset
from singsong.schemas.arrays import CodeArray, FloatArray
from tests.support.fakes import FakeCodec, write_tones


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_a_codec_that_does_not_repeat_itself_ends_the_job(
    prepare, tmp_path, dataset, capsys, monkeypatch, mode
) -> None:
    encode = FakeCodec.encode

    def by_place(self: FakeCodec, audio: FloatArray) -> CodeArray:
        odd = np.arange(len(audio)) % 2
        return (encode(self, audio) + odd[:, None, None]).astype(np.uint16)

    monkeypatch.setattr(FakeCodec, "encode", by_place)
    write_tones(tmp_path / "music", tracks=3)
    flags = ("--mode", mode, "--workers", "2")
    assert prepare(tmp_path / "music", flags=(*flags, "--check-determinism", "1")) == 3
    error = capsys.readouterr().err
    assert "the acoustic codec gives another result for the same clip" in error
    assert "Traceback" not in error
    assert not (dataset / "manifest.json").exists()
    assert not list(dataset.rglob("parts/*/*.parquet"))
    assert prepare(tmp_path / "music", flags=flags) == 0


def test_determinism_is_checked_without_a_change_of_the_dataset(prepare, tmp_path) -> None:
    write_tones(tmp_path / "music", tracks=2)
    for name, clips in (("twice", "2"), ("once", "0")):
        flags = ("--check-determinism", clips)
        assert prepare(tmp_path / "music", output=tmp_path / name, flags=flags) == 0
    once, twice = (open_dataset(str(tmp_path / name)).manifest for name in ("once", "twice"))
    assert once.dataset_digest == twice.dataset_digest
