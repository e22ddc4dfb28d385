"""The health check of a container: 0 for an answer of 200 with the wanted line, otherwise 1."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from deploy.image.healthcheck import main

BODY = b'# HELP sendledger_up 1 while the program is ready.\nsendledger_up{program="gate"} 1.0\n'


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 503)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "start", "code"),
    [
        pytest.param("/metrics", None, 0, id="it answers"),
        pytest.param("/metrics", "sendledger_up{", 0, id="it has the line"),
        pytest.param("/metrics", "sendledger_lag", 1, id="it has no such line"),
        pytest.param("/readyz", None, 1, id="it answers 503"),
    ],
)
def test_the_exit_code_says_whether_it_is_well(server: str, path: str, start: str | None, code: int) -> None:
    assert main([server + path, *(() if start is None else ("--line-starts-with", start))]) == code


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/healthz", "file:///etc/hostname", "http://", "127.0.0.1:8480"])
def test_what_does_not_answer_is_not_well(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url]) == 1
    assert capsys.readouterr().err.startswith(url), "it says what is wrong"


def test_a_proxy_of_the_environment_is_not_asked(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert main([f"{server}/metrics"]) == 0
