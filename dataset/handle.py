"""A dataset that was opened: everything that reads one goes through this handle."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import pyarrow.compute as pc

from singsong import storage
from singsong.dataset.clips import ClipRecord, clip_records
from singsong.dataset.manifest import FileEntry, Manifest, ShardEntry, read_manifest
from singsong.dataset.parquet_files import open_parquet
from singsong.dataset.shard_tables import shard_tables
from singsong.dataset.tables import read_failures, read_tracks
from singsong.schemas.elements import DeadLetter, TrackSummary
from singsong.schemas.names import FAILURES_TABLE, PARTS_FOLDER, TRACKS_TABLE, version_path
from singsong.schemas.recipe import DatasetRecipe, ShardFormat, recipe_from_json
from singsong.schemas.records import Geometry, RecordField, record_fields, shard_fields


class Dataset:
    """One version of a dataset.

    Opening reads the manifest alone; tables and shards are read when they are asked for.

    Attributes:
        url: Folder or URL.
        manifest: What the version holds.
    """

    def __init__(self, url: str, manifest: Manifest) -> None:
        self.url, self.manifest = url, manifest

    def __repr__(self) -> str:
        return f"<Dataset {self.manifest.dataset_digest[:12]} in {self.url}: {len(self)} clips>"

    def __len__(self) -> int:
        """Returns the number of clips."""
        return sum(split.clips for split in self.manifest.splits.values())

    @cached_property
    def recipe(self) -> DatasetRecipe:
        """How the dataset was made.

        Raises ValueError where this version of the program does not know the recipe.
        """
        return recipe_from_json(self.manifest.recipe, self.manifest.origin)

    @cached_property
    def geometry(self) -> Geometry:
        """The shapes of the codes."""
        return Geometry.from_json(self.manifest.geometry)

    @cached_property
    def fields(self) -> tuple[RecordField, ...]:
        """The fields of a record, in the order of the columns."""
        version = self.manifest.schema_version
        fields = record_fields(self.recipe.encode, self.geometry, schema_version=version)
        return tuple(shard_fields(fields))

    @cached_property
    def tracks(self) -> tuple[TrackSummary, ...]:
        """What became of each listed file.

        Raises DatasetError where the table is damaged, and OSError where it cannot be read.
        """
        return read_tracks(self.url_of(self.manifest.table(TRACKS_TABLE)))

    @cached_property
    def failures(self) -> tuple[DeadLetter, ...]:
        """The tracks and clips that failed, sorted by file. Raises as `tracks`."""
        return read_failures(self.url_of(self.manifest.table(FAILURES_TABLE)))

    @property
    def shards(self) -> tuple[ShardEntry, ...]:
        """The shards of all splits and formats."""
        return self.manifest.shards

    @property
    def parts(self) -> str:
        """Folder or URL of the part files that the shards were assembled from."""
        parts = self.manifest.origin["parts"]
        return storage.join(self.url, parts) if parts == PARTS_FOLDER else parts

    def url_of(self, entry: FileEntry) -> str:
        """Returns the path or URL of a shard or a table."""
        return storage.join(self.url, entry.path)

    def files(self) -> list[str]:
        """Returns the path or URL of each file of this version; together they are a dataset."""
        manifest = storage.join(self.url, version_path(self.manifest.dataset_digest))
        return [manifest, *map(self.url_of, (*self.manifest.tables, *self.shards))]

    def shards_of(self, split: str | None = None) -> list[ShardEntry]:
        """Returns the shards that hold each clip of a split once, in order.

        Where there are shards of both formats, these are the Parquet ones.

        Args:
            split: Name of a split; None means all of them.

        Raises:
            ValueError: There is no such split.
        """
        names = list(self.manifest.splits)
        if split is not None and split not in names:
            raise ValueError(f"the dataset has the splits {sorted(names)}, not {split!r}")
        formats = {shard.format for shard in self.shards}
        chosen = next((name for name in ShardFormat if name in formats), None)
        wanted = names if split is None else [split]
        return sorted(
            (shard for shard in self.shards if shard.split in wanted and shard.format == chosen),
            key=lambda shard: (names.index(shard.split), shard.shard),
        )

    def clips(self, split: str | None = None) -> Iterator[ClipRecord]:
        """Yields the clips of a split, or of all, in the order of the shards.

        Memory holds a few hundred clips at a time.

        Args:
            split: Name of a split; None means all of them.

        Raises:
            ValueError: There is no such split.
            DatasetError: A shard is damaged.
            OSError: A shard cannot be read.
        """
        for shard in self.shards_of(split):
            for table in shard_tables(self.url_of(shard), shard.format, self.fields):
                yield from clip_records(table, self.fields, self._sources)

    def clip(self, clip_id: str) -> ClipRecord:
        """Returns one clip; of Parquet shards, only the row group that holds it is read.

        Raises:
            KeyError: The dataset has no such clip.
            DatasetError: A shard is damaged.
            OSError: A shard cannot be read.
        """
        for shard in self.shards_of():
            if shard.format == ShardFormat.PARQUET:
                found = self._find_in_parquet(shard, clip_id)
            else:
                found = self._find_in_order(shard, clip_id)
            if found is not None:
                return found
        raise KeyError(clip_id)

    def _find_in_parquet(self, shard: ShardEntry, clip_id: str) -> ClipRecord | None:
        """Looks only where the smallest and largest id of a row group allow the clip."""
        reader = open_parquet(self.url_of(shard))
        column = reader.schema.get_field_index("clip_id")
        for group in range(reader.metadata.num_row_groups):
            statistics = reader.metadata.row_group(group).column(column).statistics
            if statistics is not None and not statistics.min <= clip_id <= statistics.max:
                continue
            table = reader.row_group(group, [field.name for field in self.fields])
            row = pc.index(table["clip_id"], clip_id).as_py()
            if row >= 0:
                (clip,) = clip_records(table[row : row + 1], self.fields, self._sources)
                return clip
        return None

    def _find_in_order(self, shard: ShardEntry, clip_id: str) -> ClipRecord | None:
        for table in shard_tables(self.url_of(shard), shard.format, self.fields):
            for clip in clip_records(table, self.fields, self._sources):
                if clip.clip_id == clip_id:
                    return clip
        return None

    @property
    def _sources(self) -> tuple[str, ...]:
        return self.recipe.encode.sources


def open_dataset(url: str, version: str | None = None) -> Dataset:
    """Returns a dataset, of which only the manifest is read.

    Args:
        url: Folder or URL.
        version: The first 12 digits of the digest of an older version; None is the newest.

    Raises:
        DatasetMissingError: There is no dataset there, or no such version.
        DatasetError: Its manifest is damaged, or of another schema version.
        OSError: It cannot be read.
    """
    return Dataset(url, read_manifest(url, version))
