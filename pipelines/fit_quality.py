"""Measures a fitted model on held-out music."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from singsong import storage
from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.models.devices import set_numerics
from singsong.models.lite.acoustic import LiteAcousticCodec
from singsong.models.lite.quality import (
    AcousticFigures,
    SemanticFigures,
    measure_acoustic,
    measure_semantic,
)
from singsong.models.registry import load_semantic
from singsong.schemas.arrays import FloatArray
from singsong.schemas.errors import ClipError
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import ModelSpec
from singsong.schemas.text import printable
from singsong.transforms.fit_config import FitConfig

_RATE_HZ = 16000
_LEAST_RMS = 1e-3


def measure(fit: FitConfig, files: Sequence[str]) -> AcousticFigures | SemanticFigures:
    """Returns the figures of the fitted model on held-out music.

    A held-out file that cannot be decoded is reported and left out.

    Args:
        fit: What was fitted, and where an encoder runs.
        files: The held-out files.

    Raises:
        ValueError: No held-out clip is left.
    """
    clips = list(_loud_clips(files, seconds=fit.clip_seconds))
    with tempfile.TemporaryDirectory(prefix="singsong-fitted-") as folder:
        fitted = os.path.join(folder, "fitted.safetensors")
        storage.put_bytes(fitted, storage.read_bytes(fit.output))
        if fit.kind == "acoustic":
            return measure_acoustic(LiteAcousticCodec.load(fitted), clips)
        spec = fit.encoder or ModelSpec(name="lite", source=fitted)
        if fit.encoder is not None:
            spec = replace(spec, options=tuple(sorted([*spec.options, ("codebook", fitted)])))
        set_numerics()
        encoder = load_semantic(spec, device=fit.device, dtype="float32", batch_clips=1)
        return measure_semantic(encoder, clips)


def _loud_clips(files: Sequence[str], *, seconds: float) -> Iterator[FloatArray]:
    for uri in tqdm(files, unit="track", desc="held out", disable=None):
        cutter = ClipCutter(clip_samples=clip_samples(seconds, _RATE_HZ))
        try:
            with storage.local_copy(uri) as local:
                clips = list(cutter.cut(stream_mono(local, rate_hz=_RATE_HZ)))
        except ClipError as error:
            tqdm.write(printable(f"{error.reason}: {uri}: {error}"))
            continue
        yield from (clip for clip in clips if np.sqrt(np.mean(clip**2)) > _LEAST_RMS)
