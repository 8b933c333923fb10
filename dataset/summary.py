"""The table at the end of a job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from singsong.dataset.handle import Dataset
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
    counts = dataset.manifest.counts
    tracks, clips, seconds = counts.tracks, counts.clips, counts.seconds
    lines = [
        f"{'tracks listed':<28}{tracks.listed:>10}",
        f"{'  encoded':<28}{tracks.encoded:>10}",
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
    for name, _ in dataset.recipe.splits:
        split = dataset.manifest.splits[name]
        duration = _duration(split.seconds)
        text = f"{split.clips:>10} clips of {split.tracks} tracks, {duration}"
        lines.append(f"{'split ' + name:<28}{text}")
    size = sum(shard.bytes for shard in dataset.shards)
    lines.append(f"{'shards':<28}{len(dataset.shards):>10} files, {size / 1e6:.1f} MB")
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
