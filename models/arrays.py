"""Separates, encodes and decodes arrays at any sample rate, with a model named by its spec.

These functions are for notebooks and small tools. A pipeline loads a model once, at its own sample
rate, with `singsong.models.registry.load_model`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from singsong.audio.resample import resample
from singsong.models.protocols import StereoSeparator
from singsong.models.registry import load_model
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.recipe import EncodeRecipe, ModelSpec


class Stems(NamedTuple):
    """The two parts of a mix, which add up to it.

    Attributes:
        vocals: float32, of the shape of the mix.
        instrumental: float32, of the shape of the mix.
    """

    vocals: FloatArray
    instrumental: FloatArray


def separate(
    mix: FloatArray,
    *,
    sample_rate_hz: int,
    model: ModelSpec | str = "spleeter",
    device: str = "cpu",
) -> Stems:
    """Returns the vocals and the instrumental of a mix.

    Args:
        mix: float32 [samples] or [channels, samples] in [-1, 1], separated in one piece. A model
            that takes stereo gets two channels together; else each channel is separated by itself.
        sample_rate_hz: Its rate. Where the model has another one, the vocals hold nothing above
            half of the lower rate.
        model: The separator, as `--separator` names it.
        device: Where it runs.

    Returns:
        Both stems, of the shape and the rate of the mix; the instrumental is mix - vocals.

    Raises:
        ValueError: The mix is of another type or shape or not finite, the rate is not positive, or
            the model cannot be loaded.

    >>> import singsong
    >>> mix = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 24000)).astype(np.float32)
    >>> vocals, instrumental = singsong.separate(mix, sample_rate_hz=48000)
    >>> vocals.shape, bool(np.allclose(vocals + instrumental, mix))
    ((2, 24000), True)
    """
    _check_audio(mix, "the mix")
    separator = load_model("separator", model, device=device)
    own_hz = separator.sample_rate_hz
    channels = np.atleast_2d(mix)
    given = _resampled(channels, sample_rate_hz, own_hz)
    if len(given) == 2 and isinstance(separator, StereoSeparator):
        vocals = separator.separate_stereo(given[None])[0]
    else:
        vocals = separator.separate_vocals(given)
    vocals = resample(vocals, from_hz=own_hz, to_hz=sample_rate_hz)
    vocals = _of_length(vocals, mix.shape[-1]).reshape(mix.shape)
    return Stems(vocals=vocals, instrumental=mix - vocals)


def encode(
    audio: FloatArray,
    *,
    sample_rate_hz: int,
    role: Literal["acoustic", "semantic"] = "acoustic",
    model: ModelSpec | str | None = None,
    device: str = "cpu",
) -> CodeArray:
    """Returns the codes of audio.

    Args:
        audio: float32 [samples] or [channels, samples] in [-1, 1]; each channel has its own codes.
        sample_rate_hz: Its rate; it is resampled to that of the model.
        role: Whether `model` is an acoustic codec or a semantic encoder.
        model: The model, as `--acoustic` or `--semantic` names it; None is the default recipe's.
        device: Where it runs.

    Returns:
        uint16 [frames, codebooks] of an acoustic codec, [frames] of a semantic encoder, with
        [channels, ...] before them where the audio has channels.

    Raises:
        ValueError: The audio is of another type or shape or not finite, the rate is not positive,
            the role is neither, or the model cannot be loaded.

    >>> import singsong
    >>> tone = (0.1 * np.sin(np.arange(48000) / 20)).astype(np.float32)
    >>> singsong.encode(tone, sample_rate_hz=48000).shape
    (50, 12)
    >>> singsong.encode(tone, sample_rate_hz=48000, role="semantic").shape
    (25,)
    """
    _check_audio(audio, "the audio")
    if role not in ("acoustic", "semantic"):
        raise ValueError(f'role must be "acoustic" or "semantic", found {role!r}')
    encoder = load_model(role, model or getattr(EncodeRecipe(), role), device=device)
    own_hz = encoder.geometry.sample_rate_hz
    codes = encoder.encode(_resampled(np.atleast_2d(audio), sample_rate_hz, own_hz))
    return codes if audio.ndim == 2 else codes[0]


def decode(
    codes: npt.NDArray[np.integer[Any]],
    *,
    sample_rate_hz: int,
    model: ModelSpec | str | None = None,
    device: str = "cpu",
) -> FloatArray:
    """Returns the audio of acoustic codes.

    Args:
        codes: Integers [frames, k] or [channels, frames, k], of the first k codebooks.
        sample_rate_hz: The rate at which the audio is wanted.
        model: The acoustic codec that made the codes, as `--acoustic` names it; None is the default
            recipe's.
        device: Where it runs.

    Returns:
        float32 [samples] or [channels, samples]: whole frames, so the last one may go past the end
        of what was encoded.

    Raises:
        ValueError: The codes are of another type or shape or out of range, the rate is not
            positive, or the model cannot be loaded.

    >>> import singsong
    >>> codes = singsong.encode(np.zeros(48000, np.float32), sample_rate_hz=48000)
    >>> singsong.decode(codes, sample_rate_hz=48000).shape
    (48000,)
    """
    if not np.issubdtype(codes.dtype, np.integer) or codes.ndim not in (2, 3) or not codes.size:
        raise ValueError(
            "codes must be integers [frames, codebooks] or [channels, frames, codebooks], "
            f"found {codes.dtype} {list(codes.shape)}"
        )
    codec = load_model("acoustic", model or EncodeRecipe().acoustic, device=device)
    size = codec.geometry.codebook_size
    if codes.min() < 0 or codes.max() >= size:
        raise ValueError(
            f"codes must be from 0 to {size - 1}, found {codes.min()} to {codes.max()}"
        )
    clips = codes.astype(np.uint16).reshape(-1, *codes.shape[-2:])
    own_hz = codec.geometry.sample_rate_hz
    audio = resample(codec.decode(clips), from_hz=own_hz, to_hz=sample_rate_hz)
    return audio if codes.ndim == 3 else audio[0]


def _check_audio(audio: npt.NDArray[Any], name: str) -> None:
    if audio.dtype != np.float32 or audio.ndim not in (1, 2) or not audio.size:
        raise ValueError(
            f"{name} must be float32 [samples] or [channels, samples] with a sample in it, "
            f"found {audio.dtype} {list(audio.shape)}"
        )
    if not np.isfinite(audio).all():
        raise ValueError(f"{name} must be finite, found infinite or undefined samples")


def _resampled(audio: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    result = resample(audio, from_hz=from_hz, to_hz=to_hz)
    if not result.size:
        raise ValueError(
            f"{audio.shape[-1]} samples at {from_hz} Hz are less than one at the model's {to_hz} Hz"
        )
    return result


def _of_length(audio: FloatArray, samples: int) -> FloatArray:
    """Cuts or zero-pads: resampling forth and back may be a sample off."""
    audio = audio[:, :samples]
    return np.pad(audio, [(0, 0), (0, samples - audio.shape[1])])
