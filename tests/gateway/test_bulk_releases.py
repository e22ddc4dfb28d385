"""`/v1/bulk-releases`: release what one cause suppressed, undo that, and find the messages that were refused meanwhile.

On the real ClickHouse; the gate and the ledger are those of tests/application/test_bulk_releases.py, which has the
rules.
"""

import csv
import io
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import orjson
import pytest

from application import deadlines
from gateway import bulk_releaser as module
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from schemas.decoding.ids import uuid7
from schemas.decoding.times import SECOND_US, rfc3339
from schemas.errors import StoreError, TimedOut
from tests.application.test_bulk_releases import HOSTILE, Installation, a_refusal
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token
from tests.stores import fresh_store

PATH = "/v1/bulk-releases"
OPERATOR = a_token("*", role="operator", subject="ann")
OF_ACME = a_token("acme", role="operator", subject="joe")
WAVE: dict[str, Any] = {"domain": "example.com", "text": "user unknown", "reason": "their outage"}
ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"
BUSY = Problem("overloaded", "all reads are busy")
UNKNOWN_ID = uuid7(0, b"0123456789")


@pytest.fixture
def tables(clickhouse_url: str) -> Iterator[Installation]:
    with fresh_store(clickhouse_url) as store:
        yield Installation(store, now_us=now_us() - 7200 * SECOND_US)


@pytest.fixture
async def client(tables: Installation) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(tables.kafka, OPERATOR, tables.store) as made:
        yield made


def now_us() -> int:
    return time.time_ns() // 1000


