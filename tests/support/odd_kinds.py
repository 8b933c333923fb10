"""The kinds of odd files, and what the decoder must make of each.

`python -m tests.support.decode_kinds` decodes all and prints the table of the documentation.
"""

import struct
from dataclasses import dataclass

from singsong.schemas.errors import (
    BitstreamError,
    ClipError,
    CorruptAudioError,
    EncryptedError,
    NotAudioError,
)
from tests.support.odd_files import (
    RATE_HZ,
    SECONDS,
    Builder,
    ape_tag,
    as_pcm,
    changed,
    denormal,
    dsf,
    ffmpeg,
    flac_total,
    free_format,
    half,
    id3,
    joined,
    mono,
    patched,
    patched_behind,
    sndfile,
    spread,
    with_attachment,
    with_cover,
    with_missing_chapters,
    zipped,
)


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
