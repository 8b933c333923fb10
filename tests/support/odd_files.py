"""Music files of the kinds that people really have, each made from one recording.

`KINDS` holds a builder for each kind and what the decoder must make of it. `python -m
tests.support.decode_kinds` decodes all and prints the table of the documentation.
"""

import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singsong.schemas.errors import (
    BitstreamError,
    ClipError,
    CorruptAudioError,
    EncryptedError,
    NotAudioError,
)
from tests.support import audio_files as files
from tests.support.audio_files import Audio

SECONDS = 6.0
RATE_HZ = 44100
Builder = Callable[[Path, Audio], Path]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        name: In words.
        build: Writes one from float32 [2, samples] to a folder.
        times: How often it holds the recording.
        seconds: Its length if that is not `times` recordings.
        slack_ms: How much longer or shorter it may be; a codec pads to whole frames.
        lag_ms: What the codec's encoder adds at the start, which no header states.
        rest_ms: What it adds at the end as well, if another recording follows.
        gain_db: Its level against the recording's.
        refused: The error, for a file that must not be decoded.
    """

    name: str
    build: Builder
    times: int = 1
    seconds: float | None = None
    slack_ms: float = 0.1
    lag_ms: float = 0.0
    rest_ms: float = 0.0
    gain_db: float = 0.0
    refused: type[ClipError] | None = None

    @property
    def expected_s(self) -> float:
        return self.times * SECONDS if self.seconds is None else self.seconds

    @property
    def last_lag_ms(self) -> float:
        return self.lag_ms * self.times + self.rest_ms * (self.times - 1)


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


MP3 = sndfile("MP3")
CBR = ffmpeg("-f", "mp3", "-b:a", "256k", "-write_xing", "0", "-id3v2_version", "0")
VBR = ffmpeg("-f", "mp3", "-q:a", "7", "-write_xing", "0", "-id3v2_version", "0")
FLAC, WAV, AIFF = sndfile("FLAC"), sndfile("WAV", "PCM_16"), sndfile("AIFF", "PCM_16")
CAF = sndfile("CAF", "PCM_16")
OPUS = ffmpeg("-f", "ogg", "-c:a", "libopus", "-b:a", "128k")
VORBIS = sndfile("OGG", "VORBIS")
M4A = ffmpeg("-f", "ipod", "-b:a", "192k")
FAST_M4A = ffmpeg("-f", "ipod", "-b:a", "192k", "-movflags", "+faststart")
WMA = ffmpeg("-f", "asf", "-c:a", "wmav2")
WMA_MS = -2048 / 44.1  # ffmpeg's decoder drops the first packet
ADTS = ffmpeg("-f", "adts", "-b:a", "192k")
LAME_MS = 1105 / RATE_HZ * 1000  # what an mp3 begins with, unless a tag says so
AAC_MS = 1024 / RATE_HZ * 1000
HALF_MS = 300.0  # a file has headers, and codecs do not spend bits evenly
SURROUND = ("-channel_layout", "5.1")

KINDS = [
    Kind(name="WAV, 16 bits", build=WAV),
    Kind(name="WAV, float with denormal samples", build=denormal, gain_db=-0.67),
    Kind(name="FLAC", build=FLAC),
    Kind(name="ALAC in m4a", build=ffmpeg("-f", "ipod", "-c:a", "alac")),
    Kind(name="WavPack", build=ffmpeg("-f", "wv")),
    Kind(name="mp3", build=MP3),
    Kind(name="Ogg Vorbis", build=VORBIS),
    Kind(name="Ogg Opus", build=OPUS),
    Kind(name="m4a (AAC)", build=M4A),
    Kind(name="AAC without a container", build=ADTS, lag_ms=AAC_MS, slack_ms=50),
    Kind(name="WMA", build=WMA, lag_ms=WMA_MS, slack_ms=100),
    Kind(name="WebM", build=ffmpeg("-f", "webm"), slack_ms=7),
    Kind(
        name="m4a, cover is WebP", build=with_cover(lambda _: b"RIFF\x24\0\0\0WEBPVP8 " + bytes(40))
    ),
    Kind(name="m4a, cover is GIF", build=with_cover(lambda _: b"GIF89a\x01\0\x01\0")),
    Kind(name="m4a, cover is HTML", build=with_cover(lambda _: b"<!DOCTYPE html><html>404" * 9)),
    Kind(name="m4a, cover is zeros", build=with_cover(lambda _: b"")),
    Kind(name="m4a, cover is half a JPEG", build=with_cover(lambda jpeg: jpeg[: len(jpeg) // 2])),
    Kind(
        name="m4a, index before a broken cover",
        build=with_cover(lambda _: b"x" * 99, "-movflags", "+faststart"),
    ),
    Kind(name="Matroska, attachment is no picture", build=with_attachment),
    Kind(name="m4b, chapter track is missing", build=changed(M4A, with_missing_chapters)),
    Kind(
        name="mp3 without Xing tag, bad text in ID3",
        build=changed(CBR, lambda data: id3(b"\x01\x41\x42\x43\x44") + data),
        lag_ms=LAME_MS,
        slack_ms=90,
    ),
    Kind(name="mp3, free format", build=changed(CBR, free_format), lag_ms=LAME_MS, slack_ms=90),
    Kind(name="mp3, varying rate without Xing tag", build=VBR, lag_ms=576 / 44.1, slack_ms=90),
    Kind(name="mp3, 1 MiB of zeros before", build=changed(MP3, lambda data: bytes(1 << 20) + data)),
    Kind(
        name="mp3, ID3v1 and APE tags behind",
        build=changed(MP3, lambda data: data + ape_tag() + b"TAG" + bytes(125)),
    ),
    Kind(name="two mp3s, ID3 tag between", build=joined(MP3, MP3, between=id3()), times=2),
    Kind(name="two mp3s, nothing between", build=joined(MP3, MP3), times=2),
    Kind(name="mp3, stereo then mono", build=joined(MP3, mono(MP3)), times=2),
    Kind(name="mp3, mono then stereo", build=joined(mono(MP3), MP3), times=2),
    Kind(
        name="mp3, mono then stereo, no tags",
        build=joined(mono(CBR), CBR),
        times=2,
        lag_ms=LAME_MS,
        rest_ms=9.2,
        slack_ms=90,
    ),
    Kind(
        name="AAC, stereo then mono",
        build=joined(ADTS, mono(ADTS)),
        times=2,
        lag_ms=AAC_MS,
        rest_ms=14.0,
        slack_ms=90,
    ),
    Kind(name="chained Opus", build=joined(OPUS, OPUS), times=2),
    Kind(name="chained Opus, stereo then mono", build=joined(OPUS, mono(OPUS)), times=2),
    Kind(name="chained Vorbis", build=joined(VORBIS, VORBIS), times=2),
    Kind(name="Vorbis chained to Opus", build=joined(VORBIS, OPUS), times=2),
    Kind(name="two FLACs joined", build=joined(FLAC, FLAC), times=2),
    Kind(name="two FLACs joined, stereo then mono", build=joined(FLAC, mono(FLAC)), times=2),
    Kind(name="FLAC that states half", build=changed(FLAC, flac_total(0.5))),
    Kind(name="FLAC that states twice as much", build=changed(FLAC, flac_total(2))),
    Kind(name="FLAC that states nothing", build=changed(FLAC, flac_total(0))),
    Kind(
        name="WAV, both sizes 0",
        build=changed(WAV, lambda data: patched(40, bytes(4))(patched(4, bytes(4))(data))),
    ),
    Kind(
        name="WAV, both sizes 4 GiB",
        build=changed(WAV, lambda data: patched(40, b"\xff" * 4)(patched(4, b"\xff" * 4)(data))),
    ),
    Kind(name="CAF, size -1", build=changed(CAF, patched_behind(b"data", 4, b"\xff" * 8))),
    Kind(
        name="AIFF that states twice as much",
        build=changed(
            AIFF, patched_behind(b"COMM", 10, struct.pack(">I", round(2 * SECONDS * RATE_HZ)))
        ),
    ),
    Kind(name="AU, size unknown", build=changed(sndfile("AU", "PCM_16"), patched(8, b"\xff" * 4))),
    *(
        Kind(
            name=f"{name}, cut in half",
            build=changed(build, half),
            seconds=SECONDS / 2,
            slack_ms=slack_ms,
            lag_ms=lag_ms,
        )
        for name, build, slack_ms, lag_ms in (
            ("WAV", WAV, 2, 0.0),
            ("AIFF", AIFF, 2, 0.0),
            ("CAF", CAF, 60, 0.0),
            ("FLAC", FLAC, HALF_MS, 0.0),
            ("mp3", MP3, HALF_MS, 0.0),
            ("Ogg Vorbis", VORBIS, 1000, 0.0),
            ("Ogg Opus", OPUS, 1000, 0.0),
            ("m4a, index before", FAST_M4A, HALF_MS, 0.0),
            ("AAC", ADTS, HALF_MS, AAC_MS),
            ("WebM", ffmpeg("-f", "webm"), HALF_MS, 0.0),
            ("WMA", WMA, HALF_MS, WMA_MS),
            ("WavPack", ffmpeg("-f", "wv"), HALF_MS, 0.0),
        )
    ),
    Kind(
        name="m4a, index behind, cut in half", build=changed(M4A, half), refused=CorruptAudioError
    ),
    Kind(
        name="DTS inside a WAV",
        build=as_pcm("-f", "dts", "-c:a", "dca", "-strict", "-2"),
        slack_ms=12,
        lag_ms=512 / 44.1,
    ),
    Kind(
        name="AC-3 inside a WAV",
        build=as_pcm("-f", "spdif", "-c:a", "ac3", "-b:a", "448k"),
        slack_ms=60,
        lag_ms=256 / 44.1,
    ),
    Kind(
        name="AC-3 inside a WAV, after silence",
        build=as_pcm("-f", "spdif", "-c:a", "ac3", silence_frames=30000),
        refused=BitstreamError,
    ),
    Kind(
        name="DTS inside a FLAC",
        build=as_pcm("-f", "dts", "-c:a", "dca", "-strict", "-2", container="FLAC"),
        refused=BitstreamError,
    ),
    Kind(
        name="AC-3 inside an AIFF",
        build=as_pcm("-f", "ac3", container="AIFF"),
        refused=BitstreamError,
    ),
    Kind(
        name="5.1 WAV, music in the front pair",
        build=spread(ffmpeg("-f", "wav"), 0, 1, None, None, None, None),
    ),
    Kind(
        name="5.1 WAV, noise in the LFE",
        build=spread(ffmpeg("-f", "wav"), 0, 1, None, 2, None, None),
    ),
    Kind(
        name="5.1 FLAC, music in the front pair",
        build=spread(ffmpeg("-f", "flac"), 0, 1, None, 2, None, None),
    ),
    Kind(
        name="5.1 m4a, music in the front pair",
        build=spread(ffmpeg("-f", "ipod", "-b:a", "384k"), 0, 1, None, None, None, None),
    ),
    Kind(
        name="5.1 Vorbis, noise in the LFE",
        build=spread(
            ffmpeg("-f", "ogg", "-c:a", "libvorbis", "-q:a", "8"), 0, 1, None, 2, None, None
        ),
        slack_ms=1,
    ),
    Kind(
        name="5.1 WAV, music in the back pair",
        build=spread(ffmpeg("-f", "wav"), None, None, None, None, 0, 1),
        gain_db=-3.01,
    ),
    Kind(
        name="7.1 WAV, music in the front pair",
        build=spread(ffmpeg("-f", "wav"), 0, 1, None, 2, None, None, None, None),
    ),
    Kind(name="DSD256", build=dsf(256), slack_ms=10, gain_db=0),
    Kind(name="DSD512", build=dsf(512), slack_ms=10, gain_db=0),
    Kind(name="zip archive of an mp3", build=zipped, refused=NotAudioError),
    Kind(
        name="encrypted mp4",
        build=ffmpeg(
            "-f",
            "mp4",
            "-encryption_scheme",
            "cenc-aes-ctr",
            "-encryption_key",
            "00" * 15 + "01",
            "-encryption_kid",
            "00" * 16,
        ),
        refused=EncryptedError,
    ),
]
