"""Errors as callers get them: a code, a page, a request id that is also in the log; and every one is reported."""

import ast
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Message, Scope
from structlog.testing import capture_logs

import gateway
from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from gateway.app import create_app
from gateway.problem_codes import BY_STATUS, KINDS, TYPE_BASE
from gateway.problems import problem_of
from gateway.tokens import issue
from projections.store import Store
from schemas.decoding.ids import message_id_or_blank
from schemas.errors import RequestError, StoreError, StoreRefused, TimedOut
from schemas.telemetry import Telemetry
from tests.application.test_errors import CODES
from tests.fakes import FakeKafka
from tests.gateway.building import a_send, a_token
from tests.gateway.test_webhooks import post, settings

HEADERS = ("request-id", "x-content-type-options", "cache-control")


def an_app(kafka: FakeKafka, telemetry: Telemetry, store: Store | None = None) -> FastAPI:
    return create_app(settings(), store or Store("http://127.0.0.1:1"), kafka, telemetry)


def a_client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def client(kafka: FakeKafka, telemetry: Telemetry) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client_of(an_app(kafka, telemetry)) as made:
        yield made


def counted(telemetry: Telemetry, of: str) -> float | None:
    return telemetry.registry.get_sample_value("sendledger_errors_total", {"of": of})


