import json
import os
import re
import shutil
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import singsong.pipelines.prepare
import singsong.transforms.encode_tracks
import singsong.transforms.track_rows
from singsong import storage
from singsong.commands import cli
from singsong.dataset.manifest import Manifest, read_manifest
from singsong.schemas.names import shard_of, split_of
from tests.support.fakes import RATE, VOCALS_HZ, VOCALS_LEVEL, tone, write_tones


def table(dataset: Path, name: str) -> list[dict]:
    manifest = read_manifest(str(dataset))
    return pq.read_table(dataset / manifest.table(name).path).to_pylist()


def records(dataset: Path) -> list[dict]:
    manifest = read_manifest(str(dataset))
    return [
        row
        for shard in manifest.shards
        if shard.format == "parquet"
        for row in pq.read_table(dataset / shard.path).to_pylist()
    ]


def verify(dataset: Path) -> int:
    return cli.main(["dataset", "verify", str(dataset)])


def test_music_becomes_a_dataset(prepare, tmp_path: Path, dataset: Path) -> None:
    write_tones(tmp_path / "music", tracks=5)
    assert prepare(tmp_path / "music") == 0
    manifest = read_manifest(str(dataset))
    clips = [2, 2, 3, 3, 3]
    assert asdict(manifest.counts) == {
        "tracks": {"listed": 5, "encoded": 5, "cut_short": 0, "duplicate": 0, "failed": {}},
        "clips": {"kept": sum(clips), "dropped": {}, "failed": {}},
        "seconds": {"decoded": 15.5, "tails": 2.5},
        "skipped": 0,
    }
    rows = records(dataset)
    assert len(rows) == sum(clips)
    assert verify(dataset) == 0
    row = rows[0]
    assert row["mix_peak_rms_db"] == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.1)
    vocals_db = row["mix_peak_rms_db"] + 20 * np.log10(VOCALS_LEVEL / np.sqrt(2))
    instrumental_db = row["mix_peak_rms_db"] + 10 * np.log10(1 + VOCALS_LEVEL**2 / 2)
    assert row["vocals_peak_rms_db"] == pytest.approx(vocals_db, abs=0.01)
    assert row["instrumental_peak_rms_db"] == pytest.approx(instrumental_db, abs=0.01)
    assert len(row["vocals_acoustic"]) == 20 * 2
    assert len(row["vocals_semantic"]) == 10
    assert row["vocals_acoustic"] != row["vocals_noisy_acoustic"]
    assert row["vocals_acoustic"] != row["instrumental_acoustic"]


def test_codes_are_those_of_the_clip(prepare, tmp_path: Path, dataset: Path) -> None:
    (path,) = write_tones(tmp_path / "music", tracks=1, seconds=3.2)
    assert prepare(path) == 0
    times = np.arange(16000) / 16000
    instrumental = np.sin(2 * np.pi * 220 * times)
    vocals = instrumental * np.cos(2 * np.pi * VOCALS_HZ * times)
    for source, sound in (("instrumental", instrumental), ("vocals", vocals)):
        crossings = [row[f"{source}_semantic"] for row in records(dataset)]
        want = np.count_nonzero(np.diff(np.signbit(sound))) / 10  # in each 0.1 s frame
        assert np.mean(crossings) == pytest.approx(want, abs=1)


def test_the_digest_does_not_depend_on_order_workers_or_names(
    prepare, tmp_path: Path, dataset: Path
) -> None:
    paths = write_tones(tmp_path / "music", tracks=6)
    assert prepare(*paths) == 0
    want = read_manifest(str(dataset)).dataset_digest
    others = tmp_path / "elsewhere"
    others.mkdir()
    for number, path in enumerate(reversed(paths)):
        shutil.copyfile(path, others / f"{number}.bin")
    flags = ("--mode", "multi_threading", "--workers", "3", "--batch-clips", "1")
    assert prepare(others, output=tmp_path / "b", flags=flags) == 0
    assert read_manifest(str(tmp_path / "b")).dataset_digest == want
    assert prepare(*reversed(paths), output=tmp_path / "c") == 0
    assert read_manifest(str(tmp_path / "c")).dataset_digest == want


def test_a_second_run_encodes_nothing(prepare, tmp_path: Path, monkeypatch, dataset: Path) -> None:
    write_tones(tmp_path / "music", tracks=3)
    assert prepare(tmp_path / "music") == 0
    before = read_manifest(str(dataset)).dataset_digest
    monkeypatch.setattr(singsong.transforms.encode_tracks, "encode_track", None)
    assert prepare(tmp_path / "music") == 0
    assert read_manifest(str(dataset)).dataset_digest == before


def test_a_growing_corpus_encodes_what_is_new(prepare, tmp_path: Path, dataset: Path) -> None:
    write_tones(tmp_path / "music", tracks=2)
    assert prepare(tmp_path / "music") == 0
    first = read_manifest(str(dataset))
    parts = {path: path.stat().st_mtime_ns for path in (dataset / "parts").rglob("*.parquet")}
    write_tones(tmp_path / "music", tracks=4)
    assert prepare(tmp_path / "music") == 0
    assert read_manifest(str(dataset)).counts.tracks.encoded == 4
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in parts.items())
    assert (
        cli.main(["dataset", "verify", str(dataset), "--version", first.dataset_digest[:12]]) == 0
    )


