"""The whole of `prepare` and what follows it, with music, parts and dataset in an object store."""

import asyncio
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

import singsong.transforms.encode_tracks
from benchmarks.support.faulty_proxy import RESET, Request, each_nth
from benchmarks.support.object_stores import Store
from singsong import storage
from singsong.commands import cli
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import read_manifest
from tests.pipelines.conftest import arguments, use_fakes
from tests.support.fakes import write_tones

TRACKS = 4
NAMES = ["a.wav", "deep/two words.wav", "deep/Käse #1?.wav", "100%.wav"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the client libraries try again at once."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _s, *a: sleep(0, *a))


@pytest.fixture
def tones(tmp_path: Path) -> list[Path]:
    return write_tones(tmp_path / "tones", tracks=TRACKS)


@pytest.fixture
def music(tones: list[Path], folder: str) -> str:
    """A folder of music in the store, with what consoles and desktops leave behind."""
    for path, name in zip(tones, NAMES, strict=True):
        storage.put_bytes(f"{folder}/music/{name}", path.read_bytes())
    storage.put_bytes(f"{folder}/music/.DS_Store", b"x")
    storage.put_bytes(f"{folder}/music/.Trash-1000/a.wav", b"x")
    return f"{folder}/music"


@pytest.fixture(scope="module")
def local_digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the dataset that the same music makes on a local disk."""
    folder = tmp_path_factory.mktemp("local")
    write_tones(folder / "tones", tracks=TRACKS)
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        assert cli.main(arguments(folder / "tones", output=folder / "dataset")) == 0
    return read_manifest(str(folder / "dataset")).dataset_digest


def dead_letters(dataset: str) -> list[dict]:
    return [vars(failure) for failure in open_dataset(dataset).failures]


def test_the_whole_way(
    prepare, music: str, folder: str, store: Store, local_digest: str, capsys
) -> None:
    dataset = f"{folder}/dataset"
    assert prepare(music, output=dataset) == 0
    manifest = read_manifest(dataset)
    assert manifest.dataset_digest == local_digest
    assert asdict(manifest.counts.tracks) == {
        "listed": TRACKS, "encoded": TRACKS, "cut_short": 0, "duplicate": 0, "failed": {}
    }  # fmt: skip
    assert cli.main(["dataset", "verify", dataset]) == 0
    for action in ("show", "versions", "preview"):
        assert cli.main(["dataset", action, dataset]) == 0, action
    assert cli.main(["retry", dataset]) == 0
    assert "Nothing failed" in capsys.readouterr().out
    assert not [request for request in store.proxy.requests if request.is_copy]


def test_a_second_run_encodes_nothing(
    prepare, music: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = f"{folder}/dataset/"
    assert prepare(music, output=dataset) == 0
    before = read_manifest(dataset)
    monkeypatch.setattr(singsong.transforms.encode_tracks, "encode_track", None)
    assert prepare(music, output=dataset) == 0
    assert read_manifest(dataset) == before


def test_half_of_the_parts_are_not_made_again(
    prepare, music: str, folder: str, store: Store, local_digest: str, capfd
) -> None:
    """The store takes two parts and then no more, as when the run is killed there."""
    dataset = f"{folder}/dataset"
    written: list[Request] = []

    def deny_after_two(request: Request) -> int | None:
        if not store.is_upload(request):
            return None
        written.append(request)
        return 403 if len(written) > 4 else None  # a part comes after its file of attempts

    store.proxy.fault = deny_after_two
    assert prepare(music, output=dataset) == 1
    store.proxy.reset()
    done = storage.list_files(f"{dataset}/parts")
    assert len(done) == 2
    assert not storage.exists(f"{dataset}/manifest.json")
    calls: Counter[str] = Counter()
    encode = singsong.transforms.encode_tracks.encode_track

    def count(track, **settings):
        calls[track.track_id] += 1
        return encode(track, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(singsong.transforms.encode_tracks, "encode_track", count)
        assert prepare(music, output=dataset) == 0
    assert len(calls) == TRACKS - 2
    assert read_manifest(dataset).dataset_digest == local_digest


@pytest.mark.parametrize("fault", [503, RESET])
def test_faults_in_the_middle_change_nothing(
    prepare, music: str, folder: str, store: Store, local_digest: str, fault: int, impatient: None
) -> None:
    dataset = f"{folder}/dataset"
    store.proxy.fault = each_nth(3, fault, when=lambda request: True)
    assert prepare(music, output=dataset, flags=("--mode", "multi_threading")) == 0
    hit = [request for request, _ in store.proxy.faults]
    assert any(store.is_media(request) for request in hit)
    assert any(store.is_upload(request) for request in hit)
    assert read_manifest(dataset).dataset_digest == local_digest
    store.proxy.reset()
    assert cli.main(["dataset", "verify", dataset]) == 0


def test_a_file_that_may_not_be_read_is_a_dead_letter_and_is_retried(
    prepare, music: str, folder: str, store: Store, local_digest: str
) -> None:
    dataset = f"{folder}/dataset"

    def deny_one(request: Request) -> int | None:
        return 403 if store.is_media(request) and "a.wav" in request.path else None

    store.proxy.fault = deny_one
    assert prepare(music, output=dataset, flags=("--max-failure-rate", "0.3")) == 0
    (letter,) = dead_letters(dataset)
    assert (letter["uri"], letter["reason"]) == (f"{music}/a.wav", "unreadable")
    need = "storage.objects.get" if store.url.startswith("gs") else "s3:GetObject"
    assert f"the credentials in use lack {need} on {store.url}" in letter["message"]
    assert "\n" not in letter["message"]
    store.proxy.reset()
    assert cli.main(["retry", dataset, "--mode", "in_memory"]) == 0
    assert dead_letters(dataset) == []
    assert read_manifest(dataset).dataset_digest == local_digest


def test_a_place_that_may_not_be_written_is_told(
    prepare, music: str, folder: str, store: Store, capfd
) -> None:
    dataset = f"{folder}/dataset"
    store.proxy.fault = lambda request: 403 if store.is_upload(request) else None
    assert prepare(music, output=dataset) == 1
    need = "storage.objects.create" if store.url.startswith("gs") else "s3:PutObject"
    (line,) = capfd.readouterr().err.strip().splitlines()[-1:]
    assert "may not be written" in line
    assert f"the credentials in use lack {need}" in line
    assert f"on {store.url}" in line


def test_a_bucket_that_is_not_there_is_told(
    prepare, music: str, folder: str, store: Store, tones: list[Path], capfd
) -> None:
    bucket = f"{store.url}-not-there"
    assert prepare(*tones, output=f"{bucket}/dataset") == 1
    assert f"the bucket {bucket} does not exist" in capfd.readouterr().err
    assert prepare(f"{bucket}/music", output=f"{folder}/dataset") == 1
    assert f"the bucket {bucket} does not exist" in capfd.readouterr().err


def test_a_store_that_stops_answering_stops_the_job(
    prepare, music: str, folder: str, store: Store, impatient: None, capfd
) -> None:
    """Its tracks are no dead letters: nothing is wrong with them."""
    store.proxy.fault = lambda request: 503 if store.is_media(request) else None
    assert prepare(music, output=f"{folder}/dataset") == 1
    assert f"{store.url} does not answer" in capfd.readouterr().err
    store.proxy.reset()
    assert not storage.exists(f"{folder}/dataset/manifest.json")


def test_a_folder_without_music_is_told(prepare, folder: str, capfd) -> None:
    assert prepare(f"{folder}/nothing", output=f"{folder}/dataset") == 1
    assert f"{folder}/nothing names no file" in capfd.readouterr().err


def test_a_stray_file_is_found_and_swept(prepare, music: str, folder: str, capsys) -> None:
    dataset = f"{folder}/dataset"
    assert prepare(music, output=dataset) == 0
    storage.put_bytes(f"{dataset}/shards/stray.parquet", b"x")
    assert cli.main(["dataset", "verify", dataset]) == 1
    assert "shards/stray.parquet: no version of the dataset lists it" in capsys.readouterr().out
    assert prepare(music, output=dataset) == 0
    assert cli.main(["dataset", "verify", dataset]) == 0
