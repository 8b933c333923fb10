"""What is checked before a job is submitted: each complaint says what to do."""

from pathlib import Path

import pytest

from benchmarks.support.command import ROOT
from benchmarks.support.object_stores import Store
from singsong import storage
from singsong.commands import cli
from singsong.runners.container_image import ImageError, ImageName, read_image_labels
from singsong.runners.dataflow import DataflowOptions
from singsong.runners.image_labels import (
    BEAM_LABEL,
    PYTHON_LABEL,
    VERSION_LABEL,
    WEIGHTS_LABEL,
    image_labels,
    main,
    software_labels,
    source_digest,
)
from singsong.runners.preflight import (
    check_bucket,
    check_device,
    check_image,
    check_reachable,
    is_near,
)
from singsong.schemas.recipe import ModelSpec
from tests.support.cloud import JOB, StubDataflow, StubRegistry, StubServer, flags, options

CHOSEN = {"location": "US", "customPlacementConfig": {"dataLocations": ["US-EAST1", "US-WEST1"]}}
WEIGHTS = {"acoustic": "ab" * 32, "semantic": "cd" * 32}


def labels(**changed: str) -> dict[str, str]:
    right = {**software_labels(), WEIGHTS_LABEL: f"acoustic={'ab' * 32},semantic={'cd' * 32}"}
    return {**right, **changed}


def test_the_labels_are_told_to_docker(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acoustic=lite"]) == 0
    told = dict(
        line.removeprefix("--label ").split("=", 1) for line in capsys.readouterr().out.splitlines()
    )
    assert told == image_labels([("acoustic", ModelSpec(name="lite"))])
    assert set(told) == {VERSION_LABEL, PYTHON_LABEL, BEAM_LABEL, WEIGHTS_LABEL}
    assert not set("".join(told.values())) & set(" \"'`$*?[]{}\\;&|<>")


def test_the_label_covers_every_room_that_is_installed(tmp_path: Path) -> None:
    """A stale image passes the check if a room that workers import is left out."""
    rooms = [path.parent.name for path in ROOT.glob("*/__init__.py")]
    files = [tmp_path / room / name for room in rooms for name in ("__init__.py", "a/b.py")]
    for path in [tmp_path / "__init__.py", *files]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    for path in [tmp_path / "__init__.py", *files]:
        before = source_digest(tmp_path)
        path.write_text("2")
        installed = path.relative_to(tmp_path).parts[0] not in ("tests", "benchmarks")
        assert (source_digest(tmp_path) != before) is installed, path
    assert {"training", "generation", "synth", "pipelines", "commands"} <= set(rooms)


def test_a_model_of_no_role_has_no_label() -> None:
    with pytest.raises(ValueError, match="a role must be one of"):
        image_labels([("vocals", ModelSpec(name="lite"))])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({VERSION_LABEL: "0.0.1+0123"}, "holds singsong 0.0.1.0123, and this machine runs"),
        ({PYTHON_LABEL: "3.9"}, "holds Python 3.9, and this machine runs 3."),
        ({BEAM_LABEL: "2.60.0"}, "holds Apache Beam 2.60.0, and this machine runs"),
        (
            {WEIGHTS_LABEL: "semantic=" + "cd" * 32},
            "lacks the weights abababababab of the acoustic",
        ),
        ({WEIGHTS_LABEL: "acoustic=0123456789abcdef"}, "it holds 0123456789ab"),
    ],
)
def test_an_image_that_differs_is_refused(
    registry: StubRegistry, wrong: dict, message: str
) -> None:
    check_image(registry.push(labels()), weights=WEIGHTS)
    with pytest.raises(ValueError, match=message):
        check_image(registry.push(labels(**wrong)), weights=WEIGHTS)


def test_an_image_of_something_else_is_refused(registry: StubRegistry) -> None:
    with pytest.raises(ValueError, match="it is not an image of singsong"):
        check_image(registry.push({}), weights={})


def test_one_of_many_platforms_is_read(registry: StubRegistry) -> None:
    name = registry.push({"a": "b"}, platforms=("arm64", "amd64"))
    assert read_image_labels(name) == {"a": "b"}


@pytest.mark.parametrize("platforms", [("arm64",), ("arm64", "s390x")])
def test_an_image_for_other_machines_is_refused(registry: StubRegistry, platforms: tuple) -> None:
    with pytest.raises(ImageError, match=r"linux/arm64.*the workers are linux/amd64"):
        read_image_labels(registry.push({}, platforms=platforms))


def test_an_image_that_is_not_there_is_told(registry: StubRegistry) -> None:
    with pytest.raises(ImageError, match="build it and push it first"):
        read_image_labels(f"{registry.host}/singsong:none")


def test_a_registry_that_does_not_answer_is_told() -> None:
    with pytest.raises(ImageError, match=r"does not answer .*--skip-image-check"):
        read_image_labels("localhost:1/singsong:1")


class Locked(StubServer):
    """A registry that lets nobody in and says nothing of tokens."""

    def answer(self, method, path, body, headers):
        return 401, {}, {}


def test_a_registry_that_lets_nobody_in_is_told() -> None:
    locked = Locked()
    try:
        with pytest.raises(ImageError, match=r"may not be read from here .HTTP 401.*gcloud auth"):
            read_image_labels(f"localhost:{locked.port}/singsong:1")
    finally:
        locked.close()


