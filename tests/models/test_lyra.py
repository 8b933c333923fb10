"""Tests of the Lyra adapter, with the published weights on real music."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from singsong.audio.resample import resample
from singsong.models.conformance import noise_clips
from singsong.models.lyra import LyraCodec
from singsong.models.registry import load_acoustic
from singsong.models.weights import WeightsError
from singsong.schemas.arrays import FloatArray
from singsong.schemas.extras import MissingLibraryError
from singsong.schemas.geometry import AcousticGeometry
from singsong.schemas.recipe import ModelSpec
from tests.support.lyra_files import lyra_folder
from tests.support.real_audio import musdb_excerpt

FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")
CLIPS = noise_clips(8_000)


@pytest.fixture(scope="module")
def folder() -> Path:
    return lyra_folder()


@pytest.fixture(scope="module")
def codec(folder: Path) -> LyraCodec:
    return LyraCodec(str(folder))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Returns a folder of the three files that a test may damage."""
    for name in FILES:
        shutil.copy(folder / name, tmp_path)
    return tmp_path


def music(stem: str) -> FloatArray:
    """Returns six seconds of a song at 16 kHz."""
    return resample(musdb_excerpt()[stem], from_hz=44100, to_hz=16000)


def si_sdr_db(reference: FloatArray, estimate: FloatArray) -> float:
    scaled = (reference @ estimate) / (reference @ reference) * reference
    return float(10 * np.log10((scaled @ scaled) / np.square(estimate - scaled).sum()))


class PlainLyra:
    """The three networks, each called as its file describes it, for one clip."""

    def __init__(self, folder: Path) -> None:
        networks = [Interpreter(str(folder / name), num_threads=1) for name in FILES]
        self.encoder = networks[0].get_signature_runner()
        self.quantise = networks[1].get_signature_runner("encode")
        self.dequantise = networks[1].get_signature_runner("decode")
        self.decoder = networks[2].get_signature_runner()

    def levels(self, clip: FloatArray, quantisers: int) -> np.ndarray:
        """Returns what a sender would send: int32 [frames, 46], -1 where there is nothing."""
        frames = []
        for hop in clip.reshape(-1, 1, 320):
            features = self.encoder(input_audio=hop)["output_0"]
            found = self.quantise(input_frames=features, num_quantizers=np.int32(quantisers))
            frames.append(found["output_0"].reshape(-1))
        return np.array(frames)

    def audio(self, levels: np.ndarray) -> FloatArray:
        hops = []
        for frame in levels.reshape(-1, 46, 1, 1):
            features = self.dequantise(encoding_indices=frame)["output_0"]
            hops.append(self.decoder(input_audio=features)["output_0"].reshape(-1))
        return np.concatenate(hops)


@pytest.mark.parametrize(("pack", "books", "size", "coarse"), [(2, 23, 256, 8), (3, 15, 4096, 5)])
def test_the_geometry_is_that_of_the_packing(
    folder: Path, pack: int, books: int, size: int, coarse: int
) -> None:
    assert LyraCodec(str(folder), pack=pack).geometry == AcousticGeometry(
        sample_rate_hz=16000,
        hop_samples=320,
        codebooks=books,
        coarse_codebooks=coarse,
        codebook_size=size,
    )


