"""The page on file formats is enough to read a dataset: a stranger's reader follows it."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.random import Generator, Philox

from singsong.commands import cli
from singsong.transforms.arithmetic import ARITHMETIC
from tests.docs import stranger


def table(dataset: Path, name: str) -> list[dict]:
    manifest = stranger.manifest_of(dataset)
    (entry,) = (one for one in manifest["tables"] if one["path"].startswith(f"tables/{name}-"))
    rows = pq.read_table(stranger.file_of(dataset, entry)).to_pylist()
    assert len(rows) == entry["rows"]
    return rows


def test_both_formats_hold_what_the_page_says(tiny_dataset: Path) -> None:
    records = stranger.read(tiny_dataset)
    assert set(records) == {"parquet", "tfrecord"}
    rows = 0
    for split, parquet in records["parquet"].items():
        for one, other in zip(parquet, records["tfrecord"][split], strict=True):
            assert one.keys() == other.keys()
            for name in one:
                assert np.array_equal(one[name], other[name]), name
            rows += 1
    assert rows == 12


def test_a_changed_shard_is_noticed(tiny_dataset: Path, tmp_path: Path) -> None:
    """The reader does check what it reads."""
    manifest = stranger.manifest_of(tiny_dataset)
    copy = tmp_path / manifest["shards"][0]["path"]
    copy.parent.mkdir()
    data = (tiny_dataset / manifest["shards"][0]["path"]).read_bytes()
    copy.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(AssertionError):
        stranger.file_of(tmp_path, manifest["shards"][0])


def test_tables_and_counts_are_as_the_page_says(tiny_dataset: Path) -> None:
    manifest, tracks = stranger.manifest_of(tiny_dataset), table(tiny_dataset, "tracks")
    counts = manifest["counts"]
    assert counts["tracks"]["listed"] == len(tracks) == 3
    assert [(row["uri"], row["track_id"]) for row in tracks] == sorted(
        (row["uri"], row["track_id"]) for row in tracks
    )
    for row in tracks:
        assert hashlib.sha256(Path(row["uri"]).read_bytes()).hexdigest() == row["track_id"]
        splits = manifest["recipe"]["splits"]
        assert row["split"] == stranger.split_of(row["audio_sha256"], splits)
    assert sum(row["kept_clips"] for row in tracks) == counts["clips"]["kept"]
    assert sum(split["clips"] for split in manifest["splits"].values()) == counts["clips"]["kept"]
    assert table(tiny_dataset, "dead_letters") == []


def test_parts_are_as_the_page_says(tiny_dataset: Path) -> None:
    manifest = stranger.manifest_of(tiny_dataset)
    content = {"recipe": manifest["recipe"]["encode"], "weights": manifest["weights"]}
    digest = hashlib.sha256(stranger.canonical({**content, "arithmetic": ARITHMETIC})).hexdigest()
    assert manifest["encode_digest"] == digest
    for track in table(tiny_dataset, "tracks"):
        track_id = track["track_id"]
        assert track["part"] == f"{track_id[:2]}/{track_id}-{digest}.parquet"
        path = tiny_dataset / manifest["origin"]["parts"] / track["part"]
        part = pq.ParquetFile(path)
        names = stranger.columns_of(manifest)
        names.remove("split")
        names[3:3] = ["status", "reason", "message"]
        assert part.schema_arrow.names == names
        facts = json.loads(part.metadata.metadata[b"singsong.track"])
        alike = ("track_id", "audio_sha256", "made_with", "cut_short")
        assert {key: facts.pop(key) for key in alike} == {key: track[key] for key in alike}
        assert facts["samples"] / facts["rate_hz"] == track["seconds"]
        clips, tail = divmod(facts["samples"], facts.pop("clip_samples"))
        assert part.metadata.num_rows == clips
        assert tail / facts["rate_hz"] == track["tail_seconds"]
        assert set(facts) == {"samples", "rate_hz"}
        seal = part.metadata.metadata[b"singsong.seal"].removeprefix(b"sha256:")
        unsealed = path.read_bytes().replace(seal, b"0" * 64)
        assert hashlib.sha256(unsealed).hexdigest().encode() == seal


def test_fingerprints_and_noise_are_computed_as_the_page_says(tiny_dataset: Path) -> None:
    manifest = stranger.manifest_of(tiny_dataset)
    track = table(tiny_dataset, "tracks")[0]
    audio, rate = soundfile.read(track["uri"], dtype="float32", always_2d=True)
    assert rate == manifest["recipe"]["encode"]["mix_rate_hz"]  # nothing is resampled
    mono = audio.mean(axis=1, dtype=np.float32)
    samples = np.rint(mono.clip(-1, 1) * 32767).astype("<i2")
    assert hashlib.sha256(samples.tobytes()).hexdigest() == track["audio_sha256"]

    encode = manifest["recipe"]["encode"]
    row = stranger.read(tiny_dataset)["parquet"]["train"][0]
    text = f'[{encode["noise_seed"]}, "noise", "{row["clip_id"]}"]'
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    clean, noisy = (
        soundfile.read(io.BytesIO(row[f"{name}_audio"]), dtype="float32")[0]
        for name in ("vocals", "vocals_noisy")
    )
    noise = Generator(Philox(key=key)).standard_normal(clean.shape, dtype=np.float32)
    assert noisy - clean == pytest.approx(noise * encode["noise_sigma"], abs=1e-4)


def test_versions_stay_readable_as_the_page_says(tiny_dataset: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    music = Path(table(tiny_dataset, "tracks")[0]["uri"]).parent
    parts = tiny_dataset / "parts"
    command = ["prepare", str(music), "--output", str(dataset), "--parts", str(parts)]
    command += ["--clip-seconds", "2", "--store-audio", "--workers", "1"]
    splits = ("train=60,validation=40", "train=40,validation=60")
    for number, split in enumerate(splits):
        assert cli.main([*command, "--splits", split, *["--replace"] * number]) == 0
    newest = stranger.manifest_of(dataset)
    assert {path.stem for path in (dataset / "versions").iterdir()} > {
        newest["dataset_digest"][:12]
    }
    for path in (dataset / "versions").iterdir():
        assert stranger.manifest_of(dataset, path.stem)["dataset_digest"][:12] == path.stem
        assert sum(map(len, stranger.read(dataset, path.stem)["parquet"].values())) == 12
    name = newest["dataset_digest"][:12]
    assert (dataset / "manifest.json").read_bytes() == (
        dataset / f"versions/{name}.json"
    ).read_bytes()
