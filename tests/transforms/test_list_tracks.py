import errno
import os
import tempfile
from pathlib import Path

import apache_beam as beam
import fsspec
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from singsong import storage
from singsong.pipelines.places import input_files
from singsong.schemas.elements import SourceFile, Track
from singsong.schemas.errors import ContentChangedError, EmptyFileError, UnreadableFileError
from singsong.transforms.list_tracks import ListTracks, elect, longest_first
from singsong.transforms.source_files import (
    check_content,
    identify,
    list_source_files,
    write_listing,
)


def names(url: object) -> list[str]:
    return [os.path.basename(file.uri) for file in list_source_files(str(url)) if not file.debris]


def skipped(url: object) -> dict[str, int]:
    found = list_source_files(str(url))
    return {os.path.basename(file.uri): file.debris for file in found if file.debris}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.mp3", "deep/er/c.flac", ".38 Special/d.wav", ".e.wav", "f [live].ogg"):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "music"


def test_a_folder_lists_its_files_in_order_those_with_a_dot_too(folder: Path) -> None:
    assert names(folder) == [".e.wav", "a.mp3", "b.wav", "f [live].ogg", "d.wav", "c.flac"]


def test_files_and_globs_are_inputs_too(folder: Path) -> None:
    assert names(folder / "b.wav") == ["b.wav"]
    assert names(folder / "*.wav") == [".e.wav", "b.wav"]
    assert names(folder / "**" / "*.flac") == ["c.flac"]
    assert names(folder / "**" / "*.wav") == [".e.wav", "b.wav", "d.wav"]
    assert names(folder / "d*p") == ["c.flac"]
    assert names(folder / "*" / "er") == ["c.flac"]
    assert names(folder / "de??" / "**") == ["c.flac"]
    assert names(folder / "f [live].ogg") == ["f [live].ogg"]
    assert names(folder / ".e.wav") == [".e.wav"]


def test_a_glob_may_be_relative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names("*.mp3") == names("./*.mp3") == names("**/a*") == ["a.mp3"]
    assert [file.uri for file in list_source_files("deep/*/c.flac")] == [
        str(folder / "deep" / "er" / "c.flac")
    ]


def test_a_glob_finds_what_a_link_elsewhere_hides_from_no_walk(folder: Path) -> None:
    """The folder is entered first by a name that the glob does not match."""
    os.symlink(folder / "deep", folder / "aaa")
    assert names(folder / "**" / "deep" / "er" / "*") == ["c.flac"]
    os.symlink(folder, folder / "deep" / "loop")
    assert "c.flac" in names(folder / "**" / "er" / "*.flac")


DEBRIS = ("._b.wav", ".DS_Store", "Thumbs.db", "DESKTOP.INI", "@eaDir/x/1.jpg", "@eaDir/2.jpg")


def test_debris_of_systems_is_skipped_and_counted(folder: Path) -> None:
    before = names(folder)
    for name in (*DEBRIS, ".Trash-1000/files/a.wav", "deep/.git/config", "lost+found/"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"x")
    assert names(folder) == before
    counted = {"._b.wav": 1, ".DS_Store": 1, "Thumbs.db": 1, "DESKTOP.INI": 1, "@eaDir": 2}
    assert skipped(folder) == {**counted, ".Trash-1000": 1, ".git": 1}
    assert skipped(folder / "*.wav") == {"._b.wav": 1}
    assert names(folder / "._b.wav") == ["._b.wav"]  # what is named is meant
    assert names(folder / ".Trash-1000") == ["a.wav"]


def test_object_stores_have_the_same_debris() -> None:
    fs = fsspec.filesystem("memory")
    for name in ("a.wav", "...And Justice/b.wav", ".38/c.wav", *DEBRIS):
        fs.pipe(f"/dots/{name}", b"abc")
    assert sorted(names("memory://dots")) == ["a.wav", "b.wav", "c.wav"]
    assert sum(skipped("memory://dots").values()) == len(DEBRIS)
    assert sorted(names("memory://dots/**/*.wav")) == ["a.wav", "b.wav", "c.wav"]
    fs.rm("/dots", recursive=True)


