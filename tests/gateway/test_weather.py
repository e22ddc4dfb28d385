"""`GET /v1/weather` on the real engine."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from projections.store import Store
from tests.gateway.building import a_caller, a_token
from tests.gateway.test_webhooks import FakeKafka
from tests.stores import fresh_store
from tests.weather.building import DELAY_SECONDS, write_delivered_silence, write_traffic

pytestmark = pytest.mark.clickhouse

OPERATOR = a_token("*", role="operator")
HOSTILE = "x'); DROP TABLE arrivals; --\x00<script>"


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        now_us = time.time_ns() // 1000
        write_delivered_silence(store, now_us)
        write_traffic(store, now_us, HOSTILE, HOSTILE, each_minute=1, first_offset=10_000_000)
        yield store


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(FakeKafka(), OPERATOR, store) as made:
        yield made


async def weather(client: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/weather{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_each_type_has_its_measures_beside_those_of_the_day_before(client: httpx.AsyncClient) -> None:
    found = await weather(client)
    rows = {(item["provider"], item["type"]): item for item in found["items"]}
    assert rows.keys() == {
        ("sendgrid", "processed"), ("sendgrid", "delivered"), ("twilio", "sent"), (HOSTILE, HOSTILE)
    }  # fmt: skip
    processed, delivered = rows["sendgrid", "processed"]["now"], rows["sendgrid", "delivered"]["now"]
    assert processed["received"] == rows["sendgrid", "processed"]["day_before"]["received"] == 150
    assert delivered["received"] < 150 == rows["sendgrid", "delivered"]["day_before"]["received"]
    assert processed["duplicate_factor"] == 1.0
    assert processed["delay_p50_seconds"] == processed["delay_p95_seconds"] == DELAY_SECONDS


async def test_a_silence_is_reported_and_nobody_is_blamed_without_kafka(client: httpx.AsyncClient) -> None:
    [found] = (await weather(client))["silences"]
    assert (found["provider"], found["type"], found["goes_on"]) == ("sendgrid", "delivered", "processed")
    assert (found["likely"], found["cause"]) == ("unclear", "evidence_missing")
    # The gateway knows what it refused itself.
    assert found["because"].endswith("could not be read: webhooks that the ledger has not read, dead letters")


async def test_a_gateway_counts_what_it_refused(store: Store) -> None:
    async with a_caller(FakeKafka(), OPERATOR, store) as client:
        for _ in range(3):
            assert (await client.post("/webhooks/sendgrid", content=b"[]")).status_code == 401
        found = await weather(client)
    [_, sendgrid, _] = found["providers"]
    assert (sendgrid["provider"], sendgrid["signature_failures"]) == ("sendgrid", 3)
    assert sendgrid["signature_failed_at"]
    [silence] = found["silences"]
    assert (silence["likely"], silence["cause"]) == ("sendledger", "refused_signatures")


@pytest.mark.parametrize("minutes", [1, 15, 60])
async def test_the_minutes_can_be_chosen(client: httpx.AsyncClient, minutes: int) -> None:
    rows = {(item["provider"], item["type"]): item for item in (await weather(client, f"?minutes={minutes}"))["items"]}
    received = rows["twilio", "sent"]["now"]["received"]
    assert received == minutes * 10


@pytest.mark.parametrize("minutes", ["0", "61", "x", "1.5", "-3", ""])
async def test_other_minutes_are_refused(client: httpx.AsyncClient, minutes: str) -> None:
    answer = await client.get(f"/v1/weather?minutes={minutes}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")


@pytest.mark.parametrize("accounts", [["acme"], ["acme", "globex"]])
async def test_a_token_of_some_accounts_is_refused(store: Store, accounts: list[str]) -> None:
    async with a_caller(FakeKafka(), a_token(*accounts, role="operator"), store) as client:
        answer = await client.get("/v1/weather")
    assert (answer.status_code, answer.json()["code"]) == (403, "role-not-allowed")


async def test_an_unavailable_clickhouse_is_said() -> None:
    async with a_caller(FakeKafka(), OPERATOR) as client:
        answer = await client.get("/v1/weather")
    assert (answer.status_code, answer.json()["code"]) == (503, "clickhouse-away")
