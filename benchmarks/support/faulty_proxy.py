"""An HTTP proxy on localhost that records each request and can make it fail."""

import http.client
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RESET = -1
"""The fault of a connection that is reset in the middle of the response."""

_HOP_HEADERS = ("connection", "expect", "keep-alive", "transfer-encoding", "content-length")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    is_copy: bool = False


Answer = tuple[int, list[tuple[str, str]], bytes]
Fault = Callable[[Request], int | None]
"""Returns the status to answer instead of the server, `RESET`, or None for no fault."""


@dataclass
class FaultyProxy:
    """A proxy in front of a server; `fault` may be changed at any time.

    Attributes:
        upstream: Host and port of the server.
        own_answer: Returns the status with which the proxy answers in place of the server, where
            the emulator does not do what the real store does.
        is_kept: Whether a successful response is kept and sent again if the request is repeated.
    """

    upstream: str
    own_answer: Fault = lambda request: None
    is_kept: Callable[[Request], bool] = lambda request: False
    kept: dict[str, "Answer"] = field(default_factory=dict)
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    faults: list[tuple[Request, int]] = field(default_factory=list)
    fault: Fault = lambda request: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        self.requests.clear()
        self.faults.clear()
        self.fault = lambda request: None

    def choose(self, request: Request) -> int | None:
        answer = self.own_answer(request)
        if answer is not None:
            return answer
        self.requests.append(request)
        chosen = self.fault(request)
        if chosen is not None:
            self.faults.append((request, chosen))
        return chosen


def each_nth(number: int, kind: int, *, when: Callable[[Request], bool]) -> Fault:
    """Returns a fault that hits every nth matching request, so that retries succeed."""
    seen = 0

    def fault(request: Request) -> int | None:
        nonlocal seen
        seen += when(request)
        return kind if when(request) and seen % number == 0 else None

    return fault


def each_first(kind: int) -> Fault:
    """Returns a fault that hits the first attempt of each request, but not its retry.

    Each request has its own counter: a client sends some concurrently, in an order that varies.
    """
    tries: Counter[Request] = Counter()

    def fault(request: Request) -> int | None:
        tries[request] += 1
        return kind if tries[request] % 2 else None

    return fault


@contextmanager
def faulty_proxy(
    upstream: str,
    *,
    own_answer: Fault = lambda request: None,
    is_kept: Callable[[Request], bool] = lambda request: False,
) -> Iterator[FaultyProxy]:
    """Runs a proxy in front of `host:port` on a free port of this machine."""
    proxy = FaultyProxy(upstream, own_answer, is_kept)

    class Handler(_Handler):
        owner = proxy

    server = _Server(("127.0.0.1", 0), Handler)
    proxy.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *request: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client has gone
            super().handle_error(*request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def handle_any(self) -> None:
        body = self._body()
        request = Request(self.command, self.path, self._is_copy())
        fault = self.owner.choose(request)
        if fault is not None and fault != RESET:
            self._answer(fault, [], b"")
            return
        answer = self.owner.kept.get(self.path) or self._forward(body)
        status, headers, content = answer
        if self.owner.is_kept(request) and status == HTTPStatus.OK and "Range" not in dict(headers):
            self.owner.kept[self.path] = answer
        if fault == RESET:
            self._break_off(status, content)
            return
        self._answer(status, headers, content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    def _is_copy(self) -> bool:
        words = ("/copyTo/", "/rewriteTo/", "/moveTo/", "/compose")
        return "x-amz-copy-source" in self.headers or any(word in self.path for word in words)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.owner.upstream, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _HOP_HEADERS:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in _HOP_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _break_off(self, status: int, content: bytes) -> None:
        """Sends half of an answer, then resets the connection."""
        if content and self.command != "HEAD":
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        pass
