"""The table at the end of a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from singsong.dataset.counts import Counts
from singsong.dataset.handle import Dataset
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.text import printable

_STEPS = {
    "us_decode": "decode",
    "us_separate": "separate",
    "us_resample": "resample",
    "us_acoustic": "acoustic codes",
    "us_semantic": "semantic codes",
    "us_loudness": "loudness",
    "us_noise": "noise",
    "us_fingerprint": "fingerprint",
    "us_identify": "check content",
    "us_determinism": "check determinism",
}


def print_summary(dataset: Dataset, *, counters: Mapping[str, int]) -> None:
    """Prints what became of each track and clip, and how the run spent its time.

    Args:
        dataset: The dataset.
        counters: Counters of the run.
    """
    print("\n".join([*describe(dataset), *describe_time(counters)]))
    print(f"\ndataset {dataset.manifest.dataset_digest[:12]} is in {printable(dataset.url)}")


def describe(dataset: Dataset) -> list[str]:
    """Returns lines that describe what a dataset holds."""
    lines = describe_counts(dataset.manifest.counts)
    for name, _ in dataset.recipe.splits:
        split = dataset.manifest.splits[name]
        duration = _duration(split.seconds)
        text = f"{split.clips:>10} clips of {split.tracks} tracks, {duration}"
        lines.append(f"{'split ' + name:<28}{text}")
    size = sum(shard.bytes for shard in dataset.shards)
    lines.append(f"{'shards':<28}{len(dataset.shards):>10} files, {size / 1e6:.1f} MB")
    return lines


def describe_counts(counts: Counts) -> list[str]:
    """Returns lines on what became of the tracks and the clips."""
    tracks, clips, seconds = counts.tracks, counts.clips, counts.seconds
    return [
        f"{'tracks listed':<28}{tracks.listed:>10}",
        f"{'  encoded':<28}{tracks.encoded:>10}",
        *([f"{'    of files cut short':<28}{tracks.cut_short:>10}"] if tracks.cut_short else []),
        f"{'  duplicate':<28}{tracks.duplicate:>10}",
        *_reasons("  failed", tracks.failed),
        *([f"{'system files skipped':<28}{counts.skipped:>10}"] if counts.skipped else []),
        f"{'clips':<28}{clips.total:>10}",
        f"{'  kept':<28}{clips.kept:>10}",
        *_reasons("  dropped", clips.dropped),
        *_reasons("  failed", clips.failed),
        f"{'audio decoded':<28}{_duration(seconds.decoded):>10}",
        f"{'  shorter than a clip':<28}{_duration(seconds.tails):>10}",
    ]


def describe_makers(dataset: Dataset) -> list[str]:
    """Returns lines on what made the parts, if they were not all made by the same.

    Other versions of a library, or another kind of processor, may give other codes.
    """
    made = Counter(
        maker
        for track in dataset.tracks
        if track.status == TrackStatus.ENCODED
        for maker in track.made_with
    )
    if len(made) <= 1:
        return []
    common = set.intersection(*(set(maker.split()) for maker in made))
    lines = ["", f"The parts were made by {len(made)} kinds of machine or software:"]
    for maker, tracks in sorted(made.items()):
        own = " ".join(word for word in maker.split() if word not in common)
        lines.append(f"{tracks:>10} tracks with {own}")
    return lines


def describe_time(counters: Mapping[str, int]) -> list[str]:
    """Returns lines on how the workers spent their time; none if nothing was encoded.

    Args:
        counters: Microseconds per step as "us_<step>", and "us_total".
    """
    total = counters.get("us_total", 0) + counters.get("us_identify", 0)
    if not total:
        return []
    lines = ["", f"{'worker time':<28}{'s':>10}{'%':>8}"]
    for key, name in _STEPS.items():
        if key in counters:
            lines.append(
                f"  {name:<26}{counters[key] / 1e6:>10.1f}{100 * counters[key] / total:>8.1f}"
            )
    rest = total - sum(counters.get(key, 0) for key in _STEPS)
    lines.append(f"  {'writing and other':<26}{rest / 1e6:>10.1f}{100 * rest / total:>8.1f}")
    return lines


def _reasons(title: str, reasons: Mapping[str, int]) -> list[str]:
    return [f"{title + ': ' + name:<28}{number:>10}" for name, number in reasons.items()]


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
