"""Decoding: every format against other decoders, and odd files that are sound."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.audio.decode import read_channels, stream_stereo
from singsong.schemas.errors import EmptyFileError
from tests.support import audio_files as files
from tests.support.decoding import decode

LOSSLESS = {
    "wav": ("WAV", "PCM_16"),
    "float wav": ("WAV", "FLOAT"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "float aiff": ("AIFF", "FLOAT"),
    "au": ("AU", "PCM_16"),
    "alac caf": ("CAF", "ALAC_16"),
}
LOSSY = {
    "ogg": ("OGG", "VORBIS", 44100),
    "opus": ("OGG", "OPUS", 48000),
    "mp3": ("MP3", "MPEG_LAYER_III", 44100),
}
WITH_FFMPEG = {
    "m4a": ("-f", "ipod"),
    "alac m4a": ("-f", "ipod", "-c:a", "alac"),
    "fragmented mp4": ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov"),
    "aac": ("-f", "adts"),
    "webm": ("-f", "webm", "-c:a", "libvorbis"),
    "wma": ("-f", "asf", "-c:a", "wmav2"),
    "ogg flac": ("-f", "ogg", "-c:a", "flac"),
    "mka": ("-f", "matroska", "-c:a", "flac"),
    "wavpack": ("-f", "wv"),
    "mp3 in wav": ("-f", "wav", "-c:a", "libmp3lame"),
    "mp3 of varying rate without a tag": (
        *("-f", "mp3", "-q:a", "7", "-write_xing", "0", "-id3v2_version", "0"),
    ),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_the_samples_that_were_written(tmp_path: Path, name: str) -> None:
    container, subtype = LOSSLESS[name]
    audio = files.music(0.7)
    path = files.write_audio(tmp_path / "song.raw", audio, container=container, subtype=subtype)
    step = 0 if subtype == "FLOAT" else 1 / 32768
    np.testing.assert_allclose(decode(path), audio.mean(axis=0), atol=step + 1e-7)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_give_what_one_plain_read_gives(tmp_path: Path, name: str) -> None:
    container, subtype, rate_hz = LOSSY[name]
    audio = files.music(2.0, rate_hz=rate_hz)
    path = files.write_audio(
        tmp_path / "song.wav", audio, rate_hz, container=container, subtype=subtype
    )
    with open(path, "rb", buffering=0) as file:
        reference, _ = sf.read(file.fileno(), dtype="float32", closefd=False)
    result = decode(path, rate_hz, block_frames=1000)
    np.testing.assert_allclose(result, reference.mean(axis=1), atol=1e-7)
    assert len(result) == audio.shape[1]
    independent = files.read_with_ffmpeg(path, channels=2).mean(axis=0)
    np.testing.assert_allclose(result, independent[: len(result)], atol=2e-3)


@pytest.mark.parametrize("name", WITH_FFMPEG)
def test_other_formats_give_what_ffmpeg_gives_without_us(tmp_path: Path, name: str) -> None:
    audio = files.music(1.5)
    path = files.write_with_ffmpeg(tmp_path / "song.txt", audio, *WITH_FFMPEG[name])
    reference = files.read_with_ffmpeg(path, channels=2).mean(axis=0)
    if name.startswith("mp3 of varying"):
        reference = reference[529:]  # the decoder's delay, which libsndfile removes
    result = decode(path, block_frames=777)
    np.testing.assert_allclose(result, reference, atol=1e-4 if "mp3" in name else 1e-6)
    assert len(result) > 1.4 * 44100


@pytest.mark.parametrize("from_hz", [8000, 22050, 48000, 192000])
def test_other_rates_are_resampled_as_in_one_piece(tmp_path: Path, from_hz: int) -> None:
    audio = files.music(1.0, rate_hz=from_hz)
    path = files.write_wav(tmp_path / "a", audio, from_hz, subtype="FLOAT")
    reference = soxr.resample(audio.mean(axis=0), from_hz, 44100)
    np.testing.assert_allclose(decode(path, block_frames=999), reference, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    audio = files.music(0.3, channels=channels)
    path = files.write_wav(tmp_path / "a", audio, subtype="FLOAT")
    np.testing.assert_allclose(decode(path), audio.mean(axis=0, dtype=np.float64), atol=1e-7)


@pytest.mark.parametrize("kind", ["wav", "webm"])
def test_channels_can_be_kept(tmp_path: Path, kind: str) -> None:
    audio = files.music(1.0, channels=2, rate_hz=48000)
    path = files.write_wav(tmp_path / "a.wav", audio, 48000)
    if kind == "webm":
        path = files.write_with_ffmpeg(
            tmp_path / "a.webm", audio, *WITH_FFMPEG["webm"], rate_hz=48000
        )
    kept, rate_hz = read_channels(os.fspath(path))
    assert (rate_hz, kept.dtype, len(kept)) == (48000, np.float32, 2)
    assert np.abs(kept[:, :40_000] - audio[:, :40_000]).max() < (1e-4 if kind == "wav" else 0.3)
    assert np.corrcoef(kept[0, :40_000], audio[0, :40_000])[0, 1] > 0.98


def test_no_samples_are_no_channels(tmp_path: Path) -> None:
    path = files.write_wav(tmp_path / "a.wav", np.zeros((2, 0), np.float32))
    with pytest.raises(EmptyFileError, match="no samples"):
        read_channels(os.fspath(path))


def test_seventeen_channels_are_averaged_too(tmp_path: Path) -> None:
    path = files.write_seventeen_channel_wav(tmp_path / "a.wav")
    expected = files.music(0.5, channels=17).mean(axis=0)
    np.testing.assert_allclose(decode(path), expected, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    samples=st.integers(1, 20000),
    from_hz=st.sampled_from([16000, 44100, 48000]),
    channels=st.integers(1, 3),
    block_frames=st.integers(1, 30000),
    nan_at=st.none() | st.integers(0, 19999),
)
def test_samples_do_not_depend_on_the_block_size_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory,
    samples: int,
    from_hz: int,
    channels: int,
    block_frames: int,
    nan_at: int | None,
) -> None:
    block_frames = max(block_frames, samples // 50)
    audio = files.music(samples / from_hz, rate_hz=from_hz, channels=channels)
    if nan_at is not None:
        audio[-1, nan_at % audio.shape[1]] = np.nan
    path = tmp_path_factory.getbasetemp() / "property.wav"
    files.write_wav(path, audio, from_hz, subtype="FLOAT")
    np.testing.assert_array_equal(decode(path, block_frames=block_frames), decode(path))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_sample_reaches_the_caller_and_spoils_nothing_else(
    tmp_path: Path, value: float
) -> None:
    audio = files.music(3.0)
    good = decode(files.write_wav(tmp_path / "good", audio, subtype="FLOAT"), 16000)
    path = files.write_nan_wav(tmp_path / "bad", audio, at_sample=66150, value=value)
    at_own_rate = decode(path)
    assert np.flatnonzero(~np.isfinite(at_own_rate)).tolist() == [66150]
    bad = decode(path, 16000)
    spoilt = np.flatnonzero(~np.isfinite(bad))
    assert spoilt.size
    assert np.abs(spoilt / 16000 - 1.5).max() < 0.1
    np.testing.assert_array_equal(bad[np.isfinite(bad)], good[np.isfinite(bad)])


def test_wav_that_promises_four_gib_holds_what_it_holds(tmp_path: Path) -> None:
    audio = files.music(3.0)
    path = files.write_wav_promising_4gib(tmp_path / "a.wav", audio)
    assert len(decode(path)) == audio.shape[1]


@pytest.mark.parametrize("container", ["flac", "wav", "aiff"])
def test_stream_that_was_never_closed_is_whole(tmp_path: Path, container: str) -> None:
    audio = files.music(0.5)
    raw = audio.T.astype("<f4").tobytes()
    piped = files.run_ffmpeg(
        *("-f", "f32le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", "-f", container, "pipe:1"),
        stdin=raw,
    )
    path = tmp_path / "a"
    path.write_bytes(piped)
    assert len(decode(path)) == audio.shape[1]


def test_flac_with_a_tag_behind_it_is_whole(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a", files.music(2.0), container="FLAC")
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert len(decode(path)) == 2 * 44100


def test_chained_ogg_is_decoded_to_the_end_of_the_last_stream(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a.ogg", files.music(1.0), container="OGG")
    path.write_bytes(path.read_bytes() * 2)
    assert abs(len(decode(path)) - 2 * 44100) < 1024


def test_mp3_with_picture_tags_and_garbage_behind_is_whole(tmp_path: Path) -> None:
    song = files.write_audio(tmp_path / "song.mp3", files.music(2.0), container="MP3")
    picture = files.write_jpeg(tmp_path / "picture.jpg")
    path = tmp_path / "tagged.mp3"
    files.run_ffmpeg(
        *("-i", os.fspath(song), "-i", os.fspath(picture), "-map", "0", "-map", "1", "-c", "copy"),
        *("-metadata", "title=la", "-write_id3v1", "1", os.fspath(path)),
    )
    assert b"APIC" in path.read_bytes()
    np.testing.assert_array_equal(decode(path), decode(song))
    song.write_bytes(song.read_bytes() + np.random.default_rng(0).bytes(5000))
    np.testing.assert_array_equal(decode(path), decode(song))


def test_two_mp3s_in_one_file_are_both_decoded(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a.mp3", files.music(1.0), container="MP3")
    path.write_bytes(path.read_bytes() * 2)
    assert len(decode(path)) >= 2 * 44100


def test_of_several_audio_streams_the_default_is_decoded(tmp_path: Path) -> None:
    audio = files.music(1.0, seed=1), files.music(1.0, seed=2)
    names = [files.write_wav(tmp_path / f"{n}.wav", sound) for n, sound in enumerate(audio)]
    for marked in (0, 1):
        path = tmp_path / f"{marked}.mka"
        files.run_ffmpeg(
            *("-i", os.fspath(names[0]), "-i", os.fspath(names[1]), "-map", "0", "-map", "1"),
            *("-c:a", "flac", "-disposition:a", "0", f"-disposition:a:{marked}", "default"),
            os.fspath(path),
        )
        np.testing.assert_allclose(decode(path), audio[marked].mean(axis=0), atol=1e-4)


def test_joined_files_of_other_rates_and_channels_are_converted(tmp_path: Path) -> None:
    first = files.write_audio(tmp_path / "a", files.music(1.0), container="FLAC")
    quick = files.music(2.0, rate_hz=48000, channels=1)
    second = files.write_audio(tmp_path / "b", quick, 48000, container="FLAC")
    path = tmp_path / "joined"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert len(decode(path)) == 3 * 44100
    kept, rate_hz = read_channels(os.fspath(path))
    assert (rate_hz, kept.shape) == (44100, (2, 3 * 44100))
    expected = soxr.resample(quick[0], 48000, 44100)
    np.testing.assert_allclose(decode(path)[44100:], expected, atol=1e-4)
    np.testing.assert_allclose(kept[:, 44100:], np.stack([expected] * 2), atol=1e-4)


def test_denormal_samples_are_kept(tmp_path: Path) -> None:
    audio = np.full((1, 4410), 1e-41, np.float32)
    path = files.write_wav(tmp_path / "a", audio, subtype="FLOAT")
    np.testing.assert_array_equal(decode(path), audio[0])


@pytest.mark.parametrize("container", ["WAV", "m4a"])
def test_name_that_is_not_utf8(tmp_path: Path, container: str) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.raw")
    if container == "WAV":
        files.write_wav(path, files.music(0.5))
    else:
        made = files.write_with_ffmpeg(tmp_path / "made.m4a", files.music(0.5))
        made.rename(path)
    assert len(decode(path)) == 22050


def in_stereo(path: Path, rate_hz: int) -> np.ndarray:
    return np.concatenate(list(stream_stereo(os.fspath(path), rate_hz=rate_hz, block_frames=1000)))


@pytest.mark.parametrize("channels", [1, 2])
def test_stereo_keeps_the_channels_that_the_file_has(tmp_path: Path, channels: int) -> None:
    audio = files.music(0.5, channels=channels)
    path = files.write_audio(tmp_path / "song.wav", audio, container="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(
        in_stereo(path, 44100), np.broadcast_to(audio, (2, *audio.shape[1:])).T
    )


@pytest.mark.parametrize("container", ["WAV", "OGG"])
@pytest.mark.parametrize("rate_hz", [44100, 32000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mean_of_the_stereo_mix_is_the_mono_mix(
    tmp_path: Path, container: str, rate_hz: int, channels: int
) -> None:
    audio = files.music(0.5, channels=channels)
    subtype = {"WAV": "FLOAT", "OGG": "VORBIS"}[container]
    path = files.write_audio(tmp_path / "song", audio, container=container, subtype=subtype)
    stereo = in_stereo(path, rate_hz)
    assert stereo.dtype == np.float32
    np.testing.assert_allclose(stereo.mean(axis=1), decode(path, rate_hz), atol=1e-6)
