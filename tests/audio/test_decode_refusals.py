"""Files and settings that the decoder refuses, each with its reason."""

import os
from pathlib import Path

import numpy as np
import pytest

from singsong.audio.decode import DecodeLimits, stream_mono
from singsong.schemas.errors import (
    CorruptAudioError,
    DecodeTimeoutError,
    EmptyFileError,
    NotAudioError,
    UnreadableFileError,
)
from tests.support import audio_files as files
from tests.support.decoding import refuse


def test_nothing_is_opened_before_the_first_block_is_asked_for() -> None:
    blocks = stream_mono("/no/such/file", rate_hz=44100)
    with pytest.raises(UnreadableFileError):
        next(blocks)


def test_missing_and_impossible_paths(tmp_path: Path) -> None:
    refuse(tmp_path / "missing", UnreadableFileError, "No such file")
    refuse("\0", UnreadableFileError, "not a valid file name")
    refuse("\ud800", UnreadableFileError, "not a valid file name")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refuse(tmp_path / "loop", UnreadableFileError, "symbolic links")


def test_running_out_of_file_descriptors_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    path = files.write_wav(tmp_path / "a", files.music(0.1))
    monkeypatch.setattr("singsong.audio.decode.os.open", fail)
    refuse(path, OSError, "Too many open files")


def test_folders_and_pipes_are_no_audio(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", NotAudioError, "not a file")
    refuse(tmp_path, NotAudioError, "not a file")


def test_files_without_samples_are_empty(tmp_path: Path) -> None:
    refuse(files.write_empty_file(tmp_path / "a"), EmptyFileError, "no bytes")
    refuse(files.write_wav_without_samples(tmp_path / "b"), EmptyFileError, "no samples")


def test_files_that_are_no_audio(tmp_path: Path) -> None:
    refuse(files.write_text_named_mp3(tmp_path / "a.mp3"), NotAudioError, "no decoder recognises")
    (tmp_path / "b.mp3").write_bytes("\ufefftext".encode("utf-16"))
    refuse(tmp_path / "b.mp3", NotAudioError, "no decoder recognises")
    refuse(files.write_jpeg(tmp_path / "c.mp3"), NotAudioError, "a kind that holds no audio")
    refuse(files.write_video_without_audio(tmp_path / "d"), NotAudioError, "no audio stream")


def test_header_of_no_channels_or_an_absurd_rate_is_corrupt(tmp_path: Path) -> None:
    refuse(files.write_zero_channel_wav(tmp_path / "a"), CorruptAudioError, "hannel count is zero")
    refuse(files.write_wav_with_rate(tmp_path / "b", 999), CorruptAudioError, "999 Hz")
    refuse(files.write_wav_with_rate(tmp_path / "c", 10**9), CorruptAudioError, "1000000000 Hz")


def test_flac_that_claims_two_to_the_35_samples_is_corrupt(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a", files.music(0.5), container="FLAC")
    bits = path.read_bytes()[21]
    files.patch(path, 21, bytes([bits | 0x08]))
    refuse(path, CorruptAudioError, "lost sync|states")


def test_flac_cut_short_or_hit_in_the_middle_is_corrupt(tmp_path: Path) -> None:
    path = files.write_truncated_flac(tmp_path / "a", files.music(2.0))
    refuse(path, CorruptAudioError, "libsndfile after")
    path = files.write_audio(tmp_path / "b", files.music(2.0), container="FLAC")
    middle = path.stat().st_size // 2
    refuse(files.patch(path, middle, bytes(100)), CorruptAudioError, "libsndfile after")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_cut_short_or_hit_in_the_middle_is_corrupt(tmp_path: Path, subtype: str) -> None:
    audio = files.music(5.0, rate_hz=48000)
    make = {"container": "OGG", "subtype": subtype}
    path = files.cut_in_half(files.write_audio(tmp_path / "a", audio, 48000, **make))
    refuse(path, CorruptAudioError, "ends inside a page")
    path = files.write_audio(tmp_path / "b", audio, 48000, **make)
    middle = path.stat().st_size // 2
    refuse(files.patch(path, middle, bytes(100)), CorruptAudioError, "states 240000 samples")


def test_mp3_with_junk_in_the_middle_is_corrupt(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a.mp3", files.music(2.0), container="MP3")
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + np.random.default_rng(0).bytes(3000) + data[half:])
    refuse(path, CorruptAudioError, "ffmpeg: ")


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "mp4", "-movflags", "+faststart"),
        ("-f", "mp4"),
        ("-f", "webm", "-c:a", "libvorbis"),
        ("-f", "adts"),
        ("-f", "asf", "-c:a", "wmav2"),
        ("-f", "wv"),
    ],
    ids=["faststart m4a", "m4a", "webm", "aac", "wma", "wavpack"],
)
def test_other_files_cut_short_are_corrupt(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a", files.music(3.0), *options)
    refuse(files.cut_in_half(path), CorruptAudioError, "ffmpeg: ")


def test_libsndfile_has_a_time_limit_as_well(tmp_path: Path) -> None:
    path = files.write_wav(tmp_path / "a", files.music(0.1))
    refuse(path, DecodeTimeoutError, "libsndfile", limits=DecodeLimits(timeout_s=1e-9))


def test_settings_are_checked_at_once() -> None:
    with pytest.raises(ValueError, match="rate_hz and block_frames must be positive"):
        stream_mono("a", rate_hz=0)
    with pytest.raises(ValueError, match="rate_hz and block_frames must be positive"):
        stream_mono("a", rate_hz=1, block_frames=0)
    for timeout_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout_s must be positive"):
            DecodeLimits(timeout_s=timeout_s)
    with pytest.raises(ValueError, match="memory_bytes must be at least"):
        DecodeLimits(memory_bytes=1 << 20)
