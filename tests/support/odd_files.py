"""Music files of the kinds that people really have, each made from one recording.

Each function here returns a builder, or changes the bytes of a file. The list of kinds is in
`tests/support/odd_kinds.py`.
"""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support import audio_files as files
from tests.support.audio_files import Audio

SECONDS = 6.0
RATE_HZ = 44100
Builder = Callable[[Path, Audio], Path]


def sndfile(container: str, subtype: str | None = None, rate_hz: int = RATE_HZ) -> Builder:
    def build(folder: Path, audio: Audio) -> Path:
        return files.write_audio(
            folder / "made", audio, rate_hz, container=container, subtype=subtype
        )

    return build


def ffmpeg(*options: str) -> Builder:
    def build(folder: Path, audio: Audio) -> Path:
        return files.write_with_ffmpeg(folder / "made", audio, *options)

    return build


def changed(build: Builder, change: Callable[[bytes], bytes]) -> Builder:
    """Builds a file and changes its bytes."""

    def build_changed(folder: Path, audio: Audio) -> Path:
        path = build(folder, audio)
        path.write_bytes(change(path.read_bytes()))
        return path

    return build_changed


def joined(*builds: Builder, between: bytes = b"") -> Builder:
    def build(folder: Path, audio: Audio) -> Path:
        path = folder / "joined"
        path.write_bytes(between.join(make(folder, audio).read_bytes() for make in builds))
        return path

    return build


def mono(build: Builder) -> Builder:
    return lambda folder, audio: build(folder, audio.mean(axis=0, keepdims=True))


def spread(build: Builder, *rows: int | None, extra: Audio | None = None) -> Builder:
    """Puts left (0), right (1), silence (None) or `extra` (2) into each channel."""

    def build_spread(folder: Path, audio: Audio) -> Path:
        noise = files.music(SECONDS, channels=1, seed=9)[:, : audio.shape[1]]
        sources = {0: audio[0], 1: audio[1], 2: noise[0], None: np.zeros_like(audio[0])}
        return build(folder, np.stack([sources[row] for row in rows]))

    return build_spread


