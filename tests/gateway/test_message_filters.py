"""The filters of Messaging Logs: each alone, all together, with counts and export; and invalid filters."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from projections.messages.columns import dispatches_table, events_table, state_table
from projections.store import Store
from schemas.decoding.ids import fact_id, uuid7
from schemas.decoding.sends import Dispatch
from tests.building import NOW_US, a_decision, a_request, a_source_position, an_event
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

HOUR_US = 3_600_000_000
IDS = [uuid7(NOW_US - n * HOUR_US, bytes([n]) * 10) for n in range(5)]
BOUNCED, DELIVERED, TEXT, WAITING, OTHERS = IDS
"""A bounced reminder with a CC; a delivered invitation; a text to the staff; one without a word; another account's."""


def _facts(message_id: str, account: str = "acme", **said: Any) -> dict[str, Any]:
    request = a_request(account_id=account, message_id=message_id, requested_us=NOW_US, **said)
    decision = a_decision(account_id=account, message_id=message_id, request=request)
    return {"requests": [request], "decisions": [decision]}


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        bounce = an_event(
            "bounced", account_id="acme", message_id=BOUNCED, address="ann@bucher.example", code="550",
            enhanced_code="5.1.1", classification="Invalid Address", provider_message_id="abc",
        )  # fmt: skip
        opened = an_event("opened", account_id="acme", message_id=BOUNCED, address="cc@example.org")
        delivered = an_event("delivered", account_id="acme", message_id=DELIVERED, address="bob@example.com")
        told: list[tuple[list[Any], dict[str, Any]]] = [
            ([bounce, opened], _facts(
                BOUNCED, to="Ann@bucher.example", cc=("Cc@example.org",), subject="Reminder: tomorrow",
                template_id="t1", template_name="Reminder", recipient_kind="client", recipient_id="c1",
                appointment_id="a1",
            )),
            ([delivered], _facts(
                DELIVERED, to="bob@example.com", subject="Willkommen ÄÖ", template_id="t2", template_name="Invitation",
                recipient_kind="client", recipient_id="c2", appointment_id="a2",
            ) | {"dispatches": [Dispatch(
                "acme", DELIVERED, fact_id(["d"]), NOW_US, "postmark", "3f0c9a64-6a3e-4a3e-8a2e-0d7d3c1f5a11",
                a_source_position(),
            )]}),
            ([], _facts(
                TEXT, channel="sms", to="+14155550100", template_id="t1", template_name="Reminder",
                recipient_kind="staff", recipient_id="c1",
            )),
            ([], {"requests": [a_request(
                account_id="acme", message_id=WAITING, to="zoe@example.com", template_id="t9", template_name="Receipt",
                recipient_id="c9",
            )]}),
            ([], _facts(OTHERS, "globex", to="ann@bucher.example", subject="Reminder: tomorrow")),
        ]  # fmt: skip
        for events, facts in told:
            rows = events_table(events)
            store.insert("events", rows)
            store.insert("message_state", state_table(rows, **facts))
            store.insert("dispatches", dispatches_table(facts.get("dispatches", [])))
        yield store


async def found(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get("/v1/messages", params=query)
    assert answer.status_code == 200, answer.text
    return [item["email_id"] for item in answer.json()["items"]]


EACH: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [BOUNCED, DELIVERED, TEXT, WAITING]),
    ({"order": "oldest"}, [WAITING, TEXT, DELIVERED, BOUNCED]),
    ({"channel": "sms"}, [TEXT]),
    ({"type": "t1"}, [BOUNCED, TEXT]),
    ({"type": ["Invitation", "t1"]}, [BOUNCED, DELIVERED, TEXT]),
    ({"sent_to": "staff"}, [TEXT]),
    ({"status": "pending"}, [TEXT, WAITING]),
    ({"address": "ANN@bucher.example"}, [BOUNCED]),
    ({"address": "cc@EXAMPLE.org"}, [BOUNCED]),
    ({"address": "+1 (415) 555-0100"}, [TEXT]),
    ({"address_prefix": "An"}, [BOUNCED]),
    ({"address_prefix": "cc@ex"}, [BOUNCED]),
    ({"address_prefix": "+1415"}, [TEXT]),
    ({"domain": "Example.COM"}, [DELIVERED, WAITING]),
    ({"domain": "example.org"}, []),
    ({"subject": "REMINDER"}, [BOUNCED]),
    ({"subject": "äö"}, [DELIVERED]),
    ({"email_id": DELIVERED.upper()}, [DELIVERED]),
    ({"email_id": OTHERS}, []),
    ({"client_id": "c1"}, [BOUNCED]),
    ({"staff_id": "c1"}, [TEXT]),
    ({"appointment_id": "a2"}, [DELIVERED]),
    ({"provider": "postmark"}, [DELIVERED]),
    ({"provider_message_id": "3F0C9A64-6A3E-4A3E-8A2E-0D7D3C1F5A11"}, [DELIVERED]),
    ({"provider_message_id": "abc.filter0001.16648.5515E0B88.0"}, [BOUNCED]),
    ({"code": "550"}, [BOUNCED]),
    ({"code": "5.1.1"}, [BOUNCED]),
    ({"classification": "Invalid Address"}, [BOUNCED]),
    ({"stuck_hours": 1}, [TEXT, WAITING]),
    (
        {
            "status": "Bounced", "channel": "email", "type": "Reminder", "sent_to": "client",
            "domain": "bucher.example", "address": "cc@example.org", "address_prefix": "ann",
            "subject": "tomorrow", "client_id": "c1",
            "appointment_id": "a1", "provider": "sendgrid", "provider_message_id": "abc", "code": "550",
            "classification": "Invalid Address", "email_id": BOUNCED, "account": "acme", "from": "2026-01-01",
            "to": "2100-01-01", "order": "oldest", "limit": 5,
        },
        [BOUNCED],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), EACH, ids=[" ".join(query) or "none" for query, _ in EACH])
