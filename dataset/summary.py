"""The table at the end of a job."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from singsong.dataset.manifest import Manifest

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


def print_summary(manifest: Manifest, *, counters: Mapping[str, int], output: str) -> None:
    """Prints what became of each track and clip, and where the time of this run went.

    Args:
        manifest: The dataset.
        counters: Counters of the run.
        output: Where the dataset is.
    """
    print("\n".join([*describe(manifest), *describe_time(counters)]))
    print(f"\ndataset {manifest.dataset_digest[:12]} is in {output}")


def describe(manifest: Manifest) -> list[str]:
    """Returns the lines that say what a dataset holds."""
    tracks, clips = manifest.counts["tracks"], manifest.counts["clips"]
    seconds = manifest.counts["seconds"]
    lines = [
        f"{'tracks listed':<28}{tracks['listed']:>10}",
        f"{'  encoded':<28}{tracks['encoded']:>10}",
        f"{'  duplicate':<28}{tracks['duplicate']:>10}",
        *_reasons("  failed", tracks["failed"]),
        f"{'clips':<28}{_clips_total(clips):>10}",
        f"{'  kept':<28}{clips['kept']:>10}",
        *_reasons("  dropped", clips["dropped"]),
        *_reasons("  failed", clips["failed"]),
        f"{'audio decoded':<28}{_duration(seconds['decoded']):>10}",
        f"{'  shorter than a clip':<28}{_duration(seconds['tails']):>10}",
    ]
    for name, _ in manifest.recipe["splits"]:
        split = manifest.splits[name]
        duration = _duration(split["seconds"])
        counts = f"{split['clips']:>10} clips of {split['tracks']} tracks, {duration}"
        lines.append(f"{'split ' + name:<28}{counts}")
    size = sum(shard.bytes for shard in manifest.shards)
    lines.append(f"{'shards':<28}{len(manifest.shards):>10} files, {size / 1e6:.1f} MB")
    return lines


def describe_time(counters: Mapping[str, int]) -> list[str]:
    """Returns the lines that say where the time of the workers went; none if nothing was encoded.

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


def _clips_total(clips: Mapping[str, Any]) -> int:
    return int(clips["kept"] + sum(clips["dropped"].values()) + sum(clips["failed"].values()))


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
