"""Makes a page on which to hear what the codes of a dataset hold."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from singsong.dataset.clips import ClipRecord, SourceCodes
from singsong.dataset.handle import Dataset, open_dataset
from singsong.evaluation.listening_page import ListeningClip, Sound, write_listening_page
from singsong.models.bundle import Models, load_models
from singsong.schemas.outcomes import TrackStatus


def choose_clips(dataset: Dataset, *, clips: int) -> Iterator[ClipRecord]:
    """Yields the first clip of each of the first tracks.

    Args:
        dataset: The dataset.
        clips: How many clips at most.

    Raises:
        ValueError: The dataset has no clips, or `clips` is not positive.
        DatasetError: A shard is damaged.
        OSError: A shard cannot be read.
    """
    if clips < 1:
        raise ValueError(f"clips must be at least 1, found {clips}")
    if not len(dataset):
        raise ValueError("the dataset has no clip to listen to")
    tracks: set[str] = set()
    for clip in dataset.clips():
        if clip.track_id not in tracks:
            tracks.add(clip.track_id)
            yield clip
            if len(tracks) == clips:
                return


def sounds_of(codes: SourceCodes, *, source: str, models: Models) -> list[Sound]:
    """Returns the original sound, if the dataset stores it, and what its codes decode to.

    Args:
        codes: The codes of the source.
        source: "vocals", "vocals_noisy", "instrumental" or "mix".
        models: The models; the codec decodes.
    """
    geometry = models.acoustic.geometry
    rate, coarse = geometry.sample_rate_hz, geometry.coarse_codebooks
    name = source.replace("vocals_noisy", "noisy vocals")
    sounds = []
    if codes.flac is not None:
        audio, stored_rate = soundfile.read(io.BytesIO(codes.flac), dtype="float32")
        sounds.append(Sound(label=name, audio=audio, sample_rate_hz=stored_rate))
    for label, kept in (
        (f"{name}, from {coarse} coarse codebooks", codes.acoustic[:, :coarse]),
        (f"{name}, from all {geometry.codebooks}", codes.acoustic),
    ):
        decoded = models.acoustic.decode(np.array(kept)[None])[0]
        sounds.append(Sound(label=label, audio=decoded, sample_rate_hz=rate))
    return sounds


def listening_clip(clip: ClipRecord, *, name: str, models: Models) -> ListeningClip:
    """Returns a clip with its figures and all its sounds.

    Args:
        clip: The clip.
        name: Name of its file.
        models: The models; the codec decodes.
    """
    sounds = [
        sound
        for source, codes in reversed(list(clip.codes.items()))
        for sound in sounds_of(codes, source=source, models=models)
    ]
    figures = {"starts at": f"{clip.start_s:g} s", "split": clip.split, "clip": clip.clip_id}
    for source, level_db in (
        ("vocals", clip.vocals_peak_rms_db),
        ("instrumental", clip.instrumental_peak_rms_db),
    ):
        if level_db is not None:
            figures[f"peak RMS, {source}"] = f"{level_db:.1f} dBFS"
    return ListeningClip(name=name, figures=figures, sounds=sounds)


def make_page(url: str, output: str, *, clips: int) -> str:
    """Writes the page and returns its path.

    Args:
        url: Folder or URL of the dataset.
        output: Folder or URL of the page.
        clips: How many clips at most.

    Raises:
        DatasetError: There is no dataset.
        ValueError: It has no clip to listen to, or its models cannot be loaded.
    """
    dataset = open_dataset(url)
    models = load_models(dataset.recipe.encode)
    encoded = [track for track in dataset.tracks if track.status == TrackStatus.ENCODED]
    names = {track.track_id: track.uri.rpartition("/")[2] for track in encoded}
    chosen = [
        listening_clip(clip, name=names[clip.track_id], models=models)
        for clip in choose_clips(dataset, clips=clips)
    ]
    rows = [
        ("dataset", dataset.manifest.dataset_digest[:12]),
        ("clips", str(len(dataset))),
        ("acoustic codec", dataset.manifest.origin["acoustic"]),
    ]
    return write_listening_page(output, chosen, title="What the codes hold", summary_rows=rows)
