"""A dataset of tones, made with the plain functions of each step and without Beam."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

from singsong import storage
from singsong.dataset.commit import commit_dataset
from singsong.dataset.manifest import Manifest, ShardEntry
from singsong.dataset.part_files import write_part
from singsong.dataset.shard_writer import ShardSource, write_shard
from singsong.schemas.elements import DeadLetter, PartRef, Track
from singsong.schemas.names import part_path
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, ModelSpec, encode_digest
from singsong.schemas.records import record_fields
from singsong.schemas.separation import NO_SEPARATION_LIMITS
from singsong.transforms.arithmetic import ARITHMETIC
from singsong.transforms.assemble_shards import (
    AssembleConfig,
    SelectedTrack,
    key_by_shard,
    select_clips,
)
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_rows import TrackRows
from tests.support.fakes import fake_models, tone

_FAKE = ModelSpec(name="fake")
RECIPE = DatasetRecipe(
    encode=EncodeRecipe(
        clip_seconds=1.0,
        separator=_FAKE,
        acoustic=_FAKE,
        semantic=_FAKE,
        separation=NO_SEPARATION_LIMITS,
    ),
    splits=(("train", 1), ("test", 1)),
    clips_per_shard=6,
)
MODELS = fake_models()


def digest_of(recipe: EncodeRecipe) -> str:
    return encode_digest(recipe, weights=MODELS.weights, arithmetic=ARITHMETIC)


def config(folder: Path, recipe: DatasetRecipe = RECIPE) -> AssembleConfig:
    return AssembleConfig(
        recipe=recipe,
        weights=MODELS.weights,
        geometry=MODELS.geometry,
        encode_digest=digest_of(recipe.encode),
        parts=str(folder / "parts"),
        dataset=str(folder),
        origin={"parts": "parts", "separator": "fake", "acoustic": "fake", "semantic": "fake"},
    )


def write_tone_part(folder: Path, number: int, recipe: EncodeRecipe = RECIPE.encode) -> PartRef:
    """Writes the part of a track of two clips and a tail; each number is another pitch."""
    track_id = hashlib.sha256(f"tone {number}".encode()).hexdigest()
    path = part_path(track_id, digest_of(recipe))
    track_rows = TrackRows(track_id=track_id, recipe=recipe, models=MODELS, watch=Stopwatch())
    write_part(
        storage.join(str(folder / "parts"), path),
        track_rows.rows([tone(2.5, hz=220.3 + 10 * number)]),
        fields=record_fields(recipe, MODELS.geometry),
        facts=track_rows.facts,
    )
    track = Track(track_id=track_id, uri=f"file:///tone-{number:03d}.wav", size_bytes=1)
    return PartRef(track=track, path=path)


def write_shards(selected: list[SelectedTrack], config: AssembleConfig) -> list[ShardEntry]:
    recipe = config.recipe
    clips = Counter[str]()
    for track in selected:
        clips[track.summary.split] += len(track.kept)
    groups = defaultdict[str, list[ShardSource]](list)
    for track in selected:
        key, source = key_by_shard(track, clips, recipe.clips_per_shard)
        groups[key].append(source)
    entries = []
    for key, sources in groups.items():
        split, shard, shards = key.split("/")
        entries += write_shard(
            sources,
            dataset=config.dataset,
            parts=config.parts,
            fields=record_fields(recipe.encode, config.geometry),
            formats=recipe.formats,
            split=split,
            shard=int(shard),
            shards=int(shards),
        )
    return entries


def write_small_dataset(
    folder: Path, *, tracks: int = 8, letters: tuple[DeadLetter, ...] = ()
) -> Manifest:
    """Writes and commits a dataset of two clips a track, in two splits and several shards."""
    job = config(folder)
    parts = [write_tone_part(folder, number) for number in range(tracks)]
    selected = [select_clips(part, job)[0] for part in parts]
    return commit_dataset(
        job,
        tracks=[track.summary for track in selected],
        letters=letters,
        shards=write_shards(selected, job),
        listed=tracks + sum(letter.clip_index is None for letter in letters),
    )
