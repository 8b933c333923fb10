"""A reader written from docs/reference/file-formats.md alone: it imports nothing of ours."""

import hashlib
import json
import math
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def h(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def manifest_of(dataset: Path, version: str | None = None) -> dict[str, Any]:
    path = dataset / (f"versions/{version}.json" if version else "manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["schema_version"] == 2
    content = {key: manifest[key] for key in ("schema_version", "recipe", "weights", "geometry")}
    content["shards"] = sorted(shard["sha256"] for shard in manifest["shards"])
    assert hashlib.sha256(canonical(content)).hexdigest() == manifest["dataset_digest"]
    return dict(manifest)


def file_of(dataset: Path, entry: dict[str, Any]) -> Path:
    path = dataset / entry["path"]
    data = path.read_bytes()
    assert len(data) == entry["bytes"]
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert entry["sha256"][:12] in path.name
    return path


def shapes_of(manifest: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    encode, geometry = manifest["recipe"]["encode"], manifest["geometry"]
    shapes = {}
    for kind in ("semantic", "acoustic"):
        one = geometry[kind]
        frames = math.ceil(encode["clip_seconds"] * one["sample_rate_hz"] / one["hop_samples"])
        shapes[kind] = (frames, one["codebooks"]) if kind == "acoustic" else (frames,)
    sounds = ("vocals", "vocals_noisy", "instrumental") if encode["separator"] else ("mix",)
    return {f"{sound}_{kind}": shape for sound in sounds for kind, shape in shapes.items()}


def columns_of(manifest: dict[str, Any]) -> list[str]:
    encode = manifest["recipe"]["encode"]
    names = ["clip_id", "track_id", "clip_index", "split", "start_s", "mix_peak_rms_db"]
    names += ["mix_dc_offset", "mix_clipped_fraction", "mix_bandwidth_hz"]
    if encode["separator"]:
        names += ["vocals_peak_rms_db", "instrumental_peak_rms_db", "vocals_active_fraction"]
        names += ["vocals_lag_ms", "vocals_gain_in_mix", "vocals_excess_fraction"]
        names += ["vocals_above_mix_db"]
    for name in shapes_of(manifest):
        names.append(name)
        if encode["store_audio"] and name.endswith("_acoustic"):
            names.append(name.replace("_acoustic", "_audio"))
    return names


def read_parquet(path: Path, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    assert file.schema_arrow.names == columns_of(manifest)
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups[:-1] == [256] * (len(groups) - 1)
    assert groups[-1] <= 256
    assert {file.metadata.row_group(0).column(n).compression for n in range(2)} == {"ZSTD"}
    shapes = shapes_of(manifest)
    table = file.read()
    for name, shape in shapes.items():
        assert table.schema.field(name).type == pa.list_(
            pa.field("element", pa.uint16(), nullable=False), math.prod(shape)
        )
    for row in table.to_pylist():
        assert None not in row.values()
        yield row | {name: np.reshape(row[name], shapes[name]) for name in shapes}


def read_tfrecord(path: Path, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    shapes, data, at = shapes_of(manifest), path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 8)[0] == masked_crc(data[at : at + 8])
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked_crc(body)
        at += 16 + length
        row = dict(features_of(body))
        for name, shape in shapes.items():
            row[name] = np.frombuffer(row[name], "<u2").reshape(shape)
        text = ("clip_id", "track_id", "split")
        yield row | {name: row[name].decode() for name in text}


def masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def features_of(example: bytes) -> Iterator[tuple[str, Any]]:
    """Walks through the protobuf wire format: Example > Features > map entry > Feature > list."""
    names = []
    for _, features in fields(example):
        for _, entry in fields(features):
            (_, name), (_, feature) = fields(entry)
            ((kind, values),) = fields(feature)
            ((_, value),) = fields(values)
            names.append(name.decode())
            if kind == 2:
                (value,) = struct.unpack("<f", value)
            elif kind == 3 and isinstance(value, bytes):
                value = varint(value, 0)[0]
            yield name.decode(), value
    assert names == sorted(names)


def fields(message: bytes) -> list[tuple[int, Any]]:
    found, at = [], 0
    while at < len(message):
        tag, at = varint(message, at)
        if tag & 7 == 0:
            value, at = varint(message, at)
        else:
            assert tag & 7 == 2
            length, at = varint(message, at)
            value, at = message[at : at + length], at + length
        found.append((tag >> 3, value))
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


READERS = {"parquet": read_parquet, "tfrecord": read_tfrecord}


def read(dataset: Path, version: str | None = None) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Returns the records by format and split, after every check that the page allows."""
    manifest = manifest_of(dataset, version)
    assert [shard["path"] for shard in manifest["shards"]] == sorted(
        shard["path"] for shard in manifest["shards"]
    )
    records: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for shard in manifest["shards"]:
        rows = list(READERS[shard["format"]](file_of(dataset, shard), manifest))
        assert len(rows) == shard["rows"]
        check_place(rows, shard, manifest)
        records[shard["format"]][shard["split"]] += rows
    for by_split in records.values():
        for split, counts in manifest["splits"].items():
            assert len(by_split[split]) == counts["clips"]
    return records


def check_place(
    rows: list[dict[str, Any]], shard: dict[str, Any], manifest: dict[str, Any]
) -> None:
    clips = manifest["splits"][shard["split"]]["clips"]
    shards = math.ceil(clips / manifest["recipe"]["clips_per_shard"])
    name = f"{shard['split']}-{shard['shard']:05d}-of-{shards:05d}-{shard['sha256'][:12]}"
    assert shard["path"] == f"shards/{name}.{shard['format']}"
    ids = [row["clip_id"] for row in rows]
    assert ids == sorted(set(ids))
    for row in rows:
        assert row["split"] == shard["split"]
        assert row["clip_id"] == f"{row['track_id'][:32]}-{row['clip_index']:06d}"
        assert h(f"shard:{row['track_id']}") % shards == shard["shard"]
        assert row["start_s"] == row["clip_index"] * manifest["recipe"]["encode"]["clip_seconds"]


def split_of(audio_sha256: str, splits: list[Any]) -> str:
    point = h(f"split:{audio_sha256}") / 2**64 * sum(weight for _, weight in splits)
    for name, weight in splits:
        if point < weight:
            return str(name)
        point -= weight
    raise AssertionError