async def test_a_filter_finds_what_it_says(
    client: httpx.AsyncClient, query: dict[str, Any], expected: list[str]
) -> None:
    assert await found(client, **query) == expected


@pytest.mark.parametrize(("query", "expected"), EACH, ids=[" ".join(query) or "none" for query, _ in EACH])
async def test_facets_and_export_are_of_the_same_messages(
    client: httpx.AsyncClient, query: dict[str, Any], expected: list[str]
) -> None:
    query = {name: value for name, value in query.items() if name != "limit"}
    lines = (await client.get("/v1/messages/export", params=query | {"format": "ndjson"})).text.splitlines()
    assert [orjson.loads(line)["email_id"] for line in lines] == expected
    query.pop("order", None)
    facets = (await client.get("/v1/messages/facets", params=query)).json()
    assert facets["total"] == len(expected)
    assert {sum(facets[name].values()) for name in ("status", "channel", "type")} == {len(expected)}


async def test_facets_count_each_value(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/messages/facets")).json() == {
        "total": 4,
        "status": {"Pending": 2, "Bounced": 1, "Delivered": 1},
        "channel": {"email": 3, "sms": 1},
        "type": {"Reminder": 2, "Invitation": 1, "Receipt": 1},
    }


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_in_either_order_neither_repeat_nor_skip(client: httpx.AsyncClient, order: str) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 1, "order": order}
    while True:
        page = (await client.get("/v1/messages", params=query)).json()
        seen += [item["email_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == (IDS[:4] if order == "newest" else IDS[3::-1])


async def test_messages_of_one_id_in_two_accounts_are_both_on_some_page(store: Store) -> None:
    shared = uuid7(NOW_US + HOUR_US, b"shared-id!")
    for account in ("acme2", "globex2"):
        store.insert("message_state", state_table(events_table([]), **_facts(shared, account)))
    async with a_caller(FakeKafka(), a_token("acme2", "globex2", role="viewer"), store) as client:
        first = (await client.get("/v1/messages", params={"account": "*", "limit": 1})).json()
        second = (await client.get("/v1/messages", params={"account": "*", "limit": 1, "cursor": first["next"]})).json()
    accounts = {item["account_id"] for page in (first, second) for item in page["items"]}
    assert (accounts, second["next"]) == ({"acme2", "globex2"}, None)


async def test_a_csv_has_the_logs_columns_and_quotes_each_cell(client: httpx.AsyncClient) -> None:
    text = (await client.get("/v1/messages/export", params={"status": "Bounced"})).text
    [row] = csv.DictReader(io.StringIO(text))
    wanted = ("type", "sent_to", "to_address", "cc_address", "subject", "status", "sub_status", "email_id", "channel")
    assert [row[name] for name in wanted] == [
        "Reminder", "client", "Ann@bucher.example", "Cc@example.org", "Reminder: tomorrow", "Bounced", "unclassified",
        BOUNCED, "email",
    ]  # fmt: skip
    assert "date_sent" in row


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"channel": "fax"}, "channel"),
        ({"sent_to": "friend"}, "sent_to"),
        ({"order": "latest"}, "order"),
        ({"provider": "mailgun"}, "provider"),
        ({"domain": "  "}, "domain"),
        ({"domain": "a\nb"}, "domain"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 1001}, "subject"),
        ({"address_prefix": " "}, "address_prefix"),
        ({"client_id": "a\0b"}, "client_id"),
        ({"type": ["t1", ""]}, "type"),
        ({"stuck_hours": 0}, "stuck_hours"),
        ({"subjct": "x"}, "subjct"),
        ({"subject": ["x", "y"]}, "subject"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/facets", "/v1/messages/export"])
async def test_an_invalid_value_is_400_and_named(
    client: httpx.AsyncClient, path: str, query: dict[str, Any], named: str
) -> None:
    if named == "order" and path.endswith("facets"):
        query, named = {"order": "newest"}, "order"
    answer = await client.get(path, params=query)
    assert (answer.status_code, f"`{named}`" in answer.json()["detail"]) == (400, True), answer.text


async def test_a_cursor_of_other_filters_or_another_order_is_refused(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/v1/messages", params={"limit": 1})).json()["next"]
    for other in ({"order": "oldest"}, {"channel": "email"}, {"subject": "x"}):
        answer = await client.get("/v1/messages", params={"limit": 1, "cursor": cursor, **other})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/facets", "/v1/messages/export"])
async def test_another_account_answers_as_one_that_does_not_exist(client: httpx.AsyncClient, path: str) -> None:
    there, nowhere = [await client.get(path, params={"account": name}) for name in ("globex", "nobody")]
    assert there.status_code == nowhere.status_code == 404
    assert there.json()["code"] == nowhere.json()["code"]