def test_two_names_and_two_containers_of_one_recording_are_one_track(
    prepare, tmp_path: Path, dataset: Path
) -> None:
    (path,) = write_tones(tmp_path / "music", tracks=1)
    shutil.copyfile(path, tmp_path / "music" / "again.wav")
    audio, rate = soundfile.read(path, dtype="int16")
    soundfile.write(tmp_path / "music" / "same.flac", audio, rate)
    write_tones(tmp_path / "other", tracks=2)
    assert prepare(tmp_path / "music", tmp_path / "other") == 0
    tracks = table(dataset, "tracks")
    assert Counter(track["status"] for track in tracks) == {"encoded": 2, "duplicate": 3}
    assert read_manifest(str(dataset)).counts.tracks.duplicate == 3
    assert verify(dataset) == 0


def test_one_file_named_twice_is_listed_once(prepare, tmp_path: Path, dataset: Path) -> None:
    (path,) = write_tones(tmp_path / "music", tracks=1)
    assert prepare(path, tmp_path / "music", os.path.relpath(path)) == 0
    assert read_manifest(str(dataset)).counts.tracks.listed == 1


def test_a_folder_is_walked_once(prepare, tmp_path: Path, monkeypatch) -> None:
    write_tones(tmp_path / "music", tracks=2)
    walk, walked = os.walk, []

    def counting_walk(top, **how):
        walked.append(top)
        return walk(top, **how)

    monkeypatch.setattr(os, "walk", counting_walk)
    assert prepare(tmp_path / "music") == 0
    assert walked.count(str(tmp_path / "music")) == 1


def test_splits_and_shards_follow_content(prepare, tmp_path: Path, dataset: Path) -> None:
    write_tones(tmp_path / "music", tracks=12)
    flags = ("--splits", "train=2,test=1", "--clips-per-shard", "5")
    assert prepare(tmp_path / "music", flags=flags) == 0
    manifest = read_manifest(str(dataset))
    assert verify(dataset) == 0
    assert len({shard.split for shard in manifest.shards}) == 2
    for track in table(dataset, "tracks"):
        assert track["split"] == split_of(track["audio_sha256"], (("train", 2), ("test", 1)))
    for shard in manifest.shards:
        if shard.format == "parquet":
            ids = pq.read_table(dataset / shard.path)["track_id"].to_pylist()
            shards = int(shard.path.split("-of-")[1][:5])
            assert {shard_of(name, shards) for name in ids} == {shard.shard}


