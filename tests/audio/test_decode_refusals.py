"""Files and settings that the decoder refuses, each with its reason, and those it does not."""

import io
import logging
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from singsong.audio.decode import DecodeLimits, stream_mono
from singsong.schemas.errors import (
    BitstreamError,
    CorruptAudioError,
    DecodeTimeoutError,
    EmptyFileError,
    EncryptedError,
    NotAudioError,
    TooLongError,
    UnreadableFileError,
)
from tests.support import audio_files as files
from tests.support.decoding import decode, refuse


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
    refuse(files.write_jpeg(tmp_path / "c.mp3"), NotAudioError, "an image")
    refuse(files.write_video_without_audio(tmp_path / "d"), NotAudioError, "no audio stream")
    (tmp_path / "e.mp3").write_text("<!DOCTYPE html><html>404</html>")
    refuse(tmp_path / "e.mp3", NotAudioError, "a web page")
    (tmp_path / "f.wav").write_bytes(b"MThd" + bytes(100))
    refuse(tmp_path / "f.wav", NotAudioError, "MIDI notes")


@pytest.mark.parametrize(
    "head", [bytes(0x8001) + b"CD001", b"Rar!\x1a\x07\x01\0", b"7z\xbc\xaf'\x1c"]
)
def test_archive_of_music_is_no_audio(tmp_path: Path, head: bytes) -> None:
    song = files.write_audio(tmp_path / "song.mp3", files.music(1.0), container="MP3")
    (tmp_path / "a").write_bytes(head + song.read_bytes())
    refuse(tmp_path / "a", NotAudioError, "an? .* (archive|image), not a recording")


def test_tar_of_music_is_no_audio(tmp_path: Path) -> None:
    song = files.write_audio(tmp_path / "song.mp3", files.music(1.0), container="MP3")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(song, "song.mp3")
    refuse(tmp_path / "a.tar", NotAudioError, "a tar archive")


def test_header_of_no_channels_or_an_absurd_rate_is_corrupt(tmp_path: Path) -> None:
    refuse(files.write_zero_channel_wav(tmp_path / "a"), CorruptAudioError, "codec: pcm_s16le")
    refuse(files.write_wav_with_rate(tmp_path / "b", 999), CorruptAudioError, "999 Hz")
    refuse(files.write_wav_with_rate(tmp_path / "c", 10**9), CorruptAudioError, "1000000000 Hz")


def test_flac_hit_in_the_middle_is_corrupt(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "b", files.music(2.0), container="FLAC")
    middle = path.stat().st_size // 2
    refuse(files.patch(path, middle, bytes(100)), CorruptAudioError, "ffmpeg: ")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_hit_in_the_middle_is_corrupt(tmp_path: Path, subtype: str) -> None:
    audio = files.music(5.0, rate_hz=48000)
    path = files.write_audio(tmp_path / "b", audio, 48000, container="OGG", subtype=subtype)
    middle = path.stat().st_size // 2
    refuse(files.patch(path, middle, bytes(100)), CorruptAudioError, "the Ogg file is damaged")


def test_mp3_with_junk_in_the_middle_is_corrupt(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a.mp3", files.music(2.0), container="MP3")
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + np.random.default_rng(0).bytes(3000) + data[half:])
    refuse(path, CorruptAudioError, "no MPEG frame and no tag")


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "mp4"),
        ("-f", "webm", "-c:a", "libvorbis"),
        ("-f", "adts"),
        ("-f", "wv"),
        ("-f", "tta"),
        ("-f", "ipod", "-c:a", "alac"),
        ("-f", "matroska", "-c:a", "flac"),
    ],
    ids=["m4a", "webm", "aac", "wavpack", "tta", "alac", "flac in matroska"],
)
def test_other_files_hit_in_the_middle_are_corrupt(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a", files.music(6.0), *options)
    noise = np.random.default_rng(1).bytes(3000)
    path = files.patch(path, path.stat().st_size // 2, noise)
    refuse(path, CorruptAudioError, "ffmpeg")


def test_file_cut_short_is_reported_in_one_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    audio = files.music(6.0)
    for number, container in enumerate(("FLAC", "MP3", "OGG", "WAV", "AIFF")):
        path = files.write_audio(tmp_path / str(number), audio, container=container)
        decode(files.cut_in_half(path))
        assert [record.levelname for record in caplog.records] == ["WARNING"], container
        assert "is cut short or states too much" in caplog.text
        caplog.clear()
        decode(files.write_audio(tmp_path / "whole", audio, container=container))
        assert not caplog.records, container


def test_encryption_of_other_containers_is_named(tmp_path: Path) -> None:
    m4a = files.write_with_ffmpeg(tmp_path / "a.m4a", files.music(1.0))
    data = m4a.read_bytes()
    at = data.index(b"stsd") + 16
    assert data[at : at + 4] == b"mp4a"
    refuse(files.patch(m4a, at, b"drms"), EncryptedError, "encrypted")
    wma = files.write_with_ffmpeg(tmp_path / "a.wma", files.music(1.0), "-c:a", "wmav2")
    guid = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    data = bytearray(wma.read_bytes())
    size, count = (int.from_bytes(data[16:24], "little"), int.from_bytes(data[24:28], "little"))
    data[size:size] = guid + (32).to_bytes(8, "little") + bytes(8)
    data[16:28] = (size + 32).to_bytes(8, "little") + (count + 1).to_bytes(4, "little")
    wma.write_bytes(data)
    refuse(wma, EncryptedError, "encrypted")


@pytest.mark.parametrize("container", ["WAV", "FLAC", "MP3", "OGG"])
def test_track_longer_than_the_limit_is_refused_whatever_decodes_it(
    tmp_path: Path, container: str
) -> None:
    path = files.write_audio(tmp_path / "a", files.music(2.0), container=container)
    refuse(path, TooLongError, "--max-track-hours", limits=DecodeLimits(max_track_hours=1 / 3600))
    decode(path, limits=DecodeLimits(max_track_hours=3 / 3600))


def test_loud_music_is_no_bitstream(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(-32768, 32767, (44100 * 3, 2), np.int16, endpoint=True)
    words[::97] = (0x7FFE, -0x7FFF)  # the first two words of DTS, and then no header
    path = tmp_path / "a.wav"
    sf.write(path, words, 44100)
    assert len(decode(path)) == 44100 * 3


@pytest.mark.parametrize("block_frames", [100, 7000, 1 << 16])
def test_bitstream_is_found_whatever_the_block_size(tmp_path: Path, block_frames: int) -> None:
    coded = files.write_with_ffmpeg(tmp_path / "a.ac3", files.music(3.0), "-b:a", "448k")
    words = np.frombuffer(coded.read_bytes()[: 1 << 17], "<i2").reshape(-1, 2)
    buffer = io.BytesIO()
    sf.write(buffer, words, 44100, format="FLAC")
    (tmp_path / "a.flac").write_bytes(buffer.getvalue())
    refuse(tmp_path / "a.flac", BitstreamError, "AC-3", block_frames=block_frames)


def test_every_decoder_has_a_time_limit(tmp_path: Path) -> None:
    short = DecodeLimits(timeout_s=1e-9)
    wav = files.write_wav(tmp_path / "a", files.music(0.1))
    refuse(wav, DecodeTimeoutError, "ffmpeg", limits=short)
    mp3 = files.write_audio(tmp_path / "b", files.music(0.1), container="MP3")
    refuse(mp3, DecodeTimeoutError, "libsndfile", limits=short)


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
    for hours in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="max_track_hours must be positive"):
            DecodeLimits(max_track_hours=hours)
