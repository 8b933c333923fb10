"""Checks that an adapter keeps the contract of `singsong.models.protocols`.

For the tests of your own adapter, under pytest or not:

    import pytest
    from singsong.models.conformance import check_codec

    @pytest.mark.parametrize("batch_clips", [1, 4])
    def test_my_codec(batch_clips):
        check_codec(lambda: MyCodec(None, device="cpu", dtype="float32", batch_clips=batch_clips))

Each check takes a function that makes the adapter, calls it twice and raises a `ConformanceError`
at the first rule that is broken. Call `torch.set_num_threads(1)` first, as the workers of each job
do: a sum that is split over threads may depend on the place of a clip in its batch.

The codes of a dataset are named by the hash of the weights and the content of the audio, so a model
whose codes depend on anything else makes data that cannot be made again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from singsong.models.protocols import AcousticCodec, SemanticEncoder, Separator, StereoSeparator
from singsong.schemas.arrays import FloatArray
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry

CLIPS = 8

Run: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]

_SECONDS = 0.5
_LEAST_VALUES = 3
"""A result of no more different values does not depend on the input."""


class ConformanceError(AssertionError):
    """An adapter breaks a rule; the message says which, and what was found."""


def check_separator(make: Callable[[], Separator], *, samples: int | None = None) -> None:
    """Checks a separator.

    The rules: a positive whole sample rate; vocals are finite float32 of the shape of the mix, at
    any length; the same bits again, from another instance, and in any batch; the mix is unchanged;
    audio without a batch axis or without clips is a `ValueError`; the hash is stable. A separator
    that has `separate_stereo` keeps them there, too.

    Args:
        make: Returns a new separator.
        samples: Length of the clips to check with; None takes half a second.

    Raises:
        ConformanceError: It breaks a rule.
    """
    separator = make()
    rate_hz = separator.sample_rate_hz
    _require(
        isinstance(rate_hz, int) and rate_hz > 0,
        f"sample_rate_hz must be a positive int, found {rate_hz!r}",
    )
    clips = noise_clips(samples or round(_SECONDS * rate_hz))
    for length in (clips.shape[1], clips.shape[1] - 1):
        mix = clips[:2, :length]
        _check_audio(separator.separate_vocals(mix), shape=mix.shape, name="vocals")
    silence = np.zeros((1, clips.shape[1]), np.float32)
    _check_audio(separator.separate_vocals(silence), shape=silence.shape, name="vocals of silence")
    _check_run(separator.separate_vocals, make().separate_vocals, clips)
    _check_audio_refusals(separator.separate_vocals)
    if isinstance(separator, StereoSeparator):
        _check_stereo(separator, make(), clips)
    _check_hash(separator, make())


def check_codec(make: Callable[[], AcousticCodec], *, samples: int | None = None) -> None:
    """Checks an acoustic codec.

    The rules: codes are uint16 [clips, frames, codebooks] in range, a frame for each hop that is
    begun; audio is finite float32 [clips, frames x hop], from the first k codebooks for each k; the
    same bits again, from another instance, and in any batch, both ways; inputs are unchanged; audio
    or codes of another shape, and codes out of range, are a `ValueError`; the hash is stable.

    Args:
        make: Returns a new codec.
        samples: As in `check_separator`.

    Raises:
        ConformanceError: It breaks a rule.
    """
    codec = make()
    clips = _check_encoder(codec, make(), kind=AcousticGeometry, samples=samples)
    codes = codec.encode(clips)
    _check_prefixes(codec, codes)
    _check_run(codec.decode, make().decode, codes)
    _check_code_refusals(codec)


def check_semantic_encoder(
    make: Callable[[], SemanticEncoder], *, samples: int | None = None
) -> None:
    """Checks a semantic encoder.

    The rules: codes are uint16 [clips, frames] in range, a frame for each hop that is begun; the
    same bits again, from another instance, and in any batch; the audio is unchanged; audio of
    another shape is a `ValueError`; the hash is stable.

    Args:
        make: Returns a new encoder.
        samples: As in `check_separator`.

    Raises:
        ConformanceError: It breaks a rule.
    """
    _check_encoder(make(), make(), kind=SemanticGeometry, samples=samples)


def noise_clips(samples: int, *, seed: int = 0) -> FloatArray:
    """Returns eight different clips of coloured noise, one of them nearly silent.

    Args:
        samples: Length of a clip.
        seed: Other seeds give other clips.

    Returns:
        float32 [8, samples] in [-1, 1].

    >>> noise_clips(16000).shape
    (8, 16000)
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((CLIPS, samples)).astype(np.float32)
    levels = np.float32(10) ** rng.uniform(-2, -0.5, (CLIPS, 1)).astype(np.float32)
    levels[3] = 1e-6
    smooth = np.cumsum(noise, axis=1) * np.float32(0.02)
    clips: FloatArray = np.clip((noise + smooth) * levels, -1, 1).astype(np.float32)
    return clips