def failures(logged: Sequence[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in logged if line["event"] == "request.failed"]


def a_scope(method: str, path: str, headers: dict[str, str]) -> Scope:
    """A request as a server hands it over."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1),
        "scheme": "http",
    }


class Refusing(Store):
    """A store that refuses every statement."""

    def rows(self, sql: str, parameters: object = None) -> list[dict[str, Any]]:
        raise StoreRefused("ClickHouse refuses: Code: 62", "http://store:8123", "Mend the statement or the row")


class Defective(Store):
    """A store with a bug."""

    def rows(self, sql: str, parameters: object = None) -> list[dict[str, Any]]:
        raise ZeroDivisionError("a text that may hold what somebody wrote")


ASKED: list[tuple[str, str, dict[str, str], int, str]] = [
    ("GET", "/v1/nothing", {}, 404, "not-found"),
    ("GET", "/v1/sends", {}, 405, "method-not-allowed"),
    ("GET", "/v1/messages", {}, 401, "token-missing"),
    ("GET", "/v1/messages", {"Authorization": "Bearer a.b.c"}, 401, "token-invalid"),
    ("GET", "/v1/messages", a_token("acme"), 403, "role-not-allowed"),
    ("GET", "/v1/messages?colour=red", a_token("acme", role="viewer"), 400, "unknown-parameter"),
    ("GET", "/v1/messages?limit=1&limit=2", a_token("acme", role="viewer"), 400, "repeated-parameter"),
    ("GET", "/v1/messages?limit=0", a_token("acme", role="viewer"), 400, "invalid-parameter"),
    ("GET", "/v1/messages?account=globex", a_token("acme", role="viewer"), 404, "no-such-account"),
    ("GET", "/v1/messages", a_token("acme", "globex", role="viewer"), 400, "account-required"),
    ("GET", "/v1/messages", a_token("acme", role="viewer"), 503, "clickhouse-away"),
    ("POST", "/webhooks/sendgrid", {}, 401, "signature-invalid"),
    ("GET", "/readyz", {}, 503, "not-ready"),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "code"), ASKED)
async def test_a_problem_has_a_code_and_a_type_that_leads_to_its_page(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await client.request(method, path, headers=headers)
    said = answer.json()
    assert (answer.status_code, said["status"], said["code"]) == (status, status, code)
    assert said["request_id"] == answer.headers["request-id"]
    page = await client.get(said["type"])
    assert (page.status_code, f"id='{code}'" in page.text) == (200, True)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json", "/problems", "/nothing", "/readyz"])
async def test_every_answer_has_an_id_of_ours_and_the_headers_of_security(client: httpx.AsyncClient, path: str) -> None:
    first = await client.get(path, headers={"request-id": "theirs"})
    second = await client.get(path)
    assert all(name in first.headers for name in HEADERS)
    assert message_id_or_blank(first.headers["request-id"])
    assert first.headers["request-id"] != second.headers["request-id"]


async def test_a_bug_is_a_problem_and_one_log_line_and_is_counted(telemetry: Telemetry) -> None:
    app = an_app(FakeKafka(), telemetry, Defective("http://127.0.0.1:1"))
    async with a_client_of(app) as client:
        with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
            answer = await client.get("/v1/messages", headers=a_token("acme", role="viewer"))
    [line] = failures(logged)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert all(name in answer.headers for name in HEADERS)
    assert line["request_id"] == answer.headers["request-id"]
    assert (line["what"], line["route"]) == ("ZeroDivisionError", "/v1/messages")
    assert line["where"].startswith("tests/gateway/test_problems.py:")
    assert "somebody wrote" not in str(line) + answer.text
    assert counted(telemetry, "code") == 1


async def test_a_statement_refused_by_clickhouse_is_logged_and_counted(telemetry: Telemetry) -> None:
    app = an_app(FakeKafka(), telemetry, Refusing("http://127.0.0.1:1"))
    async with a_client_of(app) as client:
        with capture_logs() as logged:
            answer = await client.get("/v1/messages", headers=a_token("acme", role="viewer"))
    [line] = failures(logged)
    assert (answer.status_code, "8123" in answer.text) == (500, False)
    assert (line["what"], line["where"]) == ("ClickHouse refuses: Code: 62", "http://store:8123")
    assert counted(telemetry, "refused") == 1


async def test_a_503_is_in_the_log_once_and_counted(
    client: httpx.AsyncClient, kafka: FakeKafka, telemetry: Telemetry
) -> None:
    kafka.fails = True
    with capture_logs() as logged:
        assert (await post(client, b"[]")).status_code == 503
        assert (await client.post("/v1/sends", json=a_send(), headers=a_token())).status_code == 503
    assert [(line["code"], line["route"]) for line in failures(logged)] == [
        ("kafka-away", "/webhooks/sendgrid"),
        ("kafka-away", "/v1/sends"),
    ]
    assert all("does not acknowledge" in line["what"] for line in failures(logged))
    assert counted(telemetry, "kafka") == 2


async def test_a_client_that_disconnects_is_not_an_error(telemetry: Telemetry) -> None:
    app = an_app(FakeKafka(), telemetry)
    arriving: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"[", "more_body": True}, {"type": "http.disconnect"}]
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return next(arriving)

    async def send(message: Message) -> None:
        sent.append(message)

    with capture_logs() as logged:
        await app(a_scope("POST", "/v1/sends", a_token()), receive, send)
    assert (sent, failures(logged)) == ([], [])
    labels = {"route": "/v1/sends", "status": "499"}
    assert telemetry.registry.get_sample_value("sendledger_requests_total", labels) == 1


async def test_a_failed_stream_is_cut_off_and_logged(telemetry: Telemetry) -> None:
    app = an_app(FakeKafka(), telemetry)

    async def rows() -> AsyncIterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    @app.get("/breaks-off")
    async def breaking() -> StreamingResponse:
        return StreamingResponse(rows())

    async with a_client_of(app) as client:
        with capture_logs() as logged, pytest.raises(ZeroDivisionError):
            await client.get("/breaks-off")
    assert len(failures(logged)) == 1


async def test_an_export_that_loses_clickhouse_is_logged_as_a_clickhouse_error(telemetry: Telemetry) -> None:
    app = an_app(FakeKafka(), telemetry)

    async def rows() -> AsyncIterator[bytes]:
        yield b"a"
        raise StoreError("ClickHouse is away", "http://store:8123", "It is tried again")

    @app.get("/loses-its-store")
    async def losing() -> StreamingResponse:
        return StreamingResponse(rows())

    async with a_client_of(app) as client:
        with capture_logs() as logged, pytest.raises(RuntimeError):
            await client.get("/loses-its-store")
    [line] = failures(logged)
    assert (line["code"], line["what"]) == ("clickhouse-away", "ClickHouse is away")
    assert counted(telemetry, "clickhouse") == 1


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/suppressions", "GET, HEAD, POST"),
        ("PATCH", "/v1/messages", "GET, HEAD"),
        ("HEAD", "/v1/sends", "POST"),
        ("OPTIONS", "/webhooks/twilio", "POST"),
    ],
)
async def test_405_names_every_method_of_the_path(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json", "/readyz", "/v1/messages", "/nothing"])
async def test_head_is_answered_as_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_of_a_stream_does_not_make_the_stream(telemetry: Telemetry) -> None:
    app = an_app(FakeKafka(), telemetry)
    made: list[int] = []

    async def rows() -> AsyncIterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"row"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(rows())

    async with a_client_of(app) as client:
        assert (await client.head("/stream")).status_code == 200
    assert len(made) < 1000


@pytest.mark.parametrize("path", ["/v1/messages/", "/healthz/"])
async def test_a_trailing_slash_is_no_redirect(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, "location" in answer.headers) == (404, False)


EXPIRED = issue("x" * 40, subject="a", role="viewer", accounts=["acme"], expires_in=-1)
FORGED = issue("y" * 40, subject="a", role="viewer", accounts=["acme"])
GOOD = issue("x" * 40, subject="a", role="viewer", accounts=["acme"])


@pytest.mark.parametrize(
    ("header", "challenge", "words"),
    [
        (None, "Bearer", "Authorization: Bearer TOKEN"),
        ("", "Bearer", "Authorization: Bearer TOKEN"),
        ("Basic YTpi", "Bearer", "is not Bearer"),
        (GOOD, 'Bearer error="invalid_token"', "The word `Bearer` is missing"),
        ("Bearer", 'Bearer error="invalid_token"', "The token is missing"),
        (f"Bearer {EXPIRED}", 'Bearer error="invalid_token"', "expired"),
        (f"Bearer {FORGED}", 'Bearer error="invalid_token"', "another secret"),
        ("Bearer nonsense", 'Bearer error="invalid_token"', "not a token of sendledger"),
    ],
)
async def test_401_says_what_is_wrong_with_the_token(
    client: httpx.AsyncClient, header: str | None, challenge: str, words: str
) -> None:
    answer = await client.get("/v1/messages", headers={} if header is None else {"Authorization": header})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    assert words in answer.json()["detail"]
    assert "Error" not in answer.json()["detail"]


def test_the_number_of_listed_faults_is_limited() -> None:
    said = FieldsInvalid([ValidationFault("to", "must be text", {"index": n}) for n in range(5_000)])
    assert len(said.more["errors"]) == MAX_FAULTS


def raised() -> Iterator[tuple[str, object]]:
    """Where a problem is made, and of which code."""
    for path in sorted(Path(gateway.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield f"{path.name}:{node.lineno}", first.value


@pytest.mark.parametrize(("where", "code"), list(raised()))
def test_every_problem_that_is_raised_is_in_the_catalogue(where: str, code: object) -> None:
    assert code in KINDS, where


def test_codes_are_words_and_types_lead_to_them() -> None:
    assert {kind.type for kind in KINDS.values()} == {TYPE_BASE + code for code in KINDS}
    assert all(code == code.lower() and " " not in code for code in KINDS)
    assert {KINDS[code].status for code in BY_STATUS.values()} == BY_STATUS.keys()


@pytest.mark.parametrize(
    ("public_url", "path"), [("", ""), ("https://x.example/", ""), ("https://x.example/a/b/", "/a/b")]
)
async def test_the_type_is_where_the_public_url_has_the_page(public_url: str, path: str) -> None:
    app = create_app(
        settings(public_url=public_url, insecure_webhooks=True), Store("http://127.0.0.1:1"), FakeKafka(), Telemetry()
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as client:
        assert (await client.get("/v1/messages")).json()["type"] == f"{path}/problems#token-missing"
        assert (await client.get("/openapi.json")).json()["servers"][0]["url"] == f"{path}/"


@pytest.mark.parametrize("subject", ["", "  ", "a\n", "a\0", pytest.param("\ud800", id="a surrogate"), "x" * 321])
def test_a_subject_is_printable(subject: str) -> None:
    with pytest.raises(RequestError) as raised:
        issue("x" * 40, subject=subject, role="viewer", accounts=["acme"])
    assert raised.value.where == "subject"


def test_a_subject_may_be_as_long_as_an_address() -> None:
    assert issue("x" * 40, subject="ü" * 320, role="viewer", accounts=["acme"])


def test_every_code_of_the_application_is_a_problem_of_the_caller() -> None:
    assert KINDS.keys() >= CODES
    assert {problem_of(RequestError("what", "where", "mend", code=code)).status // 100 for code in CODES} == {4}


def test_an_error_of_the_application_is_answered_with_what_it_says_and_no_more() -> None:
    problem = problem_of(
        RequestError("No such account", "inside", "secret", code="no-such-account", more={"items": []})
    )
    assert (problem.status, problem.detail, problem.more) == (404, "No such account", {"items": []})


def test_a_request_whose_time_was_up_may_be_sent_again() -> None:
    problem = problem_of(TimedOut("Too late", "inside", "again"))
    assert (problem.status, problem.kind.code, problem.headers) == (503, "timed-out", {"Retry-After": "5"})
