"""Tests of the conformance kit: a toy passes, and a toy that breaks one rule is told which."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from singsong.models.conformance import (
    ConformanceError,
    check_codec,
    check_semantic_encoder,
    check_separator,
)
from tests.toy_plugin.singsong_toy import ToyCodec, ToyEncoder, ToySeparator

PLACE: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_clips": 1}
CHECKS = {ToySeparator: check_separator, ToyCodec: check_codec, ToyEncoder: check_semantic_encoder}
RUNS = {ToySeparator: "separate_vocals", ToyCodec: "encode", ToyEncoder: "encode"}
COUNTER = itertools.count()


def broken(toy: type[Any], **members: Any) -> type[Any]:
    """Returns a subclass with other members."""
    return type(f"Broken{toy.__name__}", (toy,), members)


def with_result(toy: type[Any], change: Any, name: str | None = None) -> type[Any]:
    """Returns a subclass whose method returns `change(inputs, result of the toy)`."""
    name = name or RUNS[toy]

    def run(self: Any, inputs: Any) -> Any:
        return change(inputs, getattr(toy, name)(self, inputs))

    return broken(toy, **{name: run})


def check(adapter: type[Any]) -> None:
    toy = next(one for one in CHECKS if issubclass(adapter, one))
    CHECKS[toy](lambda: adapter(None, **PLACE))


@pytest.mark.parametrize("toy", CHECKS)
def test_a_good_adapter_passes(toy: type[Any]) -> None:
    check(toy)


def beside_others(inputs: Any, result: Any) -> Any:
    """Adds what the other clips of the batch sound like."""
    return result + (np.abs(inputs).sum() > np.abs(inputs[:1]).sum()).astype(result.dtype)


def by_position(inputs: Any, result: Any) -> Any:
    """The batch statistics of a network in training mode, in small."""
    first = np.arange(len(result)).reshape(-1, *[1] * (result.ndim - 1)) == 0
    return np.where(first & (len(result) > 1), result + result.dtype.type(1), result)


def spoil(inputs: Any, result: Any) -> Any:
    inputs[:] = 0
    return result


def random_bits(inputs: Any, result: Any) -> Any:
    return (result + next(COUNTER)).astype(result.dtype)


COMMON = [
    (lambda _, result: result * 0, "must depend on the input, found 1 different"),
    (beside_others, "last bit alone and in a batch of 8"),
    (by_position, "last bit (alone and in a batch of 8|in a batch)"),
    (random_bits, "must be the same to the last bit"),
    (spoil, "must not change its input"),
]


@pytest.mark.parametrize("toy", CHECKS)
@pytest.mark.parametrize(("change", "rule"), COMMON)
def test_what_every_model_must_keep(toy: type[Any], change: Any, rule: str) -> None:
    with pytest.raises(ConformanceError, match=rule):
        check(with_result(toy, change))


@pytest.mark.parametrize(("change", "rule"), [*COMMON[:2], *COMMON[3:]])
def test_decoding_must_keep_it_too(change: Any, rule: str) -> None:
    with pytest.raises(ConformanceError, match=rule):
        check(with_result(ToyCodec, change, "decode"))


@pytest.mark.parametrize("toy", CHECKS)
def test_two_instances_must_agree(toy: type[Any]) -> None:
    def init(self: Any, source: str | None, **place: Any) -> None:
        toy.__init__(self, source, **place)
        self.number = next(COUNTER)

    def run(self: Any, inputs: Any) -> Any:
        result = getattr(toy, RUNS[toy])(self, inputs)
        return (result + self.number % 2).astype(result.dtype)

    with pytest.raises(ConformanceError, match="from two instances of the model"):
        check(broken(toy, __init__=init, **{RUNS[toy]: run}))


@pytest.mark.parametrize("toy", CHECKS)
@pytest.mark.parametrize("digest", ["abc", "A" * 64, "g" * 64, None, b"a" * 64])
def test_the_hash_must_be_of_full_hex(toy: type[Any], digest: Any) -> None:
    members = {"weights_sha256": property(lambda self: digest, lambda self, value: None)}
    with pytest.raises(ConformanceError, match="64 lower-case hex digits"):
        check(broken(toy, **members))


@pytest.mark.parametrize("toy", CHECKS)
def test_the_hash_must_be_stable(toy: type[Any]) -> None:
    def digest(self: Any) -> str:
        return f"{next(COUNTER):064x}"

    members = {"weights_sha256": property(digest, lambda self, value: None)}
    with pytest.raises(ConformanceError, match="the same for the same weights"):
        check(broken(toy, **members))


@pytest.mark.parametrize("toy", CHECKS)
@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda audio: audio.ndim == 1, r"audio of shape \[samples\]"),
        (lambda audio: audio.shape[0] == 0, "audio without a clip"),
    ],
)
def test_wrong_audio_must_be_refused(toy: type[Any], wrong: Any, what: str) -> None:
    def accept(self: Any, audio: Any) -> Any:
        return audio if wrong(audio) else getattr(toy, RUNS[toy])(self, audio)

    def trip(self: Any, audio: Any) -> Any:
        if wrong(audio):
            raise IndexError("tuple index out of range")
        return getattr(toy, RUNS[toy])(self, audio)

    with pytest.raises(ConformanceError, match=f"{what}.* must be refused .*, and was accepted"):
        check(broken(toy, **{RUNS[toy]: accept}))
    with pytest.raises(ConformanceError, match=f"{what}.* ValueError, found IndexError"):
        check(broken(toy, **{RUNS[toy]: trip}))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda codes: codes.ndim == 2, "codes without clips"),
        (lambda codes: codes.shape[-1] == 0, "codes of no codebook"),
        (lambda codes: codes.shape[-1] == 3, "codes of 3 codebooks"),
        (lambda codes: codes.max(initial=0) == 256, "a code of 256"),
    ],
)
def test_wrong_codes_must_be_refused(wrong: Any, what: str) -> None:
    def accept(self: Any, codes: Any) -> Any:
        return codes if wrong(codes) else ToyCodec.decode(self, codes)

    with pytest.raises(ConformanceError, match=f"{what} must be refused"):
        check(broken(ToyCodec, decode=accept))


@pytest.mark.parametrize("toy", [ToyCodec, ToyEncoder])
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda _, codes: codes.astype(np.int64), "codes must be uint16, found int64"),
        (lambda _, codes: codes + np.uint16(200), "codes must be below codebook_size 256"),
        (lambda _, codes: codes[:, :-1], "codes of 1 samples must be .* by the geometry"),
        (lambda audio, codes: codes[:, : max(1, audio.shape[1] // 640)], "samples must be"),
        (lambda _, codes: codes[..., None], "by the geometry"),
    ],
)
def test_codes_must_have_the_shape_of_the_geometry(toy: Any, change: Any, rule: str) -> None:
    with pytest.raises(ConformanceError, match=rule):
        check(with_result(toy, change))


@pytest.mark.parametrize("toy", [ToyCodec, ToyEncoder])
def test_the_geometry_must_be_one(toy: type[Any]) -> None:
    with pytest.raises(ConformanceError, match=r"geometry must be of type .*Geometry, found dict"):
        check(broken(toy, geometry={"sample_rate_hz": 16000}))


@pytest.mark.parametrize(
    ("toy", "method", "name"),
    [(ToySeparator, "separate_vocals", "vocals"), (ToyCodec, "decode", "audio of the first 1 ")],
)
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda _, audio: audio.astype(np.float64), "must be float32, found float64"),
        (lambda _, audio: audio[:, :-1], "must be of shape"),
        (lambda _, audio: audio * np.float32(np.nan), "must be finite"),
    ],
)
def test_audio_must_be_finite_float32(
    toy: Any, method: str, name: str, change: Any, rule: str
) -> None:
    with pytest.raises(ConformanceError, match=f"{name}.*{rule}"):
        check(with_result(toy, change, method))


def test_silence_must_come_back_finite() -> None:
    def divided(mix: Any, vocals: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return vocals / np.abs(mix).max()

    with pytest.raises(ConformanceError, match="vocals of silence must be finite"):
        check(with_result(ToySeparator, divided))


def test_every_prefix_of_the_codebooks_must_decode() -> None:
    def decode(self: Any, codes: Any) -> Any:
        audio = ToyCodec.decode(self, codes)
        return audio[:, 1:] if codes.shape[2] == 1 else audio

    with pytest.raises(ConformanceError, match="audio of the first 1 codebooks must be of shape"):
        check(broken(ToyCodec, decode=decode))


@pytest.mark.parametrize("rate", [0, -1, 44100.0])
def test_the_sample_rate_must_be_a_positive_int(rate: Any) -> None:
    with pytest.raises(ConformanceError, match="sample_rate_hz must be a positive int"):
        check(broken(ToySeparator, sample_rate_hz=rate))


def test_other_lengths_must_do() -> None:
    def only_even(mix: Any, vocals: Any) -> Any:
        return vocals[:, : mix.shape[1] // 2 * 2]

    with pytest.raises(ConformanceError, match="vocals must be of shape"):
        check(with_result(ToySeparator, only_even))
