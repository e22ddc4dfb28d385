"""The API: who may see what, what is refused, and the form of errors."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app
from gateway.tokens import issue
from projections.messages.columns import events_table, state_table
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.settings import GatewaySettings, read
from schemas.telemetry import Telemetry
from tests.building import an_event
from tests.fakes import FakeKafka
from tests.gateway.building import without_request_id
from tests.gateway.conforming import HOOKS
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

SECRET = "a secret of this test, and of no other place"
NOW_US = time.time_ns() // 1_000_000 * 1000


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        events = [
            an_event(
                "bounced" if n % 3 == 0 else "delivered",
                account_id=account,
                message_id=uuid7(NOW_US - n // 2 * 1000, n.to_bytes(10, "big")),
                address=f"user{n}@example.com",
                natural_us=n,
            )
            for account in ("acme", "globex")
            for n in range(60)
        ]
        store.insert("events", events_table(events))
        store.insert("message_state", state_table(events_table(events)))
        yield store


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    settings = read(
        GatewaySettings,
        token_secret=SECRET,
        kafka_bootstrap="127.0.0.1:1",
        clickhouse_url="http://127.0.0.1:1",
        client_url="https://app.example.com/{account_id}/clients/{client_id}",
    )
    return create_app(settings, store, FakeKafka(), Telemetry())


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", event_hooks=HOOKS
    ) as client:
        yield client


def token(*accounts: str, role: str = "viewer", secret: str = SECRET, expires_in: int | None = None) -> dict[str, str]:
    made = issue(secret, subject="test", role=role, accounts=list(accounts), expires_in=expires_in)
    return {"Authorization": f"Bearer {made}"}


async def get(api: httpx.AsyncClient, path: str, headers: Mapping[str, str], **query: Any) -> httpx.Response:
    return await api.get(path, headers=headers, params=query)


async def test_pages_neither_repeat_nor_skip_a_row(api: httpx.AsyncClient) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 7}
    while True:
        page = (await get(api, "/v1/messages", token("acme"), **query)).json()
        seen += [item["email_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert len(seen) == len(set(seen)) == 60


async def test_the_newest_comes_first(api: httpx.AsyncClient) -> None:
    items = (await get(api, "/v1/messages", token("acme"))).json()["items"]
    assert [i["date_sent"] for i in items] == sorted((i["date_sent"] for i in items), reverse=True)


async def test_a_status_may_be_repeated_and_its_case_does_not_count(api: httpx.AsyncClient) -> None:
    items = (await get(api, "/v1/messages", token("acme"), status=["bounced", "DROPPED"], limit=500)).json()["items"]
    assert (len(items), {i["status"] for i in items}) == (20, {"Bounced"})


async def test_from_is_included_and_to_is_not(api: httpx.AsyncClient) -> None:
    newest = (await get(api, "/v1/messages", token("acme"))).json()["items"][0]["date_sent"]
    after = (await get(api, "/v1/messages", token("acme"), **{"from": newest})).json()["items"]
    before = (await get(api, "/v1/messages", token("acme"), to=newest, limit=500)).json()["items"]
    assert (len(after), len(before)) == (2, 58)


async def test_one_message_and_its_timeline(api: httpx.AsyncClient) -> None:
    item = (await get(api, "/v1/messages", token("acme"), limit=1)).json()["items"][0]
    one = await get(api, f"/v1/messages/{item['email_id'].upper()}", token("acme"))
    timeline = (await get(api, f"/v1/messages/{item['email_id']}/events", token("acme"))).json()
    assert one.json() == item
    assert (len(timeline["items"]), timeline["next"]) == (1, None)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Basic abc"}, id="another scheme"),
        pytest.param({"Authorization": "Bearer a.b.c"}, id="no token"),
        pytest.param(token("acme", secret="another secret, as long as that one is"), id="forged"),
        pytest.param(token("acme", expires_in=-1), id="past its time"),
    ],
)
async def test_a_request_without_a_valid_token_gets_401(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await get(api, "/v1/messages", headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


async def test_a_publisher_reads_no_log(api: httpx.AsyncClient) -> None:
    assert (await get(api, "/v1/messages", token("acme", role="publisher"))).status_code == 403


async def test_another_account_answers_as_one_that_does_not_exist(api: httpx.AsyncClient) -> None:
    there = await get(api, "/v1/messages", token("acme"), account="globex")
    nowhere = await get(api, "/v1/messages", token("acme"), account="nobody")
    assert there.status_code == nowhere.status_code == 404
    assert without_request_id(there) == without_request_id(nowhere)


async def test_a_message_of_another_account_is_answered_like_none(api: httpx.AsyncClient, store: Store) -> None:
    event = an_event(account_id="initech", message_id=uuid7(NOW_US - 10**9, uuid4().bytes))
    store.insert("message_state", state_table(events_table([event])))
    assert (await get(api, f"/v1/messages/{event.message_id}", token("initech"))).status_code == 200
    theirs = await get(api, f"/v1/messages/{event.message_id}", token("acme"))
    none = await get(api, f"/v1/messages/{uuid7(NOW_US, uuid4().bytes)}", token("acme"))
    assert theirs.status_code == none.status_code == 404
    assert theirs.json()["detail"] == none.json()["detail"]


async def test_a_token_of_several_accounts_must_name_one(api: httpx.AsyncClient) -> None:
    both = token("acme", "globex")
    assert (await get(api, "/v1/messages", both)).status_code == 400
    assert len((await get(api, "/v1/messages", both, account="acme", limit=500)).json()["items"]) == 60
    assert len((await get(api, "/v1/messages", both, account="*", limit=500)).json()["items"]) == 120


async def test_an_id_that_two_accounts_share_asks_for_the_account(api: httpx.AsyncClient) -> None:
    shared = uuid7(NOW_US, (0).to_bytes(10, "big"))
    assert (await get(api, f"/v1/messages/{shared}", token("*"))).status_code == 400
    assert (await get(api, f"/v1/messages/{shared}", token("*"), account="acme")).json()["account_id"] == "acme"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"statuss": "Bounced"}, "statuss"),
        ({"status": "Lost"}, "status"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"email_id": "1"}, "email_id"),
        ({"address": "no address"}, "address"),
        ({"address": "x'; DROP TABLE events; --@example.com"}, "address"),
        ({"address": "415 555 0100"}, "address"),
        ({"address": "x" * 321}, "address"),
        ({"address": ["ann@example.com", "bob@example.com"]}, "address"),
        ({"from": ["2026-11-24", "2026-11-25"]}, "from"),
        ({"from": "2026-11-25", "to": "2026-11-24"}, "from"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
    ],
)
async def test_an_invalid_parameter_is_refused_by_name(
    api: httpx.AsyncClient, query: dict[str, str], named: str
) -> None:
    answer = await get(api, "/v1/messages", token("acme"), **query)
    assert answer.status_code == 400
    assert named in answer.json()["detail"]


async def test_an_unknown_path_is_a_problem(api: httpx.AsyncClient) -> None:
    answer = await get(api, "/v1/nothing", token("acme"))
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json"])
async def test_health_needs_no_token(api: httpx.AsyncClient, path: str) -> None:
    assert (await get(api, path, {})).status_code == 200


async def test_hostile_text_is_passed_as_a_parameter_and_never_executed(api: httpx.AsyncClient) -> None:
    hostile = "x'--{account:String}@example.com".replace(":", "")
    answer = await get(api, "/v1/messages", token("acme"), address=hostile)
    assert (answer.status_code, answer.json()["items"]) == (200, [])


@pytest.mark.parametrize("events", ["", "/events"])
async def test_a_blank_account_is_not_all_accounts(api: httpx.AsyncClient, events: str) -> None:
    known = uuid7(NOW_US, (0).to_bytes(10, "big"))
    answer = await get(api, f"/v1/messages/{known}{events}", token("acme"), account="")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-account")


async def test_the_pages_of_a_timeline_neither_repeat_nor_skip_an_event(api: httpx.AsyncClient, store: Store) -> None:
    account, known = "paged", uuid7(NOW_US, b"timeline00")
    found = [
        an_event(
            "opened",
            account_id=account,
            message_id=known,
            natural_us=n,
            occurred_us=NOW_US + n // 4,
            received_us=NOW_US + n // 2,
        )
        for n in range(11)
    ]
    store.insert("events", events_table(found))
    store.insert("message_state", state_table(events_table(found)))
    path = f"/v1/messages/{known}/events"
    whole = (await get(api, path, token(account))).json()
    assert (len(whole["items"]), whole["next"]) == (11, None)
    paged: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await get(api, path, token(account), limit=3, **cursor)).json()
        paged += page["items"]
        if page["next"] is None:
            break
        assert len(page["items"]) == 3
        cursor = {"cursor": page["next"]}
    assert paged == whole["items"]
    assert (await get(api, path, token(account), cursor="AAAA")).json()["code"] == "invalid-cursor"