def test_a_damaged_part_is_named_and_made_again(
    prepare, tmp_path: Path, capfd, dataset: Path
) -> None:
    write_tones(tmp_path / "music", tracks=2)
    assert prepare(tmp_path / "music") == 0
    want = read_manifest(str(dataset)).dataset_digest
    (part, _) = sorted((dataset / "parts").rglob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    assert prepare(tmp_path / "music") == 0
    assert part.name in capfd.readouterr().err
    assert read_manifest(str(dataset)).dataset_digest == want
    assert part.read_bytes() != data


def test_small_libraries_are_told_how_to_fill_each_split(
    prepare, tmp_path: Path, capsys, dataset: Path
) -> None:
    write_tones(tmp_path / "music", tracks=8)
    assert prepare(tmp_path / "music") == 0
    printed = capsys.readouterr().out
    assert "No clip is in the split" in printed
    (splits,) = re.findall(r"--splits (\S+) --replace", printed)
    assert prepare(tmp_path / "music", flags=("--splits", splits, "--replace")) == 0
    assert all(split.clips for split in read_manifest(str(dataset)).splits.values())
    assert "No clip is in the split" not in capsys.readouterr().out


def test_the_thirty_second_branch_has_no_separation(prepare, tmp_path, dataset) -> None:
    soundfile.write(tmp_path / "a.wav", tone(65, hz=300), RATE)
    flags = ("--separator", "none", "--clip-seconds", "30", "--store-audio")
    assert prepare(tmp_path / "a.wav", flags=flags) == 0
    rows = records(dataset)
    assert [len(row["mix_acoustic"]) for row in rows] == [600 * 2] * 2
    assert rows[0]["mix_audio"][:4] == b"fLaC"
    assert "vocals_acoustic" not in rows[0]
    assert verify(dataset) == 0


def test_stored_audio_adds_up_to_the_mix(prepare, tmp_path: Path, dataset: Path) -> None:
    import io

    soundfile.write(tmp_path / "a.wav", tone(1, hz=300), RATE)
    assert prepare(tmp_path / "a.wav", flags=("--store-audio",)) == 0
    (row,) = records(dataset)
    sounds = {
        name: soundfile.read(io.BytesIO(row[f"{name}_audio"]))[0]
        for name in ("vocals", "vocals_noisy", "instrumental")
    }
    mix = sounds["vocals"] + sounds["instrumental"]
    np.testing.assert_allclose(mix[100:-100], tone(1, hz=300, rate=8000)[100:-100], atol=2e-3)
    sigma = 0.01 * np.sqrt(8000 / 16000)  # what a codec at 8 kHz hears of noise drawn at 16 kHz
    assert np.std(sounds["vocals_noisy"] - sounds["vocals"]) == pytest.approx(sigma, rel=0.05)


def test_another_recipe_is_refused_and_says_what_differs(
    prepare, tmp_path: Path, capsys, dataset: Path
) -> None:
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music") == 0
    before = (dataset / "manifest.json").read_bytes()
    assert prepare(tmp_path / "music", flags=("--noise-sigma", "0")) == 1
    error = capsys.readouterr().err
    assert "encode.noise_sigma: 0.01 -> 0.0" in error
    assert "--replace" in error
    assert (dataset / "manifest.json").read_bytes() == before


def test_what_goes_through_object_stores(prepare, tmp_path: Path, dataset: Path) -> None:
    (path,) = write_tones(tmp_path / "music", tracks=1)
    storage.put_bytes("memory://music/a.wav", path.read_bytes())
    assert prepare("memory://music", output="memory://data/set") == 0
    assert prepare(path) == 0
    remote = Manifest.from_json(storage.read_bytes("memory://data/set/manifest.json").decode())
    assert remote.dataset_digest == read_manifest(str(dataset)).dataset_digest
    assert cli.main(["dataset", "verify", "memory://data/set"]) == 0


def test_manifest_is_plain_json_without_places_or_times(prepare, tmp_path, dataset) -> None:
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music") == 0
    text = (dataset / "manifest.json").read_text()
    assert str(tmp_path) not in text
    first = json.loads(text)
    assert set(first["weights"]) == {"acoustic", "semantic", "separator"}
    assert prepare(tmp_path / "music", output=tmp_path / "again") == 0
    assert (tmp_path / "again" / "manifest.json").read_text() == text


def test_the_output_may_not_lie_in_the_input(prepare, tmp_path: Path, capsys) -> None:
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music", output=tmp_path / "music" / "dataset") == 1
    assert "lies in the input" in capsys.readouterr().err
    parts = ("--parts", str(tmp_path / "music" / "parts"))
    assert prepare(tmp_path / "music", flags=parts) == 1
    assert prepare(tmp_path / "music", output=tmp_path / "music-dataset") == 0


def test_parts_can_be_shared_by_datasets(prepare, tmp_path: Path, monkeypatch) -> None:
    write_tones(tmp_path / "music", tracks=2)
    parts = ("--parts", str(tmp_path / "parts"))
    assert prepare(tmp_path / "music", flags=parts) == 0
    monkeypatch.setattr(singsong.transforms.encode_tracks, "encode_track", None)
    other = ("--clips-per-shard", "2", *parts)
    assert prepare(tmp_path / "music", output=tmp_path / "other", flags=other) == 0
    assert verify(tmp_path / "other") == 0
    assert not (tmp_path / "other" / "parts").exists()


def test_two_workers_are_dealt_even_loads(prepare, tmp_path: Path, monkeypatch) -> None:
    paths = write_tones(tmp_path / "music", tracks=9, seconds=1)
    loads = Counter[int]()
    check = singsong.transforms.encode_tracks.check_content

    def count(track, path: str) -> None:
        loads[threading.get_ident()] += track.size_bytes
        check(track, path)

    monkeypatch.setattr(singsong.transforms.encode_tracks, "check_content", count)
    flags = ("--mode", "multi_threading", "--workers", "2")
    assert prepare(tmp_path / "music", flags=flags) == 0
    assert len(loads) == 2
    assert abs(max(loads.values()) - min(loads.values())) <= paths[-1].stat().st_size


def test_what_follows_two_dashes_goes_to_beam(prepare, tmp_path: Path, monkeypatch) -> None:
    write_tones(tmp_path / "music", tracks=1)
    configs = []
    monkeypatch.setattr(
        singsong.pipelines.prepare, "prepare", lambda config: configs.append(config) or 0
    )
    assert prepare(tmp_path / "music", flags=("--", "--save_main_session", "--x")) == 0
    assert configs[0].runner.beam_args == ("--save_main_session", "--x")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--noise-sigma", "2"), "noise_sigma"),
        (("--splits", "a=0"), "split weights"),
        (("--workers", "-1"), "workers"),
        (("--max-failure-rate", "2"), "max_failure_rate"),
        (("--acoustic", "lite,x"), "key=value"),
        (("--formats", "csv"), "formats"),
    ],
)
def test_wrong_flags_are_one_sentence(prepare, tmp_path, capsys, flags, complaint) -> None:
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music", flags=flags) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert len(error.strip().splitlines()) == 1


def test_abbreviated_and_unknown_flags_are_refused(prepare, tmp_path: Path) -> None:
    for flag in ("--clip", "--nonsense"):
        with pytest.raises(SystemExit) as stop:
            prepare(tmp_path, flags=(flag, "1"))
        assert stop.value.code == 2


def test_unknown_commands_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepair"]) == 2
    assert "no command 'prepair'" in capsys.readouterr().err
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0
