"""Makes the page of `singsong listen`. The flags are in `listen_arguments`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import soundfile

from singsong import storage
from singsong.dataset.manifest import Manifest, manifest_fields, read_manifest
from singsong.evaluation.listening_page import ListeningClip, Sound, write_listening_page
from singsong.models.bundle import Models, load_models
from singsong.schemas.recipe import EncodeRecipe, recipe_from_json


def choose_clips(dataset: str, manifest: Manifest, *, clips: int) -> Iterator[Mapping[str, Any]]:
    """Yields records, one of each track as long as there are new tracks.

    Args:
        dataset: Folder or URL.
        manifest: Its manifest.
        clips: How many.

    Raises:
        ValueError: The dataset has no Parquet shards, or clips is not positive.
        OSError: A shard cannot be read.
    """
    if clips < 1:
        raise ValueError(f"clips must be at least 1, found {clips}")
    shards = [shard for shard in manifest.shards if shard.format == "parquet"]
    if not shards:
        raise ValueError("the dataset has no Parquet shard with a clip to listen to")
    tracks: set[str] = set()
    for shard in shards:
        with storage.open_read(storage.join(dataset, shard.path)) as file:
            for batch in pq.ParquetFile(file).iter_batches(64):
                for row in batch.to_pylist():
                    if row["track_id"] not in tracks and len(tracks) < clips:
                        tracks.add(row["track_id"])
                        yield row


def sounds_of(
    row: Mapping[str, Any], *, source: str, models: Models, shape: tuple[int, ...]
) -> list[Sound]:
    """Returns a source as it went in, if it was stored, and as its codes decode.

    Args:
        row: A record.
        source: "vocals", "vocals_noisy", "instrumental" or "mix".
        models: For the codec.
        shape: Frames and codebooks of the acoustic codes.
    """
    geometry = models.acoustic.geometry
    rate, coarse = geometry.sample_rate_hz, geometry.coarse_codebooks
    name = source.replace("vocals_noisy", "noisy vocals")
    sounds = []
    if f"{source}_audio" in row:
        audio, stored_rate = soundfile.read(io.BytesIO(row[f"{source}_audio"]), dtype="float32")
        sounds.append(Sound(label=name, audio=audio, sample_rate_hz=stored_rate))
    codes = np.asarray(row[f"{source}_acoustic"], np.uint16).reshape(1, *shape)
    for label, kept in (
        (f"{name}, from {coarse} coarse codebooks", codes[..., :coarse]),
        (f"{name}, from all {geometry.codebooks}", codes),
    ):
        decoded = _decode(models, kept)
        sounds.append(Sound(label=label, audio=decoded, sample_rate_hz=rate))
    return sounds


def _decode(models: Models, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    return models.acoustic.decode(np.ascontiguousarray(codes))[0]


def track_names(dataset: str, manifest: Manifest) -> dict[str, str]:
    """Returns the file name of each encoded track, by its id.

    Raises:
        OSError: The table of tracks cannot be read.
    """
    with storage.open_read(storage.join(dataset, manifest.table("tracks").path)) as file:
        rows = pq.read_table(file, columns=["uri", "track_id", "status"]).to_pylist()
    return {
        row["track_id"]: row["uri"].rpartition("/")[2] for row in rows if row["status"] == "encoded"
    }


def listening_clip(
    row: Mapping[str, Any],
    *,
    name: str,
    recipe: EncodeRecipe,
    models: Models,
    shape: tuple[int, ...],
) -> ListeningClip:
    """Returns a record with its figures and all its sounds."""
    sounds = [
        sound
        for source in reversed(recipe.sources)
        for sound in sounds_of(row, source=source, models=models, shape=shape)
    ]
    figures = {
        "starts at": f"{row['start_s']:g} s",
        "split": row["split"],
        "clip": row["clip_id"],
    }
    for column in ("vocals_peak_rms_db", "instrumental_peak_rms_db"):
        if column in row:
            source = column.removesuffix("_peak_rms_db")
            figures[f"peak RMS, {source}"] = f"{row[column]:.1f} dBFS"
    return ListeningClip(name=name, figures=figures, sounds=sounds)


def make_page(dataset: str, output: str, *, clips: int) -> str:
    """Writes the page and returns its path.

    Raises:
        DatasetError: There is no dataset.
        ValueError: It has no clip to listen to, or its models cannot be loaded.
    """
    manifest = read_manifest(dataset)
    recipe = recipe_from_json(manifest.recipe, manifest.origin).encode
    models = load_models(recipe)
    shape = next(
        field.shape
        for field in manifest_fields(manifest)
        if field.name == f"{recipe.sources[-1]}_acoustic"
    )
    names = track_names(dataset, manifest)
    chosen = [
        listening_clip(row, name=names[row["track_id"]], recipe=recipe, models=models, shape=shape)
        for row in choose_clips(dataset, manifest, clips=clips)
    ]
    rows = [
        ("dataset", manifest.dataset_digest[:12]),
        ("clips", str(manifest.counts["clips"]["kept"])),
        ("acoustic codec", manifest.origin["acoustic"]),
    ]
    return write_listening_page(output, chosen, title="What the codes hold", summary_rows=rows)
