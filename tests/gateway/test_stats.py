"""Delivery statistics: counts and rates of groups, compared with the rows that they count."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from projections.messages.columns import events_table, state_table
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.decoding.times import DAY_US
from tests.building import a_decision, a_request, an_event
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

NOW_US = time.time_ns() // 1000
STORIES: list[tuple[str, str, int, list[str], str]] = [
    ("acme", "t1", 1, ["processed", "delivered", "opened", "clicked"], "approved"),
    ("acme", "t1", 1, ["processed", "delivered", "opened"], "approved"),
    ("acme", "t1", 1, ["processed", "delivered", "complained"], "approved"),
    ("acme", "t2", 1, ["processed", "bounced"], "approved"),
    ("acme", "t2", 2, ["processed", "delivered", "bounced"], "approved"),
    ("acme", "t2", 2, ["processed", "dropped"], "approved"),
    ("acme", "t2", 2, ["processed"], "approved"),
    ("acme", "t2", 2, [], "approved"),
    ("acme", "t2", 2, [], "suppressed"),
    ("acme", "t2", 20, ["delivered"], "approved"),
    ("globex", "t1", 1, ["delivered"], "approved"),
    ("*", "t1", 1, ["subscription_changed"], "approved"),
]
"""Account, template, days ago, events, decision."""


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        for account, template, days, types, outcome in STORIES:
            message_id = uuid7(NOW_US - days * DAY_US, uuid4().bytes)
            ids = {"account_id": account, "message_id": message_id}
            request = a_request(**ids, template_id=template, template_name=template.upper(), to="ann@example.com")
            events = events_table([an_event(type_, **ids, address="ann@example.com") for type_ in types])
            store.insert("events", events)
            decision = a_decision(**ids, request=request, outcome=outcome)
            store.insert("message_state", state_table(events, requests=[request], decisions=[decision]))
        yield store


async def stats(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get("/v1/stats/delivery", params=query)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def test_counts_and_rates_of_the_last_seven_days(client: httpx.AsyncClient) -> None:
    total = (await stats(client))["total"]
    counts = {name: value for name, value in total.items() if isinstance(value, int)}
    assert counts == {
        "messages": 9, "refused": 1, "pending": 1, "sent": 7, "processed": 1, "delivered": 3, "bounced": 2,
        "dropped": 1, "opened": 2, "clicked": 1, "complained": 1,
    }  # fmt: skip
    assert counts["sent"] == sum(counts[name] for name in ("processed", "delivered", "bounced", "dropped"))
    assert total["delivery_rate"] == {"rate": 0.428571, "count": 3, "of": 7}
    assert total["open_rate"] == {"rate": 0.666667, "count": 2, "of": 3}


async def test_groups_sum_to_the_total_and_by_day_is_the_default(client: httpx.AsyncClient) -> None:
    said = await stats(client)
    assert [set(item) & {"day", "hour", "template"} for item in said["items"]] == [{"day"}, {"day"}]
    assert [item["messages"] for item in said["items"]] == [5, 4]
    assert said["next"] is None


async def test_groups_of_several_things(client: httpx.AsyncClient) -> None:
    said = await stats(client, group_by=["template", "domain", "channel", "provider", "hour"])
    by_template: Counter[str] = Counter()
    for item in said["items"]:
        assert (item["domain"], item["channel"], item["template_name"]) == (
            "example.com",
            "email",
            item["template"].upper(),
        )
        by_template[item["template"]] += item["messages"]
    assert by_template == {"t1": 3, "t2": 6}


async def test_a_rate_of_zero_messages_is_null(client: httpx.AsyncClient) -> None:
    said = await stats(client, **{"from": "2020-01-01", "to": "2020-01-02"})
    assert said["items"] == []
    assert said["total"]["bounce_rate"] == {"rate": None, "count": 0, "of": 0}
    assert (said["from"], said["to"]) == ("2020-01-01T00:00:00.000000Z", "2020-01-02T00:00:00.000000Z")


async def test_a_missing_end_of_the_period_follows_from_the_other(client: httpx.AsyncClient) -> None:
    said = await stats(client, to="2020-01-08")
    assert said["from"] == "2020-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    "query", [{"group_by": "status"}, {"from": "x"}, {"from": "2026-01-02", "to": "2026-01-01"}, {"cursor": "x"}]
)
async def test_an_invalid_parameter_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await client.get("/v1/stats/delivery", params=query)
    assert answer.status_code == 400, answer.text
    assert next(iter(query)) in answer.json()["detail"]


async def test_another_account_is_answered_like_none(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/v1/stats/delivery", params={"account": name}) for name in ("globex", "nobody")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"].replace("globex", "nobody") == answers[1].json()["detail"]


async def test_rows_without_an_account_are_not_counted(store: Store) -> None:
    async with a_caller(FakeKafka(), a_token("*", role="viewer"), store) as client:
        assert (await stats(client, account="*"))["total"]["messages"] == 10


async def test_the_hourly_view_has_the_same_messages(store: Store, client: httpx.AsyncClient) -> None:
    rows = store.tuples(
        "SELECT status, sum(messages) FROM delivery_hourly WHERE account_id = 'acme' GROUP BY status ORDER BY status"
    )
    found = (await client.get("/v1/messages/facets")).json()["status"]
    assert dict(map(tuple, rows)) == found
