"""A server on the loopback interface that answers with the faults a test asks for; one fixture for all tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest

S = TypeVar("S", bound=ThreadingHTTPServer)
CONTENT = bytes(range(256)) * 4096


class Server(ThreadingHTTPServer):
    """Serves CONTENT on the loopback interface, with the faults that a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.tag: str | None = '"one"'
        self.ranges = True
        self.announce = True
        self.cuts: list[int] = []  # How many bytes each of the next answers gives before it breaks off.
        self.status: list[int] = []  # What the next answers fail with.
        self.redirect: str | None = None
        self.requests: list[str | None] = []  # The Range header of each request.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.hdf5"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        if server.status:
            self.send_error(server.status.pop(0))
            return
        if server.redirect is not None:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        start = start if self.headers.get("If-Range") in (None, server.tag) else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        self._send(server.content[start:], start)

    def _send(self, body: bytes, start: int) -> None:
        server = self.server
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        if server.announce:
            self.send_header("Content-Length", str(len(body)))
        if server.tag is not None:
            self.send_header("ETag", server.tag)
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Lets a server answer from a thread of its own."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Server()) as running:
        yield running
