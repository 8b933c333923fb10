"""A cloud on localhost: object store, Dataflow and an image registry."""

from collections.abc import Iterator

import pytest
import requests
from apache_beam.internal.gcp import auth

import singsong.runners.dataflow_watch
from benchmarks.support.object_stores import Store, google_store
from singsong.runners.image_labels import image_labels
from singsong.schemas.recipe import EncodeRecipe
from tests.support.cloud import StubDataflow, StubRegistry


@pytest.fixture(scope="module")
def buckets() -> Iterator[Store]:
    """An object store with the buckets "near" and "far", as Beam and our code find it."""
    with google_store() as store, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", store.proxy.url)
        patch.setattr(auth._Credentials, "_credentials_init", True)  # anonymous at once
        for name, location in {"near": "US-CENTRAL1", "far": "EUROPE-WEST4"}.items():
            url = f"{store.proxy.url}/storage/v1/b"
            made = requests.post(f"{url}?project=p", json={"name": name}, timeout=10)
            made.raise_for_status()
            # The emulator takes a location only from a bucket that is there.
            moved = requests.patch(f"{url}/{name}", json={"location": location}, timeout=10)
            moved.raise_for_status()
        yield store


@pytest.fixture(scope="session")
def registry() -> Iterator[StubRegistry]:
    stub = StubRegistry()
    yield stub
    stub.close()


@pytest.fixture(scope="session")
def image(registry: StubRegistry) -> str:
    """The name of an image that holds our code and the lite models."""
    recipe = EncodeRecipe()
    models = [(role, getattr(recipe, role)) for role in ("acoustic", "semantic", "separator")]
    return registry.push(dict(image_labels(models)), name="right:1")


@pytest.fixture
def dataflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubDataflow]:
    monkeypatch.setattr(singsong.runners.dataflow_watch, "_POLL_S", 0.01)
    stub = StubDataflow()
    yield stub
    stub.close()
