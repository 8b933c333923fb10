"""Builders of small audio files, sound and odd, for every test that needs one.

Each writes one file and returns its path. Audio is float32 [channels, samples] in [-1, 1].
"""

import os
import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import soundfile as sf

Audio = npt.NDArray[np.float32]


def music(seconds: float, *, rate_hz: int = 44100, channels: int = 2, seed: int = 0) -> Audio:
    """Returns chords over soft noise, different in every channel and never silent."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    audio = 0.02 * rng.standard_normal((channels, time_s.size))
    for tones_hz in rng.uniform(100, 2000, (3, channels, 1)):
        audio += 0.1 * np.sin(2 * np.pi * tones_hz * time_s)
    return audio.astype(np.float32)


def write_audio(
    path: Path, audio: Audio, rate_hz: int = 44100, *, container: str, subtype: str | None = None
) -> Path:
    """Writes with libsndfile; `container` is its name of the format, such as FLAC or OGG."""
    with open(path, "wb") as file:
        sf.write(file, audio.T, rate_hz, format=container, subtype=subtype)
    return path


def write_wav(path: Path, audio: Audio, rate_hz: int = 44100, *, subtype: str = "PCM_16") -> Path:
    return write_audio(path, audio, rate_hz, container="WAV", subtype=subtype)


def write_with_ffmpeg(path: Path, audio: Audio, *options: str, rate_hz: int = 44100) -> Path:
    """Writes with ffmpeg, which takes the container from the name or from `-f` in `options`."""
    raw = ("-f", "f32le", "-ar", str(rate_hz), "-ac", str(len(audio)), "-i", "pipe:0")
    run_ffmpeg(*raw, *options, os.fspath(path), stdin=audio.T.astype("<f4").tobytes())
    return path


def read_with_ffmpeg(path: Path, *, channels: int) -> Audio:
    """Returns what ffmpeg makes of a file, at the file's own rate."""
    raw = run_ffmpeg("-i", os.fspath(path), "-vn", "-f", "f32le", "pipe:1")
    return np.frombuffer(raw, "<f4").reshape(-1, channels).T


def run_ffmpeg(*arguments: str, stdin: bytes = b"") -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *arguments]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def write_empty_file(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def write_wav_without_samples(path: Path) -> Path:
    return write_wav(path, np.zeros((2, 0), np.float32))


def write_text_named_mp3(path: Path) -> Path:
    path.write_text("Lyrics: la la la, and no audio at all.\n" * 50)
    return path


def write_jpeg(path: Path) -> Path:
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1"),
        *("-f", "image2", "-c:v", "mjpeg", "-update", "1", os.fspath(path)),
    )
    return path


def write_video_without_audio(path: Path) -> Path:
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:d=0.5", "-f", "mp4", os.fspath(path))
    return path


def write_nan_wav(path: Path, audio: Audio, *, at_sample: int, value: float = np.nan) -> Path:
    """Writes float samples, one of which (in the first channel) is `value`."""
    audio = audio.copy()
    audio[0, at_sample] = value
    return write_wav(path, audio, subtype="FLOAT")


def write_truncated_flac(path: Path, audio: Audio) -> Path:
    return cut_in_half(write_audio(path, audio, container="FLAC"))


def write_damaged_flac(path: Path, audio: Audio) -> Path:
    """Writes a FLAC with a hole, which the decoder refuses as corrupt."""
    write_audio(path, audio, container="FLAC")
    return patch(path, path.stat().st_size // 2, b"\xa5" * 100)


def write_wav_promising_4gib(path: Path, audio: Audio) -> Path:
    """Writes a wav whose sizes are the placeholders of a recorder that was not closed."""
    data = bytearray(write_wav(path, audio).read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    return path


def write_zero_channel_wav(path: Path) -> Path:
    return patch(write_wav(path, music(0.1)), 22, struct.pack("<H", 0))


def write_seventeen_channel_wav(path: Path, seconds: float = 0.5) -> Path:
    return write_wav(path, music(seconds, channels=17))


def write_wav_with_rate(path: Path, rate_hz: int) -> Path:
    """Writes a wav whose header states the rate, true or not."""
    return patch(write_wav(path, music(0.1)), 24, struct.pack("<I", rate_hz))


def write_hostile_playlist(path: Path, target: str) -> Path:
    """Writes an HLS playlist that asks the reader to open `target`."""
    path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n" + target + "\n#EXT-X-ENDLIST\n"
    )
    return path


def write_hostile_script(path: Path, target: str) -> Path:
    """Writes an ffmpeg concat script that asks the reader to open `target`."""
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    return path


def patch(path: Path, offset: int, data: bytes) -> Path:
    """Overwrites bytes of a file."""
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)
    return path


def cut_in_half(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 37])
    return path
