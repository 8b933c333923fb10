"""A model hub on localhost: what `huggingface_hub` asks of the real one, and plain files beside."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

COMMIT = "ab" * 20
_LARGE = (".safetensors", ".bin", ".th")


@dataclass
class Hub:
    """A running hub.

    Attributes:
        url: Its address.
        folder: `<user>/<repository>/<file>` below it are its models.
        cut: How many transfers of a file, by name, end in the middle.
        wrong: Names of files that come with one bit changed.
        sent: Each file that was sent, and where it began.
    """

    url: str
    folder: Path
    cut: dict[str, int] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    sent: list[tuple[str, int]] = field(default_factory=list)


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """Runs a hub that serves a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = hub = Hub(f"http://127.0.0.1:{server.server_port}", folder)  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        return hub

    def log_message(self, *args: Any) -> None:
        pass

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        found = re.fullmatch(
            r"/api/models/([^/]+/[^/]+)(/revision/\w+|/tree/\w+)?(\?.*)?", self.path
        )
        if found is None:
            self._file(body=True)
            return
        folder = self.hub.folder / found[1]
        if not folder.is_dir():
            self._missing("RepoNotFound")
        elif (found[2] or "").startswith("/tree/"):
            self._json([_listed(path) for path in sorted(folder.iterdir())])
        else:
            names = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
            self._json({"_id": "1", "id": found[1], "sha": COMMIT, "siblings": names})

    def _file(self, *, body: bool) -> None:
        name = re.sub(r"/resolve/\w+/", "/", self._path()).lstrip("/")
        path = self.hub.folder / name
        if not path.is_file():
            self._missing("EntryNotFound" if path.parent.is_dir() else "RepoNotFound")
            return
        content = path.read_bytes()
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(begin[1]) if begin else 0
        self.send_response(206 if begin else 200)
        for key, value in _headers(path, content).items():
            self.send_header(key, value)
        if begin:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self._send(path.name, content, start)

    def _send(self, name: str, content: bytes, start: int) -> None:
        self.hub.sent.append((name, start))
        if name in self.hub.wrong:
            content = bytes([*content[:-1], content[-1] ^ 1])
        if self.hub.cut.get(name, 0):
            self.hub.cut[name] -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content[start:])

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _headers(path: Path, content: bytes) -> dict[str, str]:
    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_git_oid(content)}"', "Accept-Ranges": "bytes"}
    if path.suffix in _LARGE:
        headers["X-Linked-ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        headers["X-Linked-Size"] = str(len(content))
    return headers


def _listed(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    entry: dict[str, Any] = {
        "type": "file",
        "path": path.name,
        "size": len(content),
        "oid": _git_oid(content),
    }
    if path.suffix in _LARGE:
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return entry


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