async def post(client: httpx.AsyncClient, path: str = "", status: int = 202, **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"{PATH}{path}", json=fields)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def preview(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    return await post(client, "?dry_run=true", 200, **WAVE | fields)


def applied(tables: Installation) -> None:
    """The gate and the ledger have read the commands."""
    tables.now_us = now_us()
    tables.apply_commands()


async def a_release(tables: Installation, client: httpx.AsyncClient, **fields: Any) -> str:
    """A bulk release that is applied."""
    report = await post(client, **WAVE | fields)
    applied(tables)
    return str(report["id"])


async def every(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """All items of a list, read one by one."""
    found, cursor = list[dict[str, Any]](), ""
    while True:
        answer = await client.get(f"{PATH}{path}limit=1{cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 1
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


@pytest.mark.clickhouse
async def test_a_dry_run_writes_nothing_and_says_what_a_release_does(
    tables: Installation, client: httpx.AsyncClient
) -> None:
    tables.bounces(ANN, BOB, "dan@other.org")
    report = await preview(client)
    assert (report["dry_run"], report["addresses"], report["next"], tables.kafka.sent) == (True, 2, None, [])
    assert (report["by_account"], report["by_cause"], report["left"]) == ({"acme": 2}, {"sendgrid 5.1.1": 2}, {})
    assert [sample["address"] for sample in report["samples"]] == [ANN, BOB]
    done = await post(client, **WAVE, id=report["id"])
    assert done == report | {"dry_run": False}
    applied(tables)
    assert tables.suppressed() == [("dan@other.org", "*")]


@pytest.mark.clickhouse
async def test_the_actor_is_the_name_of_the_token(tables: Installation, client: httpx.AsyncClient) -> None:
    tables.bounces(ANN)
    await post(client, **WAVE)
    [command] = tables.commands()
    assert (command.action, command.address, command.scope, command.actor) == ("release", ANN, "*", "ann")
    assert (command.reason, tables.kafka.sent[0].headers) == ("their outage", {"actor": b"ann"})
    assert command.note == "bulk release: with reason bounces, domain example.com, text user unknown"


@pytest.mark.clickhouse
async def test_a_repeated_release_writes_the_same_commands(tables: Installation, client: httpx.AsyncClient) -> None:
    tables.bounces(ANN, BOB)
    id_ = (await preview(client))["id"]
    for _ in range(2):
        await post(client, **WAVE, id=id_.upper())
    first, second, *again = [sent.value for sent in tables.kafka.sent]
    assert again == [first, second]
    applied(tables)
    assert (await post(client, **WAVE, id=id_))["addresses"] == 0


@pytest.mark.clickhouse
async def test_with_the_id_of_a_dry_run_what_changed_after_it_is_left(
    tables: Installation, client: httpx.AsyncClient
) -> None:
    tables.bounces(ANN, BOB)
    id_ = (await preview(client))["id"]
    tables.now_us = now_us()
    tables.event("unsubscribed", BOB)
    report = await post(client, **WAVE, id=id_)
    assert (report["addresses"], report["left"]) == (1, {"the address changed after the preview": 1})


@pytest.mark.clickhouse
@pytest.mark.parametrize("by_time", [False, True], ids=["after the most addresses", "after half of the time"])
async def test_of_many_addresses_a_part_is_released_and_the_answer_says_where_to_go_on(
    tables: Installation, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, *, by_time: bool
) -> None:
    tables.bounces(ANN, BOB, CAT, "dan@example.com", "eve@example.com")
    monkeypatch.setattr(module, "_ROWS_RELEASED", 2)
    if by_time:
        monkeypatch.setattr(deadlines, "remaining", lambda: 1.0)
    else:
        monkeypatch.setattr(module, "MAX_RELEASED", 2)
    id_ = (await preview(client))["id"]
    sizes = list[int]()
    cursor: str | None = ""
    while cursor is not None:
        part = await post(client, f"?cursor={cursor}" if cursor else "", **WAVE, id=id_)
        sizes.append(part["addresses"])
        cursor = part["next"]
    assert sizes == [2, 2, 1]
    applied(tables)
    assert tables.suppressed() == []
    assert len({command.command_id for command in tables.commands()}) == len(tables.kafka.sent) == 5


@pytest.mark.clickhouse
async def test_a_cursor_is_good_for_its_own_bulk_release_alone(
    tables: Installation, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.bounces(ANN, BOB)
    monkeypatch.setattr(module, "_ROWS_RELEASED", 1)
    monkeypatch.setattr(module, "MAX_RELEASED", 1)
    first = await post(client, **WAVE)
    applied(tables)
    for fields in (WAVE, WAVE | {"id": (await preview(client))["id"]}):
        answer = await client.post(f"{PATH}?cursor={first['next']}", json=fields)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")
    answer = await client.post(f"{PATH}/{first['id']}/undo?cursor={first['next']}", json={"reason": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")
    assert len(tables.kafka.sent) == 1


@pytest.mark.clickhouse
async def test_an_undo_suppresses_again_what_nobody_has_changed_since(
    tables: Installation, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.bounces(ANN, BOB, CAT)
    id_ = await a_release(tables, client)
    tables.command("suppress", BOB)
    dry = await post(client, f"/{id_}/undo?dry_run=true", 200, reason="the wrong domain")
    assert (dry["addresses"], sum(dry["left"].values()), len(tables.kafka.sent)) == (2, 1, 3)
    monkeypatch.setattr(module, "_ROWS_RELEASED", 2)
    monkeypatch.setattr(module, "MAX_RELEASED", 1)
    first = await post(client, f"/{id_}/undo", reason="the wrong domain")
    second = await post(client, f"/{id_}/undo?cursor={first['next']}", reason="the wrong domain")
    assert (first["addresses"] + second["addresses"], second["next"]) == (2, None)
    applied(tables)
    assert [address for address, _ in tables.suppressed()] == [ANN, BOB, CAT]
    assert {(one.actor, one.reason) for one in tables.commands()[3:]} == {("ann", "the wrong domain")}
    assert (await post(client, f"/{id_}/undo", reason="again"))["addresses"] == 0


@pytest.mark.clickhouse
async def test_bulk_releases_are_listed_the_newest_first(tables: Installation, client: httpx.AsyncClient) -> None:
    tables.bounces(ANN, BOB)
    tables.bounces("cat@other.org", "dan@other.org", "eve@other.org")
    first = await a_release(tables, client)
    second = await a_release(tables, client, domain="other.org")
    await post(client, f"/{second}/undo", reason="x")
    applied(tables)
    listed = await every(client, "?")
    assert [(one["id"], one["addresses"], one["undone"]) for one in listed] == [(second, 3, 3), (first, 2, 0)]
    assert (listed[0]["actor"], listed[0]["reason"]) == ("ann", "their outage")


@pytest.mark.clickhouse
async def test_refused_messages_are_listed_page_by_page_and_exported(
    tables: Installation, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables.bounces(ANN, BOB, CAT)
    wanted = [a_refusal(tables, "Ann@Example.com", subject="=1+1"), a_refusal(tables, BOB, "bold")]
    wanted += [a_refusal(tables, ANN), a_refusal(tables, ANN), a_refusal(tables, CAT)]
    id_ = await a_release(tables, client)
    for addresses in (1, 2, 500):
        monkeypatch.setattr("application.refused_messages._ADDRESSES_OF_PAGE", addresses)
        monkeypatch.setattr("application.refused_messages._MOST_CHUNKS", 2)
        listed = await every(client, f"/{id_}/refused?account=*&")
        assert sorted(one["email_id"] for one in listed) == wanted
    assert [one["email_id"] for one in await every(client, f"/{id_}/refused?account=bold&")] == [wanted[1]]
    exported = await client.get(f"{PATH}/{id_}/refused/export?account=*")
    rows = list(csv.DictReader(io.StringIO(exported.text, newline="")))
    assert sorted(row["email_id"] for row in rows) == wanted
    assert {row["subject"] for row in rows} == {"'=1+1", "Tomorrow at ten"}
    assert [*rows[0]] == [*listed[0]]
    ndjson = await client.get(f"{PATH}/{id_}/refused/export?account=bold&format=ndjson")
    assert ndjson.text.count("\n") == 1


@pytest.mark.clickhouse
async def test_a_message_that_is_added_between_two_pages_makes_none_appear_twice(
    tables: Installation, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its address is one whose command comes late into the tables."""
    monkeypatch.setattr("application.refused_messages._ADDRESSES_OF_PAGE", 1)
    tables.bounces(ANN, BOB, CAT)
    messages = {address: [a_refusal(tables, address), a_refusal(tables, address)] for address in (ANN, BOB, CAT)}
    id_ = str((await post(client, **WAVE))["id"])
    *others, last = sorted(tables.kafka.outputs, key=lambda one: orjson.loads(one.value or b"")["command_id"])
    tables.kafka.outputs[:] = [last]
    applied(tables)
    path = f"{PATH}/{id_}/refused?account=*"
    page = (await client.get(f"{path}&limit=1")).json()
    tables.kafka.outputs += others
    applied(tables)
    rest = (await client.get(f"{path}&cursor={page['next']}")).json()["items"]
    found = [one["email_id"] for one in (*page["items"], *rest)]
    assert len(set(found)) == len(found)
    assert set(found) >= set(messages[orjson.loads(last.value or b"")["address"]])


@pytest.mark.clickhouse
async def test_a_token_of_several_accounts_says_whose_refused_messages_it_wants(
    tables: Installation, client: httpx.AsyncClient
) -> None:
    tables.bounces(ANN)
    id_ = await a_release(tables, client)
    for path in ("refused", "refused/export"):
        answer = await client.get(f"{PATH}/{id_}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (400, "account-required")


@pytest.mark.clickhouse
async def test_an_operator_of_an_account_releases_its_own_suppressions_alone(tables: Installation) -> None:
    tables.bounces(ANN)
    for account in ("acme", "bold"):
        tables.command("suppress", BOB, account)
    manual: dict[str, Any] = {"with_reason": "manual", "domain": "example.com", "reason": "r"}
    async with a_caller(tables.kafka, OF_ACME, tables.store) as client:
        assert (await post(client, **WAVE))["addresses"] == 0, "a platform-wide one takes a token of all accounts"
        id_ = (await post(client, **manual))["id"]
        applied(tables)
        other = await client.post(PATH, json=manual | {"account": "bold"})
        assert (other.status_code, other.json()["code"]) == (404, "no-such-account")
        assert [one["id"] for one in await every(client, "?")] == [id_]
    assert [(one.address, one.scope, one.actor) for one in tables.commands()] == [(BOB, "acme", "joe")]
    async with a_caller(tables.kafka, a_token("bold", role="operator"), tables.store) as client:
        assert await every(client, "?") == []
        for answer in (
            await client.post(f"{PATH}/{id_}/undo", json={"reason": "x"}),
            await client.get(f"{PATH}/{id_}/refused"),
            await client.get(f"{PATH}/{id_}/refused/export"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "no-such-bulk-release")
    assert len(tables.commands()) == 1


@pytest.mark.clickhouse
async def test_if_kafka_fails_the_problem_names_the_id_to_repeat_it_with(
    tables: Installation, client: httpx.AsyncClient
) -> None:
    tables.bounces(ANN)
    tables.kafka.fails = True
    problem = await post(client, status=503, **WAVE)
    assert (problem["code"], tables.kafka.sent) == ("kafka-away", [])
    tables.kafka.fails = False
    assert (await post(client, **WAVE, id=problem["id"]))["id"] == problem["id"]


@pytest.mark.parametrize("error", [StoreError("gone", "here", "later"), TimedOut("late", "here", "later"), BUSY])
async def test_whatever_interrupts_a_release_or_an_undo_the_problem_names_the_id(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def run(*_: object) -> object:
        raise error

    monkeypatch.setattr(ReadPool, "run", run)
    async with a_caller(FakeKafka(), OPERATOR) as client:
        released = await post(client, status=503, **WAVE)
        assert released["id"][14] == "7"
        assert (await post(client, f"/{UNKNOWN_ID}/undo", 503, reason="x"))["id"] == UNKNOWN_ID
        assert (await client.post(f"{PATH}?dry_run=true", json=WAVE)).json().get("id") is None, "nothing is begun"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", ""), ("POST", f"/{UNKNOWN_ID}/undo"), ("GET", f"/{UNKNOWN_ID}/refused?account=*")],
)
async def test_without_clickhouse_every_route_is_503_and_names_no_host(method: str, path: str) -> None:
    body = WAVE if path == "" else {"reason": "x"}
    async with a_caller(FakeKafka(), OPERATOR) as client:
        answer = await client.request(method, f"{PATH}{path}", json=body if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (503, "clickhouse-away")
    assert "127.0.0.1" not in answer.text


@pytest.mark.clickhouse
@pytest.mark.parametrize("path", [f"/{UNKNOWN_ID}/undo", f"/{UNKNOWN_ID}/refused", f"/{UNKNOWN_ID}/refused/export"])
async def test_what_is_no_bulk_release_is_404(client: httpx.AsyncClient, path: str) -> None:
    if path.endswith("undo"):
        answer = await client.post(f"{PATH}{path}", json={"reason": "x"})
    else:
        answer = await client.get(f"{PATH}{path}?account=*")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-bulk-release")


@pytest.mark.parametrize("path", ["/x/undo", "/x/refused", "/'; DROP TABLE commands/refused/export"])
async def test_what_is_no_id_is_refused(path: str) -> None:
    async with a_caller(FakeKafka(), OPERATOR) as client:
        answer = await client.request("POST" if path.endswith("undo") else "GET", f"{PATH}{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({}, "", id="no condition"),
        pytest.param({"account": "acme"}, "", id="an account alone"),
        pytest.param({"domain": "%"}, "domain", id="a wildcard"),
        pytest.param({"domain": "x" * 321}, "domain", id="a domain that is too long"),
        pytest.param({"domain": 7}, "domain", id="a number"),
        pytest.param({"from": "yesterday"}, "from", id="no time"),
        pytest.param({"from": "2026-11-30", "to": "2026-11-29"}, "from", id="from after to"),
        pytest.param({"provider": "mailgun", "domain": "b.c"}, "provider", id="no provider"),
        pytest.param({"with_reason": "complaint", "domain": "b.c"}, "with_reason", id="complaints"),
        pytest.param({"with_reason": "manual", "code": "550"}, "with_reason", id="a code of a command"),
        pytest.param({"text": " "}, "text", id="a blank text"),
        pytest.param({"domain": "b.c", "reason": ""}, "reason", id="no reason"),
        pytest.param({"domain": "b.c", "reason": " \n"}, "reason", id="a blank reason"),
        pytest.param({"domain": "b.c", "reason": "x" * 1_001}, "reason", id="a reason that is too long"),
        pytest.param({"domain": "b.c", "reason": None}, "reason", id="null as a reason"),
        pytest.param({"domain": "b.c", "id": "x"}, "id", id="no id"),
        pytest.param({"domain": "b.c", "id": uuid7(1, b"0" * 10)}, "id", id="the id of other conditions"),
        pytest.param({"domain": "b.c", "colour": "red"}, "colour", id="an unknown field"),
    ],
)
async def test_a_wrong_body_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    kafka = FakeKafka()
    async with a_caller(kafka, OPERATOR) as client:
        answer = await client.post(PATH, json={"reason": "r"} | fields)
    assert (answer.status_code, answer.json()["errors"][0]["field"], kafka.sent) == (422, field, [])


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "x", "id": UNKNOWN_ID}])
async def test_an_undo_takes_a_reason_and_nothing_else(body: dict[str, Any]) -> None:
    async with a_caller(FakeKafka(), OPERATOR) as client:
        answer = await client.post(f"{PATH}/{UNKNOWN_ID}/undo", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-body")


@pytest.mark.clickhouse
async def test_hostile_text_is_compared_as_it_is(tables: Installation, client: httpx.AsyncClient) -> None:
    for number, text in enumerate(HOSTILE):
        tables.bounces(f"u{number}@example.com", reason=f"said: {text}")
    for number, text in enumerate(HOSTILE):
        report = await preview(client, text=text)
        assert [sample["address"] for sample in report["samples"]] == [f"u{number}@example.com"]


@pytest.mark.clickhouse
async def test_a_window_is_of_the_beginning_of_the_suppression(tables: Installation, client: httpx.AsyncClient) -> None:
    tables.bounces(ANN)
    between = tables.tick()
    tables.bounces(BOB)
    samples = [
        (await preview(client, **window))["samples"]
        for window in ({"from": rfc3339(between)}, {"to": rfc3339(between)})
    ]
    assert [[one["address"] for one in found] for found in samples] == [[BOB], [ANN]]
