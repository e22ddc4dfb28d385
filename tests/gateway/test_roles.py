"""Every route: who may call it, how it refuses, and that OpenAPI describes what it reads."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.tokens import ROLES
from projections.store import Store
from schemas.telemetry import Telemetry
from tests.gateway.building import a_caller, a_token
from tests.gateway.test_webhooks import FakeKafka, settings

DOCUMENT: dict[str, Any] = create_app(settings(), Store("http://127.0.0.1:1"), FakeKafka(), Telemetry()).openapi()
READ = {"viewer", "support", "operator"}
CLOSE = {"support", "operator"}
ALLOWED = {
    "POST /v1/sends": {"publisher", "operator"},
    "GET /v1/messages": READ,
    "GET /v1/messages/{email_id}": READ,
    "GET /v1/messages/{email_id}/events": READ,
    "GET /v1/accounts": READ,
    "GET /v1/bounces": READ,
    "GET /v1/bounces/export": READ,
    "GET /v1/suppressions": READ,
    "GET /v1/suppressions/export": READ,
    "GET /v1/suppressions/{channel}/{address}": READ,
    "PUT /v1/accounts/{account_id}/policy": {"operator"},
    "PUT /v1/accounts/{account_id}/recipients/{recipient_kind}/{recipient_id}/preference": {"publisher", "operator"},
    "POST /v1/suppressions": CLOSE,
    "POST /v1/suppressions/release": CLOSE,
    "POST /v1/suppressions/opt-in": CLOSE,
    "POST /v1/suppressions/import": CLOSE,
}


def routes() -> Iterator[str]:
    for path, methods in DOCUMENT["paths"].items():
        for method in methods:
            if path.startswith("/v1/"):
                yield f"{method.upper()} {path}"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(FakeKafka(), {}) as made:
        yield made


async def call(client: httpx.AsyncClient, route: str, headers: dict[str, str], query: str = "") -> httpx.Response:
    method, path = route.split(" ")
    return await client.request(method, re.sub(r"\{\w+\}", "acme", path) + query, headers=headers)


def test_every_route_has_its_roles() -> None:
    assert set(routes()) == ALLOWED.keys()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ALLOWED)
async def test_a_route_takes_its_roles_and_no_other(client: httpx.AsyncClient, route: str, role: str) -> None:
    answer = await call(client, route, a_token("acme", role=role))
    assert (answer.status_code != 403) == (role in ALLOWED[route])
    assert answer.status_code >= 400  # nobody has said what to send or to close, and no store is there to read
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("route", ALLOWED)
async def test_who_shows_no_token_gets_401(client: httpx.AsyncClient, route: str) -> None:
    answer = await call(client, route, {})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ALLOWED)
async def test_an_unknown_parameter_is_refused_by_name(client: httpx.AsyncClient, route: str) -> None:
    answer = await call(client, route, a_token("acme", role="operator"), "?colour=red")
    assert (answer.status_code, "`colour`" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("route", [route for route in ALLOWED if not route.startswith("GET ")])
def test_openapi_describes_what_is_read_and_answered(route: str) -> None:
    method, path = route.split(" ")
    said = DOCUMENT["paths"][path][method.lower()]
    assert said["description"]
    assert said["requestBody"]["content"]
    assert {"202", "401", "403", "404", "413", "422", "503"} <= said["responses"].keys()


def test_every_reference_of_openapi_leads_somewhere() -> None:
    assert [pointer for pointer in references(DOCUMENT) if not resolves(pointer)] == []


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)


def resolves(pointer: str) -> bool:
    found: Any = DOCUMENT
    for name in pointer.removeprefix("#/").split("/"):
        if name not in found:
            return False
        found = found[name]
    return True
