"""From the names of files and folders to tracks, one for each content."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import apache_beam as beam

from singsong import storage
from singsong.schemas.elements import DeadLetter, SourceFile, Track, TrackSummary
from singsong.schemas.errors import (
    ClipError,
    ContentChangedError,
    EmptyFileError,
    UnreadableFileError,
)
from singsong.storage.errors import StoreUnavailableError

TRACKS, DUPLICATES, DEAD_LETTERS, LISTED = "tracks", "duplicates", "dead_letters", "listed"


def list_source_files(url: str, *, only_files: bool = False) -> Iterator[SourceFile]:
    """Yields each file that a file, folder, glob or fsspec URL names.

    Hidden files and folders are left out, unless they are named. A link to a file counts as a
    file; folders reached through links are not entered, so that no loop is.

    Args:
        url: The name.
        only_files: Take the name for that of one file, and let who reads it find it missing.

    Raises:
        FileNotFoundError: There is nothing of that name.
    """
    if only_files:
        yield (
            _source_file(storage.local_path(url))
            if storage.is_local(url)
            else SourceFile(uri=url, size_bytes=0)
        )
        return
    if storage.is_local(url):
        yield from _list_local(storage.local_path(url))
        return
    found = storage.find_objects(url)
    if not found:
        raise FileNotFoundError(f"{url} names no file")
    named = _before_magic(url)
    for uri, size_bytes in found:
        if not _is_hidden(uri, named):
            yield SourceFile(uri=uri, size_bytes=size_bytes)


def _before_magic(url: str) -> str:
    """Returns the folders of a glob that hold no wildcard; the whole URL where there is none."""
    parts = url.rstrip("/").split("/")
    magic = (number for number, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[: next(magic, len(parts))])


def _is_hidden(uri: str, named: str) -> bool:
    """Returns whether a part of a URL beyond those that were named begins with a dot."""
    return any(part.startswith(".") for part in uri.split("/")[named.count("/") + 1 :])


def names_a_file(url: str) -> bool:
    """Returns whether a name is that of at least one file, without listing a whole bucket."""
    if not storage.is_local(url) and not glob.has_magic(url):
        return storage.exists(url)
    try:
        return next(list_source_files(url), None) is not None
    except FileNotFoundError:
        return False


def _list_local(path: str) -> Iterator[SourceFile]:
    if not os.path.lexists(path) and glob.has_magic(path):
        matches = glob.glob(path, recursive=True)
    else:
        matches = [path]
    if not all(os.path.lexists(match) for match in matches) or not matches:
        raise FileNotFoundError(f"{storage.url_of(path)} names no file")
    for match in matches:
        if not os.path.isdir(match):
            yield _source_file(match)
            continue
        yield from map(_source_file, _walk(match))


def _walk(top: str) -> Iterator[str]:
    """Yields the files below a folder, and below what links to folders point to, each once."""
    entered = {os.path.realpath(top)}
    for folder, folders, names in os.walk(top, followlinks=True):
        inside = sorted(name for name in folders if not name.startswith("."))
        folders.clear()
        for name in inside:
            target = os.path.realpath(os.path.join(folder, name))
            if target not in entered:
                entered.add(target)
                folders.append(name)
        yield from (os.path.join(folder, n) for n in sorted(names) if not n.startswith("."))


def _source_file(path: str) -> SourceFile:
    absolute = os.path.abspath(path)
    try:
        size = os.stat(absolute).st_size
    except OSError:
        size = 0  # hashing it will say what is wrong
    return SourceFile(uri=storage.url_of(absolute), size_bytes=size)


def unreadable(error: OSError) -> ClipError | OSError:
    """Returns what to raise when a file cannot be read.

    That of a store that does not answer says nothing of the file: it stays what it is, so that the
    runner retries or stops, and does not give up one file after the other.
    """
    if isinstance(error, StoreUnavailableError):
        return error
    return UnreadableFileError(f"the file cannot be read: {error.strerror or error}")


def identify(file: SourceFile) -> Track:
    """Returns the track in a file, named by its content.

    Raises:
        UnreadableFileError: The file is missing, or may not be read.
        EmptyFileError: It has no bytes.
        StoreUnavailableError: The store does not answer.
    """
    if storage.is_local(file.uri) and not os.path.isfile(storage.local_path(file.uri)):
        raise UnreadableFileError("the file is missing, or is no regular file")
    try:
        digest, size = storage.sha256_of(file.uri)
    except OSError as error:
        raise unreadable(error) from error
    if not size:
        raise EmptyFileError("the file has no bytes")
    return Track(track_id=digest, uri=file.uri, size_bytes=size)


@contextmanager
def local_track(track: Track) -> Iterator[str]:
    """Yields a local file name with the bytes of a track: the file itself, or a scratch copy.

    Raises:
        UnreadableFileError: The file is gone, or cannot be read any more.
        StoreUnavailableError: The store does not answer.
    """
    with ExitStack() as stack:
        try:
            local = stack.enter_context(storage.local_copy(track.uri))
        except OSError as error:
            raise unreadable(error) from error
        yield local


def check_content(track: Track, path: str) -> None:
    """Checks that a local copy still holds the bytes that named the track.

    Raises:
        ContentChangedError: It does not.
        UnreadableFileError: It cannot be read.
    """
    try:
        digest, _ = storage.sha256_of(path)
    except OSError as error:
        raise unreadable(error) from error
    if digest != track.track_id:
        raise ContentChangedError("the file changed while the job ran")


def elect(tracks: Iterable[Track]) -> tuple[Track, list[TrackSummary]]:
    """Returns the track that stands for all with its content, and a line for each other."""
    chosen, *others = sorted(tracks, key=lambda track: track.uri)
    return chosen, [
        TrackSummary(
            uri=other.uri,
            track_id=other.track_id,
            status="duplicate",
            duplicate_of=chosen.track_id,
        )
        for other in others
    ]


def longest_first(tracks: Iterable[Track]) -> list[Track]:
    """Returns the tracks in the order in which they are best dealt out: the largest first."""
    return sorted(tracks, key=lambda track: (-track.size_bytes, track.track_id))


class _Identify(beam.DoFn):
    def process(self, file: SourceFile) -> Iterator[object]:
        try:
            yield identify(file)
        except ClipError as error:
            letter = DeadLetter.of_track(error, stage="ListTracks", uri=file.uri)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)


class _Elect(beam.DoFn):
    def process(self, element: tuple[str, Iterable[Track]]) -> Iterator[object]:
        chosen, others = elect(element[1])
        yield chosen
        for other in others:
            yield beam.pvalue.TaggedOutput(DUPLICATES, other)


class _DropRepeats(beam.PTransform):
    """Leaves one element for each file, however often it was named."""

    def expand(self, files: beam.PCollection) -> beam.PCollection:
        return (
            files
            | "KeyByName"
            >> beam.Map(lambda file: (file.uri, file.size_bytes)).with_output_types(tuple[str, int])
            | "LargestSize" >> beam.CombinePerKey(max)
            | "SourceFile"
            >> beam.MapTuple(
                lambda uri, size: SourceFile(uri=uri, size_bytes=size)
            ).with_output_types(SourceFile)
        )


class ListTracks(beam.PTransform):
    """Lists files, hashes them and elects one for each content.

    Returns a dict with the outputs "tracks", "duplicates", "dead_letters" and "listed", the number
    of files. The tracks come longest first, so that a runner that deals them out once deals evenly.
    """

    def __init__(self, inputs: Sequence[str], *, only_files: bool = False) -> None:
        super().__init__()
        self._inputs = tuple(inputs)
        self._only_files = only_files

    def expand(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
        """Returns the four outputs."""
        files = (
            pipeline
            | "NameInputs" >> beam.Create(self._inputs, reshuffle=False)
            | "ListFiles"
            >> beam.FlatMap(list_source_files, only_files=self._only_files).with_output_types(
                SourceFile
            )
            | "DropRepeats" >> _DropRepeats()
        )
        identified = files | "IdentifyFiles" >> beam.ParDo(_Identify()).with_output_types(
            Track, dead_letters=DeadLetter
        ).with_outputs(DEAD_LETTERS, main=TRACKS)
        elected = (
            identified[TRACKS]
            | "KeyByContent"
            >> beam.Map(lambda track: (track.track_id, track)).with_output_types(tuple[str, Track])
            | "GroupByContent" >> beam.GroupByKey()
            | "ElectTracks"
            >> beam.ParDo(_Elect())
            .with_output_types(Track, duplicates=TrackSummary)
            .with_outputs(DUPLICATES, main=TRACKS)
        )
        dealt = (
            elected[TRACKS]
            | "GatherTracks" >> beam.combiners.ToList()
            | "LongestFirst" >> beam.FlatMap(longest_first).with_output_types(Track)
            | "DealTracks" >> beam.Reshuffle()
        )
        return {
            TRACKS: dealt,
            DUPLICATES: elected[DUPLICATES],
            DEAD_LETTERS: identified[DEAD_LETTERS],
            LISTED: files | "CountFiles" >> beam.combiners.Count.Globally(),
        }