def test_links_are_followed_and_make_no_loop(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "g.wav").write_bytes(b"g")
    os.symlink(folder, folder / "loop")
    os.symlink(folder / "b.wav", folder / "z.wav")
    os.symlink(folder / "deep" / "er", folder / "deep" / "again")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    assert names(folder) == [
        *(".e.wav", "a.mp3", "b.wav", "f [live].ogg", "z.wav", "d.wav", "c.flac", "g.wav")
    ]


@pytest.mark.parametrize("url", ["nowhere", "*.opus", "memory://nowhere", "memory://nowhere/*.wav"])
def test_what_names_nothing_is_an_error(folder: Path, url: str) -> None:
    with pytest.raises(FileNotFoundError, match="names no file"):
        list(list_source_files(url if "://" in url else str(folder / url)))


def test_a_retry_names_files_that_may_be_gone(folder: Path) -> None:
    (file,) = list_source_files(str(folder / "gone.wav"), only_files=True)
    assert file.size_bytes == 0
    with pytest.raises(UnreadableFileError):
        identify(file)


def test_object_stores_are_listed_with_sizes() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/listed/a.wav", b"abc")
    fs.pipe("/listed/b/c.wav", b"x")
    files = sorted(list_source_files("memory://listed"), key=lambda file: file.uri)
    assert [(file.uri, file.size_bytes) for file in files] == [
        ("memory:///listed/a.wav", 3),
        ("memory:///listed/b/c.wav", 1),
    ]
    fs.rm("/listed", recursive=True)


def test_content_names_a_track(folder: Path) -> None:
    import hashlib

    track = identify(SourceFile(uri=str(folder / "a.mp3"), size_bytes=0))
    assert track.track_id == hashlib.sha256(b"a.mp3").hexdigest()
    assert track.size_bytes == 5
    check_content(track, str(folder / "a.mp3"))
    (folder / "a.mp3").write_bytes(b"other")
    with pytest.raises(ContentChangedError):
        check_content(track, str(folder / "a.mp3"))
    (folder / "a.mp3").unlink()
    with pytest.raises(UnreadableFileError):
        check_content(track, str(folder / "a.mp3"))


def test_what_cannot_be_read_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(EmptyFileError):
        identify(SourceFile(uri=str(tmp_path / "empty"), size_bytes=0))
    for uri in (str(tmp_path), str(tmp_path / "gone"), "memory://gone"):
        with pytest.raises(UnreadableFileError):
            identify(SourceFile(uri=uri, size_bytes=0))


