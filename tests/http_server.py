"""An HTTP server for tests: it answers in the place of a gateway, of a ClickHouse, or with metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["serving"]


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Yield the port of a server that runs while the block does. It logs nothing."""
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})  # how long a shutdown waits
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