def check_batch_invariance(run: Run, clips: npt.NDArray[Any]) -> None:
    """Checks that each clip has the same result alone, in threes, in eights and in another order.

    Matrix kernels choose their order of summation by the shape of the batch, so this fails for
    most networks that are called on batches as they come: see `singsong.models.batching`.

    Args:
        run: Takes a batch [clips, ...] and returns [clips, ...].
        clips: Eight different clips.

    Raises:
        ConformanceError: A result depends on the rest of its batch, or not on its clip.
    """
    _check_batches(run, clips, run(clips))


def _check_batches(run: Run, clips: npt.NDArray[Any], together: npt.NDArray[Any]) -> None:
    different = len(np.unique(together))
    _require(
        different > _LEAST_VALUES,
        f"the result must depend on the input, found {different} different values in it",
    )
    for index in (0, 3, 7):
        alone = run(clips[index : index + 1])[0]
        _require_equal(alone, together[index], "alone and in a batch of 8")
    _require_equal(run(clips[2:5]), together[2:5], "in a batch of 3 and in one of 8")
    _require_equal(run(clips[::-1])[::-1], together, "in a batch of another order")
    others = np.roll(clips, 2, axis=0)
    others[5] = clips[2]
    _require_equal(run(others)[5], together[2], "beside other clips")


def _check_stereo(separator: StereoSeparator, another: Separator, clips: FloatArray) -> None:
    mixes = np.stack([clips, np.roll(clips, 3, axis=0)], axis=1)
    for mix in (mixes[:2], mixes[:2, :, :-1], np.zeros_like(mixes[:1])):
        _check_audio(separator.separate_stereo(mix.copy()), shape=mix.shape, name="stereo vocals")
    assert isinstance(another, StereoSeparator)
    _check_run(separator.separate_stereo, another.separate_stereo, mixes)
    _require_refusal(separator.separate_stereo, clips, "audio of shape [clips, samples]")
    _require_refusal(separator.separate_stereo, mixes[:, :1], "audio of one channel")


def _check_encoder(
    encoder: AcousticCodec | SemanticEncoder,
    another: AcousticCodec | SemanticEncoder,
    *,
    kind: type[AcousticGeometry | SemanticGeometry],
    samples: int | None,
) -> FloatArray:
    """Checks what codecs and encoders have in common, and returns the clips it did so with."""
    geometry = encoder.geometry
    _require(
        isinstance(geometry, kind),
        f"geometry must be of type {kind.__name__}, found {type(geometry).__name__}",
    )
    inner = (geometry.codebooks,) if isinstance(geometry, AcousticGeometry) else ()
    clips = noise_clips(samples or round(_SECONDS * geometry.sample_rate_hz))
    _check_frames(encoder.encode, geometry, inner=inner, longest=clips.shape[1])
    _check_run(encoder.encode, another.encode, clips)
    _check_audio_refusals(encoder.encode)
    _check_hash(encoder, another)
    return clips


