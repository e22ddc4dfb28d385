"""A proxy in front of several gateways, which takes the next one for every request."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

__all__ = ["RoundRobin", "a_round_robin"]

_OF_A_CONNECTION: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_TIMEOUT_SECONDS: Final = 60


class RoundRobin(ThreadingHTTPServer):
    """The proxy. `answered` counts the responses of each gateway by method and first segment of the path."""

    daemon_threads = True

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._ports = itertools.cycle(ports)
        self._lock = threading.Lock()
        self.answered: dict[int, Counter[str]] = {port: Counter() for port in ports}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_port(self, method: str, path: str) -> int:
        with self._lock:
            port = next(self._ports)
            self.answered[port][f"{method} /{urlsplit(path).path.split('/')[1]}"] += 1
            return port


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RoundRobin

    def do_GET(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def _forward(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        gateway = HTTPConnection("127.0.0.1", self.server.next_port(self.command, self.path), timeout=_TIMEOUT_SECONDS)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            gateway.request(self.command, self.path, body, headers)
            answer = gateway.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_A_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            with suppress(ConnectionError):  # the browser no longer needs it: another click came first
                self.end_headers()
                self.wfile.write(content)
        finally:
            gateway.close()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def a_round_robin(ports: Sequence[int]) -> Iterator[RoundRobin]:
    """Serve the proxy in a thread."""
    proxy = RoundRobin(ports)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(30)