@pytest.mark.parametrize("name", ["", "a b", "http://x/y", "/x"])
def test_what_is_no_image_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="image must be REGISTRY/NAME:TAG"):
        ImageName.parse(name)


def test_image_names_have_dockers_defaults() -> None:
    digest = "sha256:" + "0" * 64
    image = ImageName.parse(f"localhost:5000/a/b@{digest}")
    assert (image.url, image.reference) == ("http://localhost:5000/v2/a/b", digest)
    image = ImageName.parse("gcr.io/p/b:1")
    assert (image.url, image.reference) == ("https://gcr.io/v2/p/b", "1")
    assert ImageName.parse("python").repository == "library/python"
    assert ImageName.parse("python").reference == "latest"


def test_a_bucket_near_the_workers_passes_and_stays_clean(buckets: object) -> None:
    check_bucket("gs://near/some/folder", region="us-central1")
    assert storage.list_files("gs://near/some") == []


def test_a_bucket_in_another_region_is_refused(buckets: object) -> None:
    with pytest.raises(ValueError, match="gs://far is in EUROPE-WEST4 and the workers in us-cen"):
        check_bucket("gs://far/x", region="us-central1")


def test_a_bucket_that_is_not_there_is_told(buckets: object) -> None:
    with pytest.raises(ValueError, match="there is no bucket gs://nowhere"):
        check_bucket("gs://nowhere/x", region="us-central1")


def test_a_bucket_that_may_not_be_written_is_told(buckets: Store) -> None:
    buckets.proxy.fault = lambda request: 403 if buckets.is_upload(request) else None
    try:
        with pytest.raises(ValueError, match=r"gs://near/x cannot be written .*objectAdmin"):
            check_bucket("gs://near/x", region="us-central1")
    finally:
        buckets.proxy.reset()


def test_other_stores_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(storage, "filesystem", asked.append)
    monkeypatch.setattr(storage, "put_bytes", lambda url, _: asked.append(url))
    check_bucket("s3://somewhere/x", region="us-central1")
    assert not asked


@pytest.mark.parametrize(
    ("facts", "region", "near"),
    [
        ({"location": "US-CENTRAL1"}, "us-central1", True),
        ({"location": "us-central1"}, "us-east1", False),
        ({"location": "EU"}, "europe-west4", True),
        ({"location": "EU"}, "us-east1", False),
        ({"location": "EUR4"}, "europe-north1", True),
        ({"location": "EUR4"}, "europe-west1", False),
        (
            {
                "location": "US",
                "customPlacementConfig": {"dataLocations": ["US-EAST1", "US-WEST1"]},
            },
            "us-central1",
            False,
        ),
        (
            {
                "location": "US",
                "customPlacementConfig": {"dataLocations": ["US-EAST1", "US-WEST1"]},
            },
            "us-west1",
            True,
        ),
    ],
)
def test_where_a_bucket_is_near(facts: dict, region: str, near: bool) -> None:
    assert is_near(facts, region=region) is near


@pytest.mark.parametrize(
    ("device", "gpu", "message"),
    [
        ("cpu", "nvidia-l4", "would be paid for and not used"),
        ("cuda", "", "--device cuda needs workers with a GPU"),
        ("cuda:1", "nvidia-l4", "a worker has one GPU"),
    ],
)
def test_a_gpu_that_is_not_used_or_missing_is_refused(device: str, gpu: str, message: str) -> None:
    check_device("cuda", "nvidia-l4")
    check_device("cpu", "")
    with pytest.raises(ValueError, match=message):
        check_device(device, gpu)


@pytest.mark.parametrize(
    ("reads", "writes", "message"),
    [
        (("/home/me/music",), {}, "input /home/me/music is on this mach"),
        ((), {"--scratch": "/tmp/x"}, "--scratch /tmp/x is on this mach"),
    ],
)
def test_what_workers_cannot_reach_is_refused(reads: tuple, writes: dict, message: str) -> None:
    check_reachable(("gs://a/b",), {"--output": "s3://c/d"})
    with pytest.raises(ValueError, match=message):
        check_reachable(reads, writes)


def test_nothing_is_submitted_after_an_error(
    buckets: object, image: str, dataflow: StubDataflow, tmp_path: Path, capsys
) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    command = ["prepare", str(tmp_path), "--output", "gs://near/out", *flags(image)]
    assert cli.main([*command, "--", *dataflow.flags]) == 1
    assert "is on this machine, where the workers cannot reach it" in capsys.readouterr().err
    assert not dataflow.requests


def test_a_fit_needs_a_scratch_folder_that_workers_see(
    buckets: object, image: str, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.put_bytes("gs://near/songs/a.wav", b"RIFF")
    command = ["fit", "acoustic", "gs://near/songs", "--output", "gs://near/a.safetensors"]
    assert cli.main([*command, *flags(image), "--", *dataflow.flags]) == 1
    assert "--scratch /" in capsys.readouterr().err
    assert not dataflow.requests


def test_what_is_not_checked_is_said(
    buckets: object, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    given: DataflowOptions = options(dataflow, detach=True)
    given.run(JOB)
    assert "not checked: whether localhost/x:1 holds our code" in capsys.readouterr().out


def test_an_input_that_names_nothing_is_told(
    buckets: object, image: str, dataflow: StubDataflow, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", "gs://near/none", "--output", "gs://near/out", *flags(image)]
    assert cli.main([*command, "--", *dataflow.flags]) == 1
    assert "gs://near/none names no file" in capsys.readouterr().err