def _check_run(run: Run, run_of_another: Run, inputs: npt.NDArray[Any]) -> None:
    """Checks one direction of a model: batches, repetition, another instance, its input."""
    given = inputs.copy()
    first = run(given)
    _require(np.array_equal(given, inputs), "the model must not change its input")
    _check_batches(run, inputs, first)
    _require_equal(run(inputs), first, "when the model runs twice")
    _require_equal(run_of_another(inputs), first, "from two instances of the model")


def _check_frames(
    encode: Run,
    geometry: AcousticGeometry | SemanticGeometry,
    *,
    inner: tuple[int, ...],
    longest: int,
) -> None:
    """Checks type, shape and range of the codes, at lengths around a whole number of hops."""
    hop = geometry.hop_samples
    clips = noise_clips(max(longest, 2 * hop + 1))[:2]
    for samples in (1, hop - 1, hop, hop + 1, 2 * hop, 2 * hop + 1, longest):
        if samples < 1:
            continue
        codes = encode(clips[:, :samples])
        _require(codes.dtype == np.uint16, f"codes must be uint16, found {codes.dtype}")
        wanted = (2, geometry.frames(samples), *inner)
        _require(
            codes.shape == wanted,
            f"codes of {samples} samples must be {list(wanted)} by the geometry, "
            f"found {list(codes.shape)}",
        )
        _require(
            int(codes.max()) < geometry.codebook_size,
            f"codes must be below codebook_size {geometry.codebook_size}, found {codes.max()}",
        )


def _check_prefixes(codec: AcousticCodec, codes: npt.NDArray[np.uint16]) -> None:
    samples = codes.shape[1] * codec.geometry.hop_samples
    for k in range(1, codec.geometry.codebooks + 1):
        audio = codec.decode(codes[:2, :, :k])
        _check_audio(audio, shape=(2, samples), name=f"audio of the first {k} codebooks")


def _check_audio(audio: npt.NDArray[Any], *, shape: tuple[int, ...], name: str) -> None:
    _require(audio.dtype == np.float32, f"{name} must be float32, found {audio.dtype}")
    _require(
        audio.shape == shape, f"{name} must be of shape {list(shape)}, found {list(audio.shape)}"
    )
    _require(bool(np.isfinite(audio).all()), f"{name} must be finite")


def _check_audio_refusals(run: Run) -> None:
    _require_refusal(run, np.zeros(4000, np.float32), "audio of shape [samples]")
    _require_refusal(run, np.zeros((0, 4000), np.float32), "audio without a clip in it")


def _check_code_refusals(codec: AcousticCodec) -> None:
    books, size = codec.geometry.codebooks, codec.geometry.codebook_size
    _require_refusal(codec.decode, np.zeros((2, books), np.uint16), "codes without clips")
    _require_refusal(codec.decode, np.zeros((1, 2, 0), np.uint16), "codes of no codebook")
    _require_refusal(
        codec.decode, np.zeros((1, 2, books + 1), np.uint16), f"codes of {books + 1} codebooks"
    )
    if size <= np.iinfo(np.uint16).max:
        _require_refusal(codec.decode, np.full((1, 2, books), size, np.uint16), f"a code of {size}")


def _check_hash(model: Any, another: Any) -> None:
    found = model.weights_sha256
    _require(
        isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found) is not None,
        f"weights_sha256 must be 64 lower-case hex digits, found {found!r}",
    )
    _require(
        found == another.weights_sha256, "weights_sha256 must be the same for the same weights"
    )


def _require_refusal(run: Run, given: npt.NDArray[Any], what: str) -> None:
    try:
        run(given)
    except ValueError:
        return
    except (TypeError, IndexError, RuntimeError, AttributeError, AssertionError) as error:
        raise ConformanceError(
            f"{what} must be refused with a ValueError, found {type(error).__name__}: {error}"
        ) from error
    raise ConformanceError(f"{what} must be refused with a ValueError, and was accepted")


def _require_equal(found: npt.NDArray[Any], wanted: npt.NDArray[Any], where: str) -> None:
    _require(np.array_equal(found, wanted), f"the result must be the same to the last bit {where}")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ConformanceError(rule)
