"""What a file is by its bytes, before any decoder sees it."""

from __future__ import annotations

import os
import re
from typing import Final

from singsong.audio.decode_bytes import BufferedFile

_NO_AUDIO: Final = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b\x08": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"MSCF": "a cabinet archive",
    b"!<arch>\n": "an ar archive",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"BM": "an image",
    b"II*\0": "an image",
    b"MM\0*": "an image",
    b"8BPS": "an image",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"{\\rtf": "a text document",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"SQLite format 3\0": "a database",
    b"\x7fELF": "a program",
    b"\0\x05\x16\x07": "the metadata of another file (AppleDouble)",
    b"bplist00": "a property list",
    b"MThd": "MIDI notes without sound",
    b"<?xml": "an XML document",
}
_TEXT: Final = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|svg|\?xml)", re.IGNORECASE)
_AUDIO: Final = {
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"FORM": "an AIFF file",
    b"caff": "a CAF file",
    b".snd": "an AU file",
    b"\x1a\x45\xdf\xa3": "a Matroska file",
    b"\x30\x26\xb2\x75": "an ASF file",
    b"wvpk": "a WavPack file",
    b"MAC ": "a Monkey's Audio file",
    b"TTA1": "a TTA file",
    b"tBaK": "a TAK file",
    b"DSD ": "a DSD file",
    b"FRM8": "a DSD file",
    b"MP+": "a Musepack file",
    b"MPCK": "a Musepack file",
    b"#!AMR": "an AMR file",
    b"riff\x2e\x91\xcf\x11": "a W64 file",
}
_ASF_ENCRYPTION: Final = (
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),
)
_ENCRYPTED_ENTRIES: Final = (b"enca", b"drms", b"aavd", b"aavs")
# ContentEncodingType is "encryption", beside ContentEncryption.
_MATROSKA_ENCRYPTION: Final = re.compile(
    rb"\x50\x33\x81\x01.{0,64}?\x50\x35|\x50\x35.{0,255}?\x50\x33\x81\x01", re.DOTALL
)
_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_MOOV_BYTES: Final = 64 << 20


def no_audio_kind(fd: int) -> str | None:
    """Returns what a file is if it is of a kind that holds no audio itself, such as an archive.

    Args:
        fd: An open regular file; its position is neither used nor moved.

    Returns:
        A few words with an article, or None.

    Raises:
        OSError: The file cannot be read.
    """
    head = os.pread(fd, 1024, 0)
    if head[257:262] == b"ustar":
        return "a tar archive"
    if os.pread(fd, 5, 0x8001) == b"CD001":
        return "a disc image"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "an image"
    if _TEXT.match(head):
        return "a web page"
    return next((kind for magic, kind in _NO_AUDIO.items() if head.startswith(magic)), None)


def audio_kind(fd: int) -> str | None:
    """Returns the audio format that the first bytes behind any tags name, or None.

    Args:
        fd: As in `no_audio_kind`.

    Raises:
        OSError: The file cannot be read.
    """
    source = BufferedFile(fd)
    head = source.at(source.after_tags(0), 16)
    if head[:4] in (b"RIFF", b"RF64", b"RIFX", b"BW64") and head[8:12] == b"WAVE":
        return "a WAV file"
    if head[4:8] == b"ftyp":
        return "an MP4 file"
    return next((kind for magic, kind in _AUDIO.items() if head.startswith(magic)), None)


def is_alac_in_caf(fd: int) -> bool:
    """Returns whether this is ALAC in a CAF file, of which ffmpeg leaves out the last packet.

    Args:
        fd: As in `no_audio_kind`.

    Raises:
        OSError: The file cannot be read.
    """
    head = os.pread(fd, 32, 0)
    return head.startswith(b"caff") and head[8:12] == b"desc" and head[28:32] == b"alac"


def is_encrypted(fd: int) -> bool:
    """Returns whether an MP4, ASF or Matroska file says that its audio is encrypted.

    Args:
        fd: As in `no_audio_kind`.

    Raises:
        OSError: The file cannot be read.
    """
    head = os.pread(fd, 16, 0)
    if head[4:8] == b"ftyp":
        return _has_encrypted_entry(BufferedFile(fd))
    if head.startswith(b"\x30\x26\xb2\x75"):
        header = os.pread(fd, _MAX_HEADER_BYTES, 0)
        return any(guid in header for guid in _ASF_ENCRYPTION)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _MATROSKA_ENCRYPTION.search(os.pread(fd, _MAX_HEADER_BYTES, 0)) is not None
    return False


def _has_encrypted_entry(source: BufferedFile) -> bool:
    """Returns whether a sample description of the `moov` box names a way of encryption."""
    offset = 0
    while len(head := source.at(offset, 16)) == 16:
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if head[4:8] == b"moov":
            moov = source.at(offset, min(size or source.size, _MAX_MOOV_BYTES))
            # stsd: name, version, number of entries, size of the first, its name.
            entries = (moov[at.start() + 16 : at.start() + 20] for at in re.finditer(b"stsd", moov))
            return any(entry in _ENCRYPTED_ENTRIES for entry in entries)
        if size < 8:
            return False
        offset += size
    return False
