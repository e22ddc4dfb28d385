"""How `sendledger gateway` ends if it can't start, and its message; and what `/readyz` checks."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from gateway.health import Readiness
from gateway.server import _listening, _look_at
from projections.store import Store
from schemas.errors import ConfigError, StoreError
from tests.fakes import FakeKafka
from tests.gateway.test_isolation import a_client
from tests.operating.commands import Ended, sendledger

AWAY = "127.0.0.1:1"


async def a_gateway_that_ends(folder: Path, **said: str) -> Ended:
    given = {
        "TOKEN_SECRET": "x" * 40,
        "KAFKA_BOOTSTRAP": AWAY,
        "CLICKHOUSE_URL": f"http://{AWAY}",
        "PORT": str(a_free_port()),
    }
    env = {f"SENDLEDGER_{name}": value for name, value in (given | said).items()}
    return await sendledger("gateway", env=env, folder=folder)


async def test_the_head_of_an_answer_does_not_keep_its_body_waiting() -> None:
    """With Nagle's algorithm the body waits until the client has acknowledged the head: 40 ms per response."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken = transport.get_extra_info("socket")
            accepted.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    [listening] = _listening("127.0.0.1", a_free_port())
    async with await asyncio.get_running_loop().create_server(Accepting, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        assert await accepted
        writer.close()


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port: int = opened.getsockname()[1]
        return port


@pytest.mark.process
async def test_an_unreachable_kafka_ends_it_with_4_and_an_error_message(tmp_path: Path) -> None:
    ended = await a_gateway_that_ends(tmp_path)
    assert ended.code == 4
    assert "error: Kafka does not answer" in ended.err
    assert f"where: {AWAY}" in ended.err
    assert "mend:" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.process
@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param({"PORT": "taken"}, "SENDLEDGER_PORT", id="the port is taken"),
        pytest.param({"HOST": "192.0.2.1"}, "SENDLEDGER_HOST", id="no address of this machine"),
        pytest.param({"TWILIO_AUTH_TOKENS": "a-token"}, "SENDLEDGER_PUBLIC_URL", id="Twilio without its URL"),
        pytest.param({"CLICKHOUSE_URL": "nonsense"}, "SENDLEDGER_CLICKHOUSE_URL", id="no URL of ClickHouse"),
    ],
)
async def test_a_configuration_error_ends_it_with_3(tmp_path: Path, said: dict[str, str], words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await a_gateway_that_ends(tmp_path, **{n: port if v == "taken" else v for n, v in said.items()})
    assert (ended.code, words in ended.err, "Traceback" in ended.err) == (3, True, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_it_listens_on_every_address_of_its_host(host: str) -> None:
    port = a_free_port()
    sockets = _listening(host, port)
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(ConfigError, match=str(port)):
            _listening(host, port)
    finally:
        for one in sockets:
            one.close()


@pytest.mark.clickhouse
@pytest.mark.parametrize("user", ["nobody:secret", "default:another"])
def test_a_wrong_password_is_configuration(clickhouse_url: str, user: str) -> None:
    parts = urlsplit(clickhouse_url)
    store = Store(f"{parts.scheme}://{user}@{parts.hostname}:{parts.port}")
    with pytest.raises(ConfigError, match="CLICKHOUSE_URL") as caught:
        _look_at(store)
    assert "secret" not in str(caught.value)


@pytest.mark.clickhouse
def test_the_server_ends_a_query_that_takes_too_long(clickhouse_url: str) -> None:
    store = Store(clickhouse_url, database="default", max_execution_seconds=5)
    assert store.tuples("SELECT getSetting('max_execution_time')") == [(5,)]
    assert Store(clickhouse_url, database="default").tuples("SELECT getSetting('max_execution_time')") == [(0,)]


def test_an_unreachable_clickhouse_is_only_logged() -> None:
    with capture_logs() as logged:
        _look_at(Store(f"http://{AWAY}"))
    assert [line["event"] for line in logged] == ["clickhouse.away"]


class RequestMiddleware(Store):
    """A store that answers, is unavailable, or hangs."""

    def __init__(self) -> None:
        super().__init__(f"http://{AWAY}")
        self.away = False
        self.pings = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def ping(self) -> None:
        self.pings += 1
        self.go_on.wait()
        if self.away:
            raise StoreError("away", "here", "none")


@pytest.mark.parametrize(
    ("store", "kafka", "said"),
    [
        pytest.param({}, {}, None, id="both answer"),
        pytest.param({"away": True}, {}, "ClickHouse can't be reached", id="ClickHouse"),
        pytest.param({}, {"fails": True}, "Kafka can't be reached", id="Kafka"),
        pytest.param({}, {"healthy": False}, "Kafka can't be reached", id="a producer that is dead"),
        pytest.param({"away": True}, {"fails": True}, "ClickHouse and Kafka can't be reached", id="both"),
    ],
)
async def test_ready_means_kafka_and_clickhouse_answer(
    store: dict[str, Any], kafka: dict[str, Any], said: str | None
) -> None:
    fake_store, fake_kafka = RequestMiddleware(), FakeKafka()
    vars(fake_store).update(store)
    vars(fake_kafka).update(kafka)
    async with a_client(fake_store, fake_kafka) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json().get("detail")) == ((503, said) if said else (200, None))


async def test_a_hanging_store_is_pinged_once_for_all_callers() -> None:
    store = RequestMiddleware()
    store.go_on.clear()
    readiness = Readiness(store, FakeKafka(), within_seconds=0.05)
    for _ in range(3):
        answers = await asyncio.gather(*(readiness.unreachable() for _ in range(20)))
        assert answers == [["ClickHouse"]] * 20
    assert store.pings == 1
    store.go_on.set()
    readiness.close()
