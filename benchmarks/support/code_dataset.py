"""Datasets of random codes, written by the real writers, to test and measure reading."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from singsong.dataset.counts import SplitCounts, count
from singsong.dataset.manifest import Manifest, commit_manifest, read_manifest
from singsong.dataset.part_files import TrackFacts, write_part
from singsong.dataset.shard_writer import ShardSource, write_shard
from singsong.dataset.tables import write_failures, write_tracks
from singsong.schemas.elements import TrackSummary
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry
from singsong.schemas.names import PARTS_FOLDER, clip_id, part_path, shard_of
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.part_row import PartRow
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, recipe_json
from singsong.schemas.records import Geometry, RecordField, record_fields

SMALL = Geometry(
    acoustic=AcousticGeometry(
        sample_rate_hz=800, hop_samples=200, codebooks=3, coarse_codebooks=2, codebook_size=9
    ),
    semantic=SemanticGeometry(sample_rate_hz=800, hop_samples=160, codebook_size=7),
)
PAPER = Geometry(
    acoustic=AcousticGeometry(
        sample_rate_hz=16000, hop_samples=320, codebooks=12, coarse_codebooks=4, codebook_size=1024
    ),
    semantic=SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=1024),
)
ONE_SECOND = EncodeRecipe(clip_seconds=1.0)
_RATE_HZ = ONE_SECOND.mix_rate_hz
_MODELS = {"separator": "spleeter", "acoustic": "lite", "semantic": "lite"}


def write_dataset(
    folder: Path,
    *,
    clips: int,
    shards: int,
    clips_per_track: int = 20,
    geometry: Geometry = SMALL,
    recipe: EncodeRecipe = ONE_SECOND,
    formats: tuple[str, ...] = ("parquet",),
) -> Manifest:
    """Writes a dataset with `clips` clips in the split `train` and none in `test`."""
    fields = record_fields(recipe, geometry)
    sources, tracks = defaultdict[int, list[ShardSource]](list), []
    for number, first in enumerate(range(0, clips, clips_per_track)):
        kept = min(clips_per_track, clips - first)
        track = _write_track(folder, number, kept=kept, fields=fields)
        source = ShardSource(track_id=track.track_id, path=track.part, kept=tuple(range(kept)))
        sources[shard_of(track.track_id, shards)].append(source)
        tracks.append(track)
    entries = [
        entry
        for shard, inside in sorted(sources.items())
        for entry in write_shard(
            inside,
            dataset=str(folder),
            parts=str(folder / PARTS_FOLDER),
            fields=fields,
            formats=formats,
            split="train",
            shard=shard,
            shards=shards,
        )
    ]
    manifest = Manifest(
        recipe=recipe_json(DatasetRecipe(encode=recipe, formats=formats)),
        weights={},
        geometry=geometry.to_json(),
        counts=count(tracks),
        splits={
            "train": SplitCounts(
                tracks=len(tracks), clips=clips, seconds=clips * recipe.clip_seconds
            ),
            "test": SplitCounts(),
        },
        shards=tuple(entries),
        tables=(write_failures(str(folder), []), write_tracks(str(folder), tracks)),
        origin={
            "parts": PARTS_FOLDER,
            **{role: model for role, model in _MODELS.items() if getattr(recipe, role)},
        },
        software={},
    )
    commit_manifest(str(folder), manifest)
    return manifest


def _write_track(
    folder: Path, number: int, *, kept: int, fields: tuple[RecordField, ...]
) -> TrackSummary:
    """Writes the part of a track of random codes and returns the track's row."""
    track_id = hashlib.sha256(str(number).encode()).hexdigest()
    path = part_path(track_id, "")
    facts = TrackFacts(
        track_id=track_id,
        audio_sha256="",
        samples=kept * _RATE_HZ,
        rate_hz=_RATE_HZ,
        clip_samples=_RATE_HZ,
    )
    write_part(
        str(folder / PARTS_FOLDER / path),
        _rows(track_id, kept, fields, seed=number),
        fields=fields,
        facts=lambda: facts,
    )
    return TrackSummary(
        uri=f"{number}.wav",
        track_id=track_id,
        status=TrackStatus.ENCODED,
        part=path,
        split="train",
        seconds=facts.seconds,
        kept_clips=kept,
    )


def _rows(
    track_id: str, count: int, fields: tuple[RecordField, ...], *, seed: int
) -> Iterator[PartRow]:
    random = np.random.default_rng(seed)
    for index in range(count):
        levels = {field.name: -20.0 for field in fields if field.kind == "float32"}
        codes = {
            field.name: random.integers(0, field.codebook_size, field.shape, dtype=np.uint16)
            for field in fields
            if field.kind == "codes"
        }
        yield PartRow(
            clip_id=clip_id(track_id, index),
            track_id=track_id,
            clip_index=index,
            start_s=levels.pop("start_s"),
            figures=levels,
            codes=codes,
        )


def read_records(folder: Path) -> pa.Table:
    """Returns all records of the Parquet shards, in shard order."""
    manifest = read_manifest(str(folder))
    paths = [shard.path for shard in manifest.shards if shard.format == "parquet"]
    return pa.concat_tables(pq.read_table(folder / path) for path in sorted(paths))


def recommitted(folder: Path, **changes: Any) -> Manifest:
    """Commits the same shards under a manifest with changed fields."""
    manifest = replace(read_manifest(str(folder)), **changes)
    commit_manifest(str(folder), manifest)
    return manifest
