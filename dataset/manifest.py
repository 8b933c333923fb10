"""The manifest: which files are the dataset, what made them, and counts that add up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from singsong import storage
from singsong.dataset.counts import Counts, SplitCounts
from singsong.schemas.errors import SingsongError
from singsong.schemas.json_values import json_digest
from singsong.schemas.names import MANIFEST_NAME, version_path
from singsong.schemas.records import READABLE_VERSIONS, SCHEMA_VERSION


class DatasetError(SingsongError):
    """A dataset is missing, damaged or inconsistent."""


class DatasetMissingError(DatasetError):
    """There is no dataset of that name, or no such version of it."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file of the dataset.

    Attributes:
        path: Relative to the dataset.
        rows: Records in it.
        bytes: Its size.
        sha256: Hex digest of its bytes.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardEntry(FileEntry):
    """A shard of the dataset.

    Attributes:
        split: Which split it belongs to.
        shard: Its number in that split.
        format: "parquet" or "tfrecord".
    """

    split: str
    shard: int
    format: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a dataset is.

    Attributes:
        recipe: The dataset recipe, as JSON values; `Dataset.recipe` is the dataclass.
        weights: Hex digest of each model's weights, by role.
        geometry: Shapes of the codes, as JSON values; `Dataset.geometry` is the dataclass.
        counts: What became of each track and clip.
        splits: Tracks, clips and seconds of each split.
        shards: The shards.
        tables: The table of tracks and the table of dead letters.
        origin: Where the models and the parts were found, by role; not part of the digest.
        software: Versions of the packages that wrote it; not part of the digest.
        encode_digest: What names the parts: recipe, weights and versions of the arithmetic; empty
            in versions of before. Not part of the digest: the shards are.
        schema_version: Version of the record table.
    """

    recipe: Mapping[str, Any]
    weights: Mapping[str, str]
    geometry: Mapping[str, Any]
    counts: Counts
    splits: Mapping[str, SplitCounts]
    shards: tuple[ShardEntry, ...]
    tables: tuple[FileEntry, ...]
    origin: Mapping[str, str]
    software: Mapping[str, str]
    encode_digest: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def dataset_digest(self) -> str:
        """Hex sha256 of the recipe, the weights and the bytes of the shards, in no order."""
        return json_digest(
            {
                "schema_version": self.schema_version,
                "recipe": self.recipe,
                "weights": self.weights,
                "geometry": self.geometry,
                "shards": sorted(shard.sha256 for shard in self.shards),
            }
        )

    def to_json(self) -> str:
        """Returns the text of `manifest.json`."""
        value = {"dataset_digest": self.dataset_digest, **asdict(self)}
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Returns the manifest that `to_json` wrote.

        Raises:
            DatasetError: The text is not a manifest, has another schema version, or was changed.
        """
        try:
            value = json.loads(text)
            digest = value.pop("dataset_digest")
            version = value["schema_version"]
            if version not in READABLE_VERSIONS:
                newer = isinstance(version, int) and version > SCHEMA_VERSION
                raise DatasetError(
                    f"the manifest has schema version {version}, this program reads the versions "
                    f"{', '.join(map(str, READABLE_VERSIONS))}"
                    + (": upgrade singsong to read it" if newer else "")
                )
            shards = tuple(ShardEntry(**shard) for shard in value.pop("shards"))
            tables = tuple(FileEntry(**table) for table in value.pop("tables"))
            counts = Counts.from_json(value.pop("counts"))
            splits = {name: SplitCounts(**split) for name, split in value.pop("splits").items()}
            manifest = cls(**value, counts=counts, splits=splits, shards=shards, tables=tables)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"not a dataset manifest: {error}") from error
        if manifest.dataset_digest != digest:
            raise DatasetError(
                f"the manifest says digest {digest[:12]}, "
                f"but its content has digest {manifest.dataset_digest[:12]}"
            )
        return manifest

    def table(self, name: str) -> FileEntry:
        """Returns the entry of a table, `TRACKS_TABLE` or `FAILURES_TABLE`.

        Raises:
            DatasetError: The manifest lists no such table.
        """
        for table in self.tables:
            if table.path.rpartition("/")[2].startswith(f"{name}-"):
                return table
        raise DatasetError(f"the manifest lists no table {name!r}")


def read_manifest(dataset: str, version: str | None = None) -> Manifest:
    """Returns the manifest of a dataset.

    Args:
        dataset: Its folder or URL.
        version: The first digits, twelve, of the digest of an older version; None is the newest.

    Raises:
        DatasetMissingError: It does not exist.
        DatasetError: It is damaged, or of another schema version.
        OSError: It cannot be read.
    """
    name = MANIFEST_NAME if version is None else version_path(version)
    url = storage.join(dataset, name)
    try:
        text = storage.read_bytes(url).decode()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetMissingError(
            f"{url} does not exist: no dataset, or its `singsong prepare` did not finish"
        ) from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{url} is not a manifest: {error}") from error
    return Manifest.from_json(text)


def commit_manifest(dataset: str, manifest: Manifest) -> None:
    """Writes the manifest as a permanent version, then makes it the newest.

    Raises:
        OSError: It cannot be written; the dataset is unchanged.
    """
    data = manifest.to_json().encode()
    storage.put_bytes(storage.join(dataset, version_path(manifest.dataset_digest)), data)
    storage.put_bytes(storage.join(dataset, MANIFEST_NAME), data)
