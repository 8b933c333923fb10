"""Names of files, clips and shards, all of them made from content."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence

PARTS_FOLDER = "parts"
MANIFEST_NAME = "manifest.json"
REJECTION_NAME = "rejected.json"
VERSIONS_FOLDER = "versions"
SHARDS_FOLDER = "shards"
TABLES_FOLDER = "tables"
TRACKS_TABLE = "tracks"
FAILURES_TABLE = "dead_letters"

_SPACE = 1 << 64


def clip_id(track_id: str, clip_index: int) -> str:
    """Returns the name of a clip; the ids of a track sort in the order of its clips.

    >>> clip_id("ab" * 32, 7)
    'abababababababababababababababab-000007'
    """
    return f"{track_id[:32]}-{clip_index:06d}"


def part_path(track_id: str, encode_digest: str) -> str:
    """Returns the path of a track's part, relative to the parts folder.

    >>> part_path("ab" + "0" * 62, "cd" * 32)[:12]
    'ab/ab0000000'
    """
    return posixpath.join(track_id[:2], f"{track_id}-{encode_digest}.parquet")


def shard_path(*, split: str, shard: int, shards: int, sha256: str, suffix: str) -> str:
    """Returns the path of a shard, relative to the dataset.

    >>> shard_path(split="train", shard=3, shards=64, sha256="0123456789abcdef", suffix="parquet")
    'shards/train-00003-of-00064-0123456789ab.parquet'
    """
    name = f"{split}-{shard:05d}-of-{shards:05d}-{sha256[:12]}.{suffix}"
    return posixpath.join(SHARDS_FOLDER, name)


def table_path(*, name: str, sha256: str, suffix: str) -> str:
    """Returns the path of a table beside the shards, relative to the dataset."""
    return posixpath.join(TABLES_FOLDER, f"{name}-{sha256[:12]}.{suffix}")


def version_path(dataset_digest: str) -> str:
    """Returns the path of the manifest of a version that stays, relative to the dataset."""
    return posixpath.join(VERSIONS_FOLDER, f"{dataset_digest[:12]}.json")


def shard_of(track_id: str, shards: int) -> int:
    """Returns the shard of a track; all its clips lie in one shard.

    >>> 0 <= shard_of("ab" * 32, 4) < 4
    True
    """
    return _keyed_number("shard", track_id) % shards


def split_of(audio_sha256: str, splits: Sequence[tuple[str, float]]) -> str:
    """Returns the split of a track, by what it sounds like and not by what it is called.

    Args:
        audio_sha256: Hex digest of the decoded audio.
        splits: Name and weight of each split.

    >>> split_of("ab" * 32, [("train", 1.0), ("test", 0.0)])
    'train'
    """
    total = sum(weight for _, weight in splits)
    point = _keyed_number("split", audio_sha256) / _SPACE * total
    for name, weight in splits:
        if point < weight:
            return name
        point -= weight
    return next(name for name, weight in reversed(splits) if weight)


def _keyed_number(purpose: str, key: str) -> int:
    """Never `hash()`, which is salted per process."""
    digest = hashlib.blake2b(f"{purpose}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
