"""A cloud on localhost: object store, Dataflow and an image registry."""

from collections.abc import Iterator

import fsspec
import gcsfs.core
import pytest
import requests
from apache_beam.internal.gcp import auth
from gcp_storage_emulator.server import create_server

import runners.dataflow_watch
from runners.image_labels import image_labels
from schemas.recipe import EncodeRecipe
from tests.cloud import StubDataflow, StubRegistry


@pytest.fixture(scope="module")
def store() -> Iterator[object]:
    """An emulator of Google Cloud Storage with the empty buckets "near" and "far"."""
    with pytest.MonkeyPatch.context() as patch:
        server = create_server("127.0.0.1", 0, in_memory=True)
        server.start()
        host, port = server._api._httpd.server_address
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
        patch.setattr(auth._Credentials, "_credentials_init", True)  # anonymous at once
        # The class that gcsfs takes by default asks a gRPC service that no emulator has.
        patch.setitem(fsspec.registry._registry, "gs", gcsfs.core.GCSFileSystem)
        patch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        gcsfs.core.GCSFileSystem.clear_instance_cache()
        for name, location in {"near": "US-CENTRAL1", "far": "EUROPE-WEST4"}.items():
            bucket = {"name": name, "location": location}
            url = f"http://{host}:{port}/storage/v1/b?project=p"
            requests.post(url, json=bucket, timeout=10).raise_for_status()
        yield server
        server.stop()
        gcsfs.core.GCSFileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def registry() -> Iterator[StubRegistry]:
    stub = StubRegistry()
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def image(registry: StubRegistry) -> str:
    """The name of an image that holds our code and the lite models."""
    recipe = EncodeRecipe()
    models = [(role, getattr(recipe, role)) for role in ("acoustic", "semantic", "separator")]
    return registry.push(dict(image_labels(models)), name="right:1")


@pytest.fixture
def dataflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubDataflow]:
    monkeypatch.setattr(runners.dataflow_watch, "_POLL_S", 0.01)
    stub = StubDataflow()
    yield stub
    stub.close()