def test_a_file_that_we_may_not_read_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read every file, so the refusal is staged."""
    path = tmp_path / "secret.wav"
    path.write_bytes(b"x")

    def refuse(url: str) -> None:
        raise PermissionError(13, "Permission denied", url)

    monkeypatch.setattr(storage, "sha256_of", refuse)
    with pytest.raises(UnreadableFileError, match="Permission"):
        identify(SourceFile(uri=str(path), size_bytes=1))


def track(name: str, size: int) -> Track:
    return Track(track_id=name, uri=f"/{name}", size_bytes=size)


def test_one_name_stands_for_a_content_whatever_the_order() -> None:
    twins = [Track(track_id="a", uri=uri, size_bytes=1) for uri in ("/y", "/x", "/z")]
    for order in (twins, twins[::-1]):
        chosen, others = elect(order)
        assert (chosen.uri, chosen.alternates) == ("/x", ("/y", "/z"))
        assert sorted((other.uri, other.duplicate_of) for other in others) == [
            ("/y", "a"),
            ("/z", "a"),
        ]


def test_tracks_are_dealt_longest_first() -> None:
    tracks = [track("a", 1), track("b", 3), track("c", 3), track("d", 2)]
    assert [one.track_id for one in longest_first(tracks)] == ["b", "c", "d", "a"]


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path, error: OSError) -> None:
    """Lets a folder refuse to be listed; root may list every folder."""
    scan = os.scandir

    def scan_unless(path: str) -> object:
        if str(path).rstrip("/") == str(folder):
            raise OSError(error.errno, error.strerror, str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_unless)


@pytest.mark.parametrize("name", ["", "*", "**/*.flac", "de*/**"])
def test_a_folder_that_cannot_be_read_is_told(folder: Path, monkeypatch, name: str) -> None:
    deny(monkeypatch, folder / "deep" / "er", PermissionError(errno.EACCES, "Permission denied"))
    (file,) = [file for file in list_source_files(str(folder / name)) if file.problem]
    assert file.uri == str(folder / "deep" / "er")
    with pytest.raises(UnreadableFileError, match="the folder cannot be read: Permission denied"):
        identify(file)
    assert not [file for file in list_source_files(str(folder / "*.wav")) if file.problem]


class HalfScan:
    """Yields one entry of a folder and then an error, as a network mount may."""

    def __init__(self, path: str) -> None:
        self.path = path
        with _SCAN(path) as found:
            self.entries = [next(iter(found))]

    def __enter__(self) -> "HalfScan":
        return self

    def __exit__(self, *_: object) -> None: ...

    def __next__(self) -> os.DirEntry[str]:
        if not self.entries:
            raise PermissionError(errno.EACCES, "Permission denied", self.path)
        return self.entries.pop()


_SCAN = os.scandir


def test_a_folder_that_ends_half_way_is_told(folder: Path, monkeypatch) -> None:
    half = str(folder / "deep")
    monkeypatch.setattr(
        os, "scandir", lambda path: HalfScan(path) if str(path) == half else _SCAN(path)
    )
    assert [file.uri for file in list_source_files(str(folder)) if file.problem] == [half]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_mount_that_fails_ends_the_listing(folder: Path, monkeypatch, number: int) -> None:
    deny(monkeypatch, folder / "deep", OSError(number, os.strerror(number)))
    with pytest.raises(OSError, match=os.strerror(number)):
        list(list_source_files(str(folder)))


@pytest.mark.skipif(os.geteuid() != 0, reason="root lends itself another user")
def test_another_user_is_told_of_a_closed_folder() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # which every user may enter
        closed = Path(name) / "nas"
        closed.mkdir()
        (closed / "a.wav").write_bytes(b"a")
        (Path(name) / "b.wav").write_bytes(b"b")
        os.chmod(name, 0o755)
        closed.chmod(0)
        os.seteuid(65534)
        try:
            found = list(list_source_files(name))
        finally:
            os.seteuid(0)
    assert [os.path.basename(file.uri) for file in found] == ["b.wav", "nas"]
    assert "Permission denied" in found[1].problem


def test_folders_whose_names_cannot_be_decoded_are_walked(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(odd)
    Path(os.fsdecode(odd + b"/a\nb.wav")).write_bytes(b"x")
    (file,) = list_source_files(str(tmp_path))
    assert file.uri.endswith("/caf%E9/a%0Ab.wav")
    assert identify(file).size_bytes == 1
    (same,) = list_source_files(str(tmp_path / "caf*" / "*.wav"))
    assert same == file


def test_workers_that_list_by_themselves_find_the_same(folder: Path, tmp_path, monkeypatch) -> None:
    for name in ("._b.wav", "deep/.DS_Store", "deep/@eaDir/1.jpg", "deep/@eaDir/2.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "deep" / "z.wav").write_bytes(b"z")
    deny(monkeypatch, folder / "deep" / "er", PermissionError(errno.EACCES, "Permission denied"))
    inputs = [str(folder), str(folder / "deep"), str(folder / "._b.wav")]
    listing = write_listing(input_files(inputs), str(tmp_path))
    for given in (None, listing):
        options = PipelineOptions(["--direct_running_mode=in_memory"])
        with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
            listed = pipeline | ListTracks(inputs, listing=given)
            # Six files, one of debris that was named, and the folder.
            assert_that(listed["listed"], equal_to([6 + 1 + 1]), label="Listed")
            assert_that(listed["skipped"], equal_to([3]), label="Skipped")
            letters = listed["dead_letters"] | beam.Map(lambda letter: (letter.uri, letter.reason))
            assert_that(letters, equal_to([(str(folder / "deep" / "er"), "unreadable")]), "Letters")
