"""Checks before a job is submitted: each error here would otherwise cost worker hours."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from singsong import storage
from singsong.runners.container_image import read_image_labels
from singsong.runners.image_labels import (
    BEAM_LABEL,
    PYTHON_LABEL,
    VERSION_LABEL,
    WEIGHTS_LABEL,
    parse_weights,
    software_labels,
)

_MULTI_REGIONS = {"ASIA": "asia-", "EU": "europe-", "US": "us-"}
_DUAL_REGIONS = {
    "ASIA1": ("asia-northeast1", "asia-northeast2"),
    "EUR4": ("europe-north1", "europe-west4"),
    "EUR5": ("europe-west1", "europe-west2"),
    "EUR7": ("europe-west2", "europe-west3"),
    "EUR8": ("europe-west3", "europe-west6"),
    "NAM4": ("us-central1", "us-east1"),
}
_CHECKED_LABELS = {
    VERSION_LABEL: "singsong",
    PYTHON_LABEL: "Python",
    BEAM_LABEL: "Apache Beam",
}


def check_reachable(reads: tuple[str, ...], writes: Mapping[str, str]) -> None:
    """Checks that no place is on this machine, where workers cannot reach it.

    Args:
        reads: What the workers read.
        writes: Flag and URL of each place that they write to.

    Raises:
        ValueError: A place is on this machine.
    """
    places = [*(("input", url) for url in reads), *writes.items()]
    for what, url in places:
        if storage.is_local(url):
            raise ValueError(
                f"{what} {url} is on this machine, where the workers cannot reach it: "
                "give a URL such as gs://BUCKET/FOLDER"
            )


def check_device(device: str, gpu: str) -> None:
    """Checks that the workers have a GPU if and only if the networks run on it.

    Args:
        device: Where the workers' networks run.
        gpu: The GPU that the workers have; empty for none.

    Raises:
        ValueError: A GPU would be paid for and not used, or is missing.
    """
    if gpu and device == "cpu":
        raise ValueError(f"--gpu {gpu} would be paid for and not used: pass --device cuda with it")
    if not gpu and device != "cpu":
        raise ValueError(f"--device {device} needs workers with a GPU: pass --gpu nvidia-l4")
    if gpu and device not in ("cuda", "cuda:0"):
        raise ValueError(f"a worker has one GPU, --device cuda; found --device {device}")


def check_bucket(url: str, *, region: str) -> None:
    """Checks that a bucket exists, is near the workers and can be written.

    A tiny object is put below the URL and removed again.

    Args:
        url: A gs:// URL that the workers write below; other URLs are not checked.
        region: Where the workers are.

    Raises:
        ValueError: The bucket is missing, far away or not writable.
    """
    if not url.startswith("gs://"):
        return
    bucket = url.removeprefix("gs://").partition("/")[0]
    _check_location(bucket, _bucket_facts(bucket), region=region)
    probe = storage.join(url, f"singsong-preflight-{uuid.uuid4().hex}")
    try:
        storage.put_bytes(probe, b"may be removed")
        storage.remove(probe)
    except OSError as error:
        raise ValueError(
            f"{url} cannot be written ({error}): grant yourself and the workers' service account "
            f"the role roles/storage.objectAdmin on gs://{bucket}"
        ) from error


def _bucket_facts(bucket: str) -> Mapping[str, Any]:
    fs, path = storage.filesystem(f"gs://{bucket}")
    try:
        facts: Mapping[str, Any] = fs.info(path)
    except FileNotFoundError:
        raise ValueError(
            f"there is no bucket gs://{bucket}, or you may not access it: create it with "
            f"`gcloud storage buckets create gs://{bucket}`"
        ) from None
    except OSError as error:
        raise ValueError(f"gs://{bucket} cannot be read: {error}") from error
    return facts


def _check_location(bucket: str, facts: Mapping[str, Any], *, region: str) -> None:
    location = str(facts.get("location", "")).upper()
    if location and not is_near(facts, region=region):
        raise ValueError(
            f"gs://{bucket} is in {location} and the workers in {region}: every byte between them "
            f"would be paid for; choose a bucket in {region}, or another --region"
        )


def is_near(facts: Mapping[str, Any], *, region: str) -> bool:
    """Returns whether a bucket serves a region without traffic between regions.

    Args:
        facts: The bucket's metadata as the JSON API gives it.
        region: Where the workers are.

    >>> is_near({"location": "EU"}, region="europe-west4")
    True
    >>> is_near({"location": "NAM4"}, region="us-west1")
    False
    """
    location = str(facts["location"]).upper()
    chosen = facts.get("customPlacementConfig", {}).get("dataLocations")
    if chosen:
        return region in [name.lower() for name in chosen]
    if location in _MULTI_REGIONS:
        return region.startswith(_MULTI_REGIONS[location])
    return region in _DUAL_REGIONS.get(location, (location.lower(),))


def check_image(image: str, *, weights: Mapping[str, str]) -> None:
    """Checks that an image holds this code, Python, Beam and the models of the job.

    Args:
        image: Its name.
        weights: Hex digest of the weights of each model of the job, by role.

    Raises:
        ValueError: The image differs, or cannot be read.
    """
    labels = read_image_labels(image)
    if VERSION_LABEL not in labels:
        raise ValueError(
            f"{image} has no label {VERSION_LABEL}: it is not an image of singsong; build one "
            "from our Dockerfile"
        )
    for label, want in software_labels().items():
        if labels.get(label) != want:
            raise ValueError(
                f"{image} holds {_CHECKED_LABELS[label]} {labels.get(label, 'unknown')}, and this "
                f"machine runs {want}: build the image from the code that you submit with"
            )
    baked = parse_weights(labels.get(WEIGHTS_LABEL, ""))
    for role, digest in weights.items():
        if (role, digest) not in baked:
            found = [other[:12] for kind, other in sorted(baked) if kind == role]
            raise ValueError(
                f"{image} lacks the weights {digest[:12]} of the {role} model (it holds "
                f"{', '.join(found) or 'none'}): build it with the models of your recipe"
            )
