"""Emulated object stores on localhost.

    with google_store() as store:
        storage.put_bytes(f"{store.url}/a.bin", b"hello")

Inside the `with` block, `gs://` or `s3://` URLs of this process lead to the emulator; another
process needs `store.environment`. Every request goes through `store.proxy`, which records it and
can make it fail.
"""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import fsspec
import fsspec.config

from benchmarks.support.faulty_proxy import FaultyProxy, Request, faulty_proxy

BUCKET = "music-bucket"


@dataclass(frozen=True, kw_only=True)
class Store:
    """A bucket on localhost.

    Attributes:
        url: Of the bucket, such as "gs://music-bucket".
        environment: Variables that another process needs to reach it.
        proxy: The proxy in front of the emulator.
    """

    url: str
    environment: dict[str, str]
    proxy: FaultyProxy

    def is_media(self, request: Request) -> bool:
        """Whether a request reads the bytes of an object."""
        if self.url.startswith("gs:"):
            return request.method == "GET" and "alt=media" in request.path
        return request.method == "GET" and not request.path.partition("?")[0].endswith(BUCKET)

    def is_upload(self, request: Request) -> bool:
        """Whether a request writes bytes of an object."""
        if self.url.startswith("gs:"):
            return "/upload/" in request.path
        return request.method in ("PUT", "POST")


@contextmanager
def google_store() -> Iterator[Store]:
    """Runs an emulator of Google Cloud Storage with an empty bucket."""
    from gcp_storage_emulator.server import create_server
    from gcsfs.core import GCSFileSystem

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    port = _free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    # The subclass that gcsfs registers calls a service that no emulator has.
    fsspec.register_implementation("gs", GCSFileSystem, clobber=True)
    fsspec.register_implementation("gcs", GCSFileSystem, clobber=True)
    server.start()
    try:
        address = f"127.0.0.1:{port}"
        with faulty_proxy(address, own_answer=_cancelled, is_kept=_is_block) as proxy:
            environment = {
                "FSSPEC_GS_ENDPOINT_URL": proxy.url,
                "FSSPEC_GS_TOKEN": "anon",
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            }
            with _configured(environment, "gs"):
                yield Store(url=f"gs://{BUCKET}", environment=environment, proxy=proxy)
    finally:
        server.stop()


@contextmanager
def amazon_store() -> Iterator[Store]:
    """Runs moto's server as an emulator of Amazon S3 with an empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with faulty_proxy(f"{host}:{port}") as proxy:
            environment = {
                "FSSPEC_S3_ENDPOINT_URL": proxy.url,
                "FSSPEC_S3_KEY": "test",
                "FSSPEC_S3_SECRET": "test",
                "FSSPEC_S3_CLIENT_KWARGS": '{"region_name": "us-east-1"}',
            }
            urlopen(HttpRequest(f"http://{host}:{port}/{BUCKET}", method="PUT")).close()
            with _configured(environment, "s3"):
                yield Store(url=f"s3://{BUCKET}", environment=environment, proxy=proxy)
    finally:
        server.stop()


STORES: dict[str, Callable[[], AbstractContextManager[Store]]] = {
    "gs": google_store,
    "s3": amazon_store,
}


@contextmanager
def _configured(environment: dict[str, str], protocol: str) -> Iterator[None]:
    """Makes fsspec read these variables now; by itself it reads them only at import."""
    before = fsspec.config.conf.pop(protocol, None)
    fsspec.config.set_conf_env(fsspec.config.conf, environment)
    try:
        yield
    finally:
        fsspec.config.conf.pop(protocol)
        if before is not None:
            fsspec.config.conf[protocol] = before


def _cancelled(request: Request) -> int | None:
    """Answers the cancellation of an upload, which the emulator does not support."""
    is_cancel = request.method == "DELETE" and "upload_id=" in request.path
    return 499 if is_cancel else None


def _is_block(request: Request) -> bool:
    """Whether a request uploads a block; the emulator forgets an upload after its last block."""
    return request.method == "POST" and "upload_id=" in request.path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
