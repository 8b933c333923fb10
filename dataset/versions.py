"""The versions of a dataset, and the files that none of them lists."""

from __future__ import annotations

from collections.abc import Sequence

from singsong import storage
from singsong.dataset.manifest import Manifest, read_manifest
from singsong.schemas.names import SHARDS_FOLDER, TABLES_FOLDER, VERSIONS_FOLDER, version_path


def version_names(dataset: str) -> list[str]:
    """Returns the names of the versions that can be read: the first 12 digits of their digests.

    Raises:
        OSError: The dataset cannot be listed.
    """
    folder = storage.join(dataset, VERSIONS_FOLDER)
    return [name.removesuffix(".json") for name in storage.list_files(folder)]


def unlisted_files(dataset: str, *, known: Sequence[Manifest] = ()) -> list[str]:
    """Returns the shards and tables that no version lists, relative to the dataset.

    Args:
        dataset: Folder or URL.
        known: Manifests that need not be read again.

    Raises:
        DatasetError: The manifest of a version cannot be read.
        OSError: The dataset cannot be listed.
    """
    read_already = {version_path(manifest.dataset_digest) for manifest in known}
    manifests = [*known] + [
        read_manifest(dataset, name)
        for name in version_names(dataset)
        if version_path(name) not in read_already
    ]
    listed = {e.path for manifest in manifests for e in (*manifest.shards, *manifest.tables)}
    present = [
        f"{folder}/{name}"
        for folder in (SHARDS_FOLDER, TABLES_FOLDER)
        for name in storage.list_files(storage.join(dataset, folder))
    ]
    return [path for path in present if path not in listed]
