"""Every route: who may call it, and how it refuses."""

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from gateway.tokens import ROLES
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token
from tests.gateway.conforming import document

DOCUMENT = document()
READ = {"viewer", "support", "operator"}
CLOSE = {"support", "operator"}
ALLOWED = {
    "POST /v1/sends": {"publisher", "operator"},
    "GET /v1/messages": READ,
    "GET /v1/messages/facets": READ,
    "GET /v1/messages/export": READ,
    "GET /v1/messages/{email_id}": READ,
    "GET /v1/messages/{email_id}/events": READ,
    "GET /v1/messages/{email_id}/events/{event_id}/raw": {"operator"},
    "GET /v1/messages/{email_id}/preview": READ,
    "GET /v1/messages/{email_id}/explain": READ,
    "GET /v1/stats/delivery": READ,
    "GET /v1/weather": {"operator"},
    "GET /v1/dead-letters": {"operator"},
    "GET /v1/dead-letters/{letter}": {"operator"},
    "POST /v1/dead-letters/redrive": {"operator"},
    "POST /v1/dead-letters/discard": {"operator"},
    "GET /v1/bulk-releases": {"operator"},
    "POST /v1/bulk-releases": {"operator"},
    "POST /v1/bulk-releases/{id}/undo": {"operator"},
    "GET /v1/bulk-releases/{id}/refused": {"operator"},
    "GET /v1/bulk-releases/{id}/refused/export": {"operator"},
    "GET /v1/accounts": READ,
    "GET /v1/bounces": READ,
    "GET /v1/bounces/export": READ,
    "GET /v1/suppressions": READ,
    "GET /v1/suppressions/export": READ,
    "GET /v1/suppressions/{channel}/{address}": READ,
    "GET /v1/accounts/{account_id}/policy": READ,
    "GET /v1/accounts/{account_id}/recipients/{recipient_kind}/{recipient_id}/preference": {*READ, "publisher"},
    "PUT /v1/accounts/{account_id}/policy": {"operator"},
    "PUT /v1/accounts/{account_id}/recipients/{recipient_kind}/{recipient_id}/preference": {"publisher", "operator"},
    "POST /v1/suppressions": CLOSE,
    "POST /v1/suppressions/release": CLOSE,
    "POST /v1/suppressions/opt-in": CLOSE,
    "POST /v1/suppressions/import": CLOSE,
}

OF_ALL_ACCOUNTS = {"GET /v1/weather", *(route for route in ALLOWED if "/v1/dead-letters" in route)}
"""Routes that take only a token of all accounts."""


def routes() -> Iterator[str]:
    for path, methods in DOCUMENT["paths"].items():
        for method in methods:
            if path.startswith("/v1/"):
                yield f"{method.upper()} {path}"


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(FakeKafka(), {}) as made:
        yield made


async def call(client: httpx.AsyncClient, route: str, headers: dict[str, str], query: str = "") -> httpx.Response:
    method, path = route.split(" ")
    return await client.request(
        method, re.sub(r"\{\w+\}", "acme", path.replace("{recipient_kind}", "client")) + query, headers=headers
    )


def test_every_route_has_its_roles() -> None:
    assert set(routes()) == ALLOWED.keys()


@pytest.mark.parametrize("route", ALLOWED)
def test_the_document_names_the_roles(route: str) -> None:
    method, path = route.split(" ")
    assert set(DOCUMENT["paths"][path][method.lower()]["x-roles"]) == ALLOWED[route]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ALLOWED)
async def test_a_route_takes_its_roles_and_no_other(client: httpx.AsyncClient, route: str, role: str) -> None:
    answer = await call(client, route, a_token("*" if route in OF_ALL_ACCOUNTS else "acme", role=role))
    assert (answer.status_code != 403) == (role in ALLOWED[route])
    assert answer.status_code >= 400  # nobody has said what to send or to close, and no store is there to read
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("route", ALLOWED)
async def test_a_request_without_a_token_gets_401(client: httpx.AsyncClient, route: str) -> None:
    answer = await call(client, route, {})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ALLOWED)
async def test_an_unknown_parameter_is_refused_by_name(client: httpx.AsyncClient, route: str) -> None:
    answer = await call(client, route, a_token("acme", role="operator"), "?colour=red")
    assert (answer.status_code, "`colour`" in answer.json()["detail"]) == (400, True)


async def test_without_a_token_nothing_is_revealed_about_parameters() -> None:
    async with a_caller(FakeKafka(), {}) as client:
        answer = await client.get("/v1/messages?wrong=1&limit=many")
    assert answer.status_code == 401


async def test_the_role_is_checked_before_the_parameters() -> None:
    async with a_caller(FakeKafka(), a_token("acme", role="publisher")) as client:
        answer = await client.get("/v1/messages?wrong=1")
    assert answer.status_code == 403