@pytest.mark.parametrize("pack", [2, 3])
def test_codes_hold_the_levels_of_the_quantisers(folder: Path, pack: int) -> None:
    levels = PlainLyra(folder).levels(CLIPS[0], 46)
    codes = LyraCodec(str(folder), pack=pack).encode(CLIPS[:1])[0]
    assert codes.dtype == np.uint16
    for index in range(46 // pack):
        digits = [f"{level:x}" for level in levels[7, pack * index : pack * (index + 1)]]
        assert codes[7, index] == int("".join(digits), 16)


@pytest.mark.parametrize(("pack", "kept"), [(2, 1), (2, 8), (2, 23), (3, 5), (3, 15)])
def test_the_first_codes_decode_as_lyra_at_that_bit_rate(
    folder: Path, pack: int, kept: int
) -> None:
    lyra = PlainLyra(folder)
    codec = LyraCodec(str(folder), pack=pack)
    levels = lyra.levels(CLIPS[2], kept * pack)
    assert (levels[:, kept * pack :] == -1).all()
    np.testing.assert_array_equal(
        codec.decode(codec.encode(CLIPS[2:3])[..., :kept])[0], lyra.audio(levels)
    )


# 3.2, 6 and 9.2 kbps, the three that Lyra is used with.
@pytest.mark.parametrize(
    ("stem", "kept", "wanted"),
    [
        *(("mix", kept, wanted) for kept, wanted in ((8, 0.8), (15, 3.2), (23, 4.3))),
        *(("vocals", kept, wanted) for kept, wanted in ((8, 0.4), (15, 2.1), (23, 2.4))),
    ],
)
def test_music_sounds_as_it_does_in_lyra(
    codec: LyraCodec, stem: str, kept: int, wanted: float
) -> None:
    audio = music(stem)
    decoded = codec.decode(codec.encode(audio[None])[..., :kept])[0, : len(audio)]
    assert si_sdr_db(audio, decoded) == pytest.approx(wanted, abs=0.3)
    lags = np.correlate(decoded, audio[1000:-1000], "valid")
    assert lags.argmax() == 1000  # no delay
    level_db = 10 * np.log10(np.square(decoded).mean() / np.square(audio).mean())
    assert abs(level_db) < 1


def test_a_clip_does_not_depend_on_the_one_before(folder: Path) -> None:
    codec = LyraCodec(str(folder))
    first = codec.encode(CLIPS[:1])
    sound = codec.decode(first)
    codec.decode(codec.encode(CLIPS[1:2]))
    np.testing.assert_array_equal(codec.encode(CLIPS[:1]), first)
    np.testing.assert_array_equal(codec.decode(first), sound)


def test_threads_may_share_a_codec(codec: LyraCodec) -> None:
    alone = [codec.encode(clip[None]) for clip in CLIPS]
    found: dict[int, np.ndarray] = {}

    def encode(index: int) -> None:
        found[index] = codec.encode(CLIPS[index : index + 1])

    threads = [threading.Thread(target=encode, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(8):
        np.testing.assert_array_equal(found[index], alone[index])


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 4_001])
def test_the_last_hop_is_filled_with_silence(codec: LyraCodec, samples: int) -> None:
    frames = -(-samples // 320)
    filled = np.zeros((1, frames * 320), np.float32)
    filled[:, :samples] = CLIPS[:1, :samples]
    np.testing.assert_array_equal(codec.encode(CLIPS[:1, :samples]), codec.encode(filled))


def test_a_clone_and_its_folder_are_the_same_codec(
    codec: LyraCodec, folder: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "lyra" / "model_coeffs"
    clone.mkdir(parents=True)
    for name in FILES:
        shutil.copy(folder / name, clone)
    spec = ModelSpec.parse(f"lyra:{tmp_path},coarse=4")
    opened = load_acoustic(spec, device="cpu", dtype="float32", batch_clips=1)
    assert opened.weights_sha256 == codec.weights_sha256
    assert opened.geometry.coarse_codebooks == 4
    assert LyraCodec(str(folder), pack=3).weights_sha256 != codec.weights_sha256


@pytest.mark.parametrize("name", FILES)
def test_the_digest_covers_each_file(codec: LyraCodec, copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1  # amid the weights
    (copy / name).write_bytes(content)
    assert LyraCodec(str(copy)).weights_sha256 != codec.weights_sha256


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(WeightsError, match=rf"no weights of Lyra in .*{name}.*give a clone of"):
        LyraCodec(str(copy))


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_refused(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for kept in (0, 3, 100, len(content) // 2, len(content) - 1000):
        (copy / name).write_bytes(content[:kept])
        with pytest.raises(WeightsError, match="does not hold the networks of Lyra"):
            LyraCodec(str(copy))


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_other_bytes_opens_or_is_refused(copy: Path, name: str) -> None:
    """A change is found by LiteRT, or is that of a weight."""
    content = (copy / name).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(20):
        changed = bytearray(content)
        places = rng.integers(0, len(content), 10)
        for place, value in zip(places, rng.integers(0, 256, 10), strict=True):
            changed[place] = value
        (copy / name).write_bytes(changed)
        try:
            LyraCodec(str(copy))
        except WeightsError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("name", "other"), [(FILES[0], FILES[2]), (FILES[1], FILES[0]), (FILES[2], FILES[1])]
)
def test_another_network_is_refused(copy: Path, name: str, other: str) -> None:
    shutil.copy(copy / other, copy / name)
    with pytest.raises(WeightsError, match="does not hold the networks of Lyra"):
        LyraCodec(str(copy))


def test_wrong_settings_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"git clone --depth 1 https://github.com/google/lyra"):
        LyraCodec(None)
    with pytest.raises(ValueError, match=r"pack must be one of \(2, 3\), found 4"):
        LyraCodec(str(folder), pack=4)
    with pytest.raises(ValueError, match="coarse_codebooks must be at most codebooks=15"):
        LyraCodec(str(folder), pack=3, coarse_codebooks=16)


def test_the_library_has_an_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.delitem(sys.modules, "singsong.models.lyra")
    spec = ModelSpec.parse(f"lyra:{folder},coarse=7")
    with pytest.raises(MissingLibraryError, match=r"model lyra needs ai_edge_litert.*\[lyra\]'"):
        load_acoustic(spec, device="cpu", dtype="float32", batch_clips=1)


def test_wrong_audio_and_codes_are_refused(codec: LyraCodec) -> None:
    with pytest.raises(ValueError, match="audio must be finite"):
        codec.encode(np.full((1, 400), np.nan, np.float32))
    with pytest.raises(ValueError, match="codes must be from 0 to 255, found 256 to 256"):
        codec.decode(np.full((1, 5, 23), 256, np.uint16))
