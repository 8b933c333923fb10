"""Which clips a filter keeps, and what it costs to change it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import singsong.transforms.encode_tracks
import singsong.transforms.track_rows
from singsong.commands import cli
from singsong.dataset.manifest import read_manifest
from tests.pipelines.conftest import use_fakes
from tests.pipelines.test_prepare import verify
from tests.support.fakes import RATE, tone


def test_loud_and_quiet_clips_are_dropped_and_keep_their_row(
    prepare, tmp_path: Path, dataset: Path
) -> None:
    audio = np.concatenate([tone(1, hz=300), tone(1, hz=300, level=0.01), np.zeros(RATE)])
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    assert prepare(tmp_path / "a.wav") == 0
    clips = read_manifest(str(dataset)).counts.clips
    assert asdict(clips) == {"kept": 1, "dropped": {"instrumental_too_quiet": 2}, "failed": {}}
    (part,) = (dataset / "parts").rglob("*.parquet")
    rows = pq.read_table(part).to_pylist()
    assert [row["status"] for row in rows] == ["encoded", "dropped", "dropped"]
    assert rows[1]["vocals_acoustic"] is None
    # 20 log10(0.01 / sqrt(2)) for the tone, 10 log10(1 + 0.5^2 / 2) for its modulation
    assert rows[1]["instrumental_peak_rms_db"] == pytest.approx(-43.01 + 0.51, abs=0.05)
    assert rows[2]["mix_peak_rms_db"] == -200


def test_a_stricter_filter_and_other_shards_cost_no_encoding(
    prepare, tmp_path: Path, monkeypatch, dataset: Path
) -> None:
    audio = np.concatenate([tone(1, hz=300), tone(1, hz=300, level=0.2)])
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    assert prepare(tmp_path / "a.wav") == 0
    first = read_manifest(str(dataset)).dataset_digest
    monkeypatch.setattr(singsong.transforms.encode_tracks, "encode_track", None)
    stricter = ("--min-instrumental-db", "-15", "--clips-per-shard", "1")
    assert prepare(tmp_path / "a.wav", flags=stricter) == 1
    assert prepare(tmp_path / "a.wav", flags=(*stricter, "--replace")) == 0
    assert read_manifest(str(dataset)).counts.clips.kept == 1
    assert verify(dataset) == 0
    assert cli.main(["dataset", "verify", str(dataset), "--version", first[:12]]) == 0
    assert cli.main(["dataset", "versions", str(dataset)]) == 0


def test_no_filter_encodes_everything(prepare, tmp_path: Path, dataset: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(2 * RATE), RATE)
    assert prepare(tmp_path / "a.wav", flags=("--no-filter",)) == 0
    assert read_manifest(str(dataset)).counts.clips.kept == 2


def test_encode_dropped_makes_any_later_filter_free(
    prepare, tmp_path: Path, monkeypatch, dataset: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(2, hz=300, level=0.01), RATE)
    assert prepare(tmp_path / "a.wav", flags=("--encode-dropped",)) == 3
    assert not (dataset / "manifest.json").exists()
    monkeypatch.setattr(singsong.transforms.encode_tracks, "encode_track", None)
    looser = ("--encode-dropped", "--min-instrumental-db", "-60")
    assert prepare(tmp_path / "a.wav", flags=looser) == 0
    assert read_manifest(str(dataset)).counts.clips.kept == 2


def test_a_looser_filter_adds_the_codes_that_are_missing(
    prepare, tmp_path: Path, monkeypatch, dataset: Path
) -> None:
    """Only the clips without codes are separated again, and the result is as if made at once."""
    audio = np.concatenate([tone(1, hz=300, level=level) for level in (0.3, 0.01, 0.3, 0.02)])
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    assert prepare(tmp_path / "a.wav") == 0
    looser = ("--min-instrumental-db", "-60")
    assert prepare(tmp_path / "a.wav", output=tmp_path / "at_once", flags=looser) == 0
    models = use_fakes(monkeypatch)
    assert prepare(tmp_path / "a.wav", flags=(*looser, "--replace")) == 0
    assert models.separator.calls == 2
    assert read_manifest(str(dataset)).counts.clips.kept == 4
    want = read_manifest(str(tmp_path / "at_once")).dataset_digest
    assert read_manifest(str(dataset)).dataset_digest == want
    assert verify(dataset) == 0


@pytest.mark.parametrize("level_db", [-25.000000003, -25.0, -24.999999997])
def test_a_clip_at_the_threshold_is_decided_once(
    prepare, tmp_path: Path, monkeypatch, level_db: float, dataset: Path
) -> None:
    monkeypatch.setattr(singsong.transforms.track_rows, "peak_rms_db", lambda *_, **__: level_db)
    soundfile.write(tmp_path / "a.wav", tone(2, hz=300), RATE)
    assert prepare(tmp_path / "a.wav") == 0
    assert read_manifest(str(dataset)).counts.clips.kept == 2


def test_preview_says_what_a_filter_would_keep(prepare, tmp_path, capsys, dataset) -> None:
    audio = np.concatenate([tone(1, hz=300), tone(1, hz=300, level=0.05)])
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    assert prepare(tmp_path / "a.wav") == 0
    capsys.readouterr()
    arguments = ["dataset", "preview", str(dataset), "--min-instrumental-db", "-60"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out.split()
    assert printed == ["kept", "2", "of", "those", "kept,", "no", "codes", "yet", "1"]