def half(data: bytes) -> bytes:
    return data[: len(data) // 2 + 37]


def patched(at: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + new + data[at + len(new) :]


def patched_behind(mark: bytes, skip: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: patched(data.index(mark) + skip, new)(data)


def flac_total(factor: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        word = int.from_bytes(data[18:26], "big")
        total = round((word & (1 << 36) - 1) * factor)
        return patched(18, (word >> 36 << 36 | total).to_bytes(8, "big"))(data)

    return change


def id3(frame: bytes = b"") -> bytes:
    """Returns an ID3v2.3 tag with one text frame."""
    frame = frame or b"\x00title"
    body = b"TIT2" + struct.pack(">I", len(frame)) + bytes(2) + frame + bytes(300)
    return b"ID3\x03\x00\x00" + bytes([0, 0, len(body) >> 7, len(body) & 127]) + body


def ape_tag() -> bytes:
    item = struct.pack("<II", 2, 0) + b"Title\0la"
    size = struct.pack("<IIII", 2000, len(item) + 32, 1, 0)
    return b"APETAGEX" + size + bytes(8) + item + b"APETAGEX" + size + bytes(8)


def free_format(data: bytes) -> bytes:
    """Takes the bit rate out of every header of an mp3 of constant bit rate."""
    result = bytearray(data)
    at = data.index(b"\xff\xfb")
    while at + 4 <= len(data):
        padding = data[at + 2] >> 1 & 1
        result[at + 2] &= 0x0F
        at += 835 + padding
    return bytes(result)


def with_cover(cover: Callable[[bytes], bytes], *options: str) -> Builder:
    """Builds an m4a whose cover, a JPEG, is overwritten."""

    def build(folder: Path, audio: Audio) -> Path:
        song = files.write_with_ffmpeg(folder / "song.m4a", audio)
        picture = files.write_jpeg(folder / "cover.jpg")
        path = folder / "covered.m4a"
        files.run_ffmpeg(
            *("-i", os.fspath(song), "-i", os.fspath(picture), "-map", "0", "-map", "1"),
            *("-c", "copy", "-disposition:v", "attached_pic", *options, os.fspath(path)),
        )
        jpeg, data = picture.read_bytes(), path.read_bytes()
        new = cover(jpeg)[: len(jpeg)].ljust(len(jpeg), b"\0")
        assert data.count(jpeg) == 1
        path.write_bytes(data.replace(jpeg, new))
        return path

    return build


def with_attachment(folder: Path, audio: Audio) -> Path:
    song = files.write_with_ffmpeg(folder / "song.mka", audio, "-c:a", "flac")
    (folder / "cover.jpg").write_bytes(b"<html>404</html>" * 50)
    path = folder / "attached.mka"
    files.run_ffmpeg(
        *("-i", os.fspath(song), "-attach", os.fspath(folder / "cover.jpg")),
        *("-metadata:s:t", "mimetype=image/jpeg", "-c", "copy", os.fspath(path)),
    )
    return path


def with_missing_chapters(data: bytes) -> bytes:
    """Adds a reference to a chapter track that does not exist to an m4b with its index behind."""
    box = struct.pack(">I4sI4sI", 20, b"tref", 12, b"chap", 7)
    moov, trak = data.index(b"moov") - 4, data.index(b"trak") - 4
    result = bytearray(data)
    for at in (moov, trak):
        result[at : at + 4] = struct.pack(">I", int.from_bytes(result[at : at + 4], "big") + 20)
    end = trak + int.from_bytes(data[trak : trak + 4], "big")
    return bytes(result[:end]) + box + bytes(result[end:])


def as_pcm(*coded: str, silence_frames: int = 0, container: str = "WAV") -> Builder:
    """Stores the bytes of a coded file as the samples of a 16-bit file."""

    def build(folder: Path, audio: Audio) -> Path:
        data = files.write_with_ffmpeg(folder / "coded", audio, *coded).read_bytes()
        data += bytes(-len(data) % 4)
        words = np.frombuffer(bytes(4 * silence_frames) + data, "<i2").reshape(-1, 2)
        audio_like = (words / 32768).astype(np.float32).T
        return files.write_audio(
            folder / "disguised", audio_like, container=container, subtype="PCM_16"
        )

    return build


def dsf(rate_factor: int) -> Builder:
    """Builds a DSD file; each sample becomes as many ones as its value says, evenly spread."""

    def build(folder: Path, audio: Audio) -> Path:
        order = np.array(
            [int(f"{i:0{rate_factor.bit_length() - 1}b}"[::-1], 2) for i in range(rate_factor)]
        )
        ones = (audio[:, :, None] + 1) / 2 > (order + 0.5) / rate_factor
        channels = [np.packbits(row.reshape(-1), bitorder="little").tobytes() for row in ones]
        padded = [row + bytes(-len(row) % 4096) for row in channels]
        blocks = b"".join(
            row[at : at + 4096] for at in range(0, len(padded[0]), 4096) for row in padded
        )
        samples = audio.shape[1] * rate_factor
        fmt = struct.pack(
            "<4sQIIIIIIQII",
            *(b"fmt ", 52, 1, 0, 2, 2, RATE_HZ * rate_factor, 1, samples, 4096, 0),
        )
        data = struct.pack("<4sQ", b"data", 12 + len(blocks)) + blocks
        head = struct.pack("<4sQQQ", b"DSD ", 28, 28 + len(fmt) + len(data), 0)
        path = folder / "made.dsf"
        path.write_bytes(head + fmt + data)
        return path

    return build


def zipped(folder: Path, audio: Audio) -> Path:
    song = files.write_audio(folder / "song.mp3", audio, container="MP3")
    path = folder / "album.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(song)
    return path


def denormal(folder: Path, audio: Audio) -> Path:
    quiet = audio.copy()
    quiet[:, ::7] = np.float32(1e-41)
    return files.write_wav(folder / "a.wav", quiet, subtype="FLOAT")
