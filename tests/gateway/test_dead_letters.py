"""`/v1/dead-letters`: what an operator sees and does, within limits, and with another operator at work."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from application.dead_letters import MAX_LETTERS
from gateway.api.dead_letters import MAX_SHOWN_BYTES
from processors.dead_letters import DeadLetter
from processors.dead_letters import handling as module
from processors.dead_letters.handling import HandlingLimits, handle
from processors.kafka.read_topic import read_topic
from schemas.decoding.times import rfc3339
from schemas.events import Rejection
from tests.building import NOW_US, FakeRecord
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token
from tests.kafka.broker import broker_with_topics
from tests.letters import FakeLetterTopics, park

OPERATOR = a_token("*", role="operator", subject="ann")
PATH = "/v1/dead-letters"
ROUTES = [("GET", PATH), ("GET", f"{PATH}/0:0"), ("POST", f"{PATH}/redrive"), ("POST", f"{PATH}/discard")]


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> FakeLetterTopics:
    return FakeLetterTopics().install(monkeypatch)


@pytest.fixture
async def client(letters: FakeLetterTopics) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(FakeKafka(), OPERATOR) as made:
        yield made


async def ids(client: httpx.AsyncClient, query: str = "") -> list[str]:
    answer = await client.get(f"{PATH}{query}")
    assert answer.status_code == 200, answer.text
    return [item["letter"] for item in answer.json()["items"]]


async def act(client: httpx.AsyncClient, action: str, query: str = "", **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"{PATH}/{action}{query}", json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def outcomes(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["letter"], item["result"]) for item in answer["items"]]


async def test_letters_are_listed_page_by_page_the_newest_first(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    wanted = [letters.park(b"{") for _ in range(5)][::-1]
    found, cursor, pages = list[str](), "", 0
    while True:
        page = (await client.get(f"{PATH}?limit=2{cursor}")).json()
        found += [item["letter"] for item in page["items"]]
        pages += 1
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert (found, pages) == (wanted, 3)
    other = await client.get(f"{PATH}?limit=2&topic=sends.requested{cursor}")
    assert (other.status_code, other.json()["code"]) == (400, "invalid-cursor")


async def test_a_list_has_the_letters_of_its_filters(letters: FakeLetterTopics, client: httpx.AsyncClient) -> None:
    a, b, c = letters.park(b"a", reason="r"), letters.park(b"b", topic="sends.decided"), letters.park(b"c")
    await act(client, "redrive", ids=[a])
    await act(client, "discard", ids=[b], reason="a test")
    assert await ids(client) == [c]
    assert await ids(client, "?state=any") == [c, b, a]
    assert (await ids(client, "?state=redriven"), await ids(client, "?state=discarded")) == ([a], [b])
    assert await ids(client, "?state=any&with_reason=r") == [a]
    assert await ids(client, "?state=any&topic=sends.decided") == [b]
    assert await ids(client, f"?from={rfc3339(NOW_US + 1000)}") == []
    assert await ids(client, f"?from={rfc3339(NOW_US)}&to={rfc3339(NOW_US + 1000)}") == [c]
    assert await ids(client, f"?to={rfc3339(NOW_US)}") == []
    [item] = (await client.get(f"{PATH}?state=discarded")).json()["items"]
    assert {name: item["handled"][name] for name in ("action", "actor", "reason")} == {
        "action": "discarded",
        "actor": "ann",
        "reason": "a test",
    }


async def test_a_letter_has_its_bytes_its_headers_and_what_would_become_of_it(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    id_ = letters.park(b"<script>\xff\x00", detail="<b>", key=b"\xff", headers=[("own", "é".encode())])
    shown = (await client.get(f"{PATH}/{id_}")).json()
    assert shown["value"] == {"text": None, "base64": base64.b64encode(b"<script>\xff\x00").decode(), "size": 10}
    assert (shown["key"]["text"], shown["detail"]) == (None, "<b>")
    assert shown["headers"] == [{"name": "own", "text": "é", "base64": "w6k=", "size": 2}]
    assert shown["now"].startswith("rejected: record_not_json")


async def test_of_a_long_text_the_beginning_is_shown(letters: FakeLetterTopics, client: httpx.AsyncClient) -> None:
    """Its last character is cut within its bytes."""
    value = b"x" + "é".encode() * MAX_SHOWN_BYTES
    shown = (await client.get(f"{PATH}/{letters.park(value)}")).json()["value"]
    assert shown["text"] == value[: MAX_SHOWN_BYTES - 1].decode()
    assert (len(base64.b64decode(shown["base64"])), shown["size"]) == (MAX_SHOWN_BYTES, len(value))


async def test_a_letter_without_a_value_can_not_be_sent_back_and_says_why(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    id_ = letters.park(b"", offset=99)
    shown = (await client.get(f"{PATH}/{id_}")).json()
    assert (shown["value"], shown["now"][:21]) == (None, "it can't be sent back")
    [item] = (await act(client, "redrive", ids=[id_]))["items"]
    assert item == {
        "letter": id_,
        "result": "impossible",
        "why": "it has no value, and its source sends.requested/0/99 is gone",
    }


@pytest.mark.parametrize(
    ("id_", "status", "code"),
    [("0:7", 404, "no-such-letter"), ("7", 400, "invalid-parameter"), ("0:" + "9" * 20, 400, "invalid-parameter")],
)
async def test_what_is_no_letter_is_not_shown(client: httpx.AsyncClient, id_: str, status: int, code: str) -> None:
    answer = await client.get(f"{PATH}/{id_}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_an_operator_of_one_account_may_neither_read_nor_act(method: str, path: str) -> None:
    async with a_caller(FakeKafka(), a_token("acme", role="operator")) as client:
        answer = await client.request(method, path, json={"all": True, "reason": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "role-not-allowed")


async def test_letters_are_sent_back_once_and_the_note_names_the_operator(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    a, b = letters.park(b"a"), letters.park(b"b")
    assert outcomes(await act(client, "redrive", ids=[b, "0:7"])) == [(b, "redriven"), ("0:7", "not_found")]
    again = await act(client, "redrive", ids=[a, b])
    assert outcomes(again) == [(a, "redriven"), (b, "unchanged")]
    assert again["items"][1]["why"].startswith("redriven by ann at ")
    assert letters.sent_back() == [b"b", b"a"]
    assert [(note.letter, note.action, note.actor) for note in letters.notes] == [
        (b, "redriven", "ann"),
        (a, "redriven", "ann"),
    ]


async def test_a_discarded_letter_is_not_sent_back(letters: FakeLetterTopics, client: httpx.AsyncClient) -> None:
    id_ = letters.park(b"a")
    assert outcomes(await act(client, "discard", with_reason="bad", reason="a test")) == [(id_, "discarded")]
    assert outcomes(await act(client, "redrive", all=True)) == []
    assert outcomes(await act(client, "redrive", ids=[id_])) == [(id_, "unchanged")]
    assert ([note.reason for note in letters.notes], letters.sent_back()) == (["a test"], [])


@pytest.mark.parametrize("action", ["redrive", "discard"])
async def test_a_dry_run_changes_nothing(letters: FakeLetterTopics, client: httpx.AsyncClient, action: str) -> None:
    id_ = letters.park(b"a")
    fields = {"topic": "sends.requested"} | ({"reason": "x"} if action == "discard" else {})
    answer = await act(client, action, "?dry_run=true", **fields)
    assert (answer["dry_run"], [letter for letter, _ in outcomes(answer)]) == (True, [id_])
    assert letters.notes == []
    assert await ids(client) == [id_]


async def test_of_many_a_part_is_handled_and_the_answer_says_how_many_are_left(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    wanted = [letters.park(b"%d" % number) for number in range(MAX_LETTERS + 7)]
    first = await act(client, "redrive", all=True)
    assert (len(first["items"]), first["left"], first["complete"]) == (MAX_LETTERS, 7, True)
    second = await act(client, "redrive", all=True)
    assert (len(second["items"]), second["left"], second["complete"]) == (7, 0, True)
    assert [note.letter for note in letters.notes] == wanted


async def test_letters_that_can_not_be_sent_back_do_not_stop_the_others(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    for _ in range(MAX_LETTERS):
        letters.park(b"x", topic="somebody.else")
    id_ = letters.park(b"a")
    answer = await act(client, "redrive", with_reason="bad")
    assert Counter(result for _, result in outcomes(answer)) == {"impossible": MAX_LETTERS, "redriven": 1}
    assert letters.sent_back() == [b"a"]
    assert [note.letter for note in letters.notes] == [id_]


async def test_when_the_time_is_over_the_answer_says_that_there_may_be_more(letters: FakeLetterTopics) -> None:
    letters.park(b"a")
    limits = HandlingLimits(seconds=-1)
    result = await handle("nowhere", lambda _: True, "redriven", actor="ann", reason="", at="", limits=limits)
    assert (result.done, result.complete) == ([], False)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, ""),
        ({"all": False}, ""),
        ({"all": True, "topic": "sends.requested"}, ""),
        ({"all": "yes"}, "all"),
        ({"ids": []}, "ids"),
        ({"ids": ["x"]}, "ids.0"),
        ({"ids": ["0:1", 17]}, "ids.1"),
        ({"ids": ["0:1"] * (MAX_LETTERS + 1)}, "ids"),
        ({"with_reason": ""}, "with_reason"),
        ({"id": "0:1"}, "id"),
    ],
)
@pytest.mark.parametrize("action", ["redrive", "discard"])
async def test_a_wrong_body_is_refused_by_field(
    letters: FakeLetterTopics, client: httpx.AsyncClient, action: str, fields: dict[str, Any], field: str
) -> None:
    letters.park(b"a")
    more = {"reason": "x"} if action == "discard" else {}
    answer = await client.post(f"{PATH}/{action}", json=fields | more)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert letters.notes == []


@pytest.mark.parametrize("reason", [None, "", " \n", "x" * 1_001])
async def test_nothing_is_discarded_without_a_reason(
    letters: FakeLetterTopics, client: httpx.AsyncClient, reason: str | None
) -> None:
    letters.park(b"a")
    answer = await client.post(f"{PATH}/discard", json={"all": True} | ({} if reason is None else {"reason": reason}))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reason")
    assert letters.notes == []


async def test_the_operator_who_was_first_is_stopped_and_nothing_is_sent_back_twice(
    letters: FakeLetterTopics, client: httpx.AsyncClient
) -> None:
    """Both have begun before either reads what was done."""
    letters.park(b"a")
    letters.readable.clear()
    first = asyncio.create_task(client.post(f"{PATH}/redrive", json={"all": True}))
    await letters.readers.acquire()
    second = asyncio.create_task(client.post(f"{PATH}/redrive", json={"all": True}))
    await letters.readers.acquire()
    letters.readable.set()
    answers = await asyncio.gather(first, second)
    assert [answer.status_code for answer in answers] == [409, 200]
    assert answers[0].json()["code"] == "another-operator"
    assert "nothing is done twice" in answers[0].json()["detail"]
    assert (letters.sent_back(), len(letters.notes)) == ([b"a"], 1)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_kafka_every_route_is_503_and_names_no_host(method: str, path: str) -> None:
    async with a_caller(FakeKafka(), OPERATOR) as client:
        body = {"all": True} | ({"reason": "x"} if path.endswith("discard") else {})
        answer = await client.request(method, path, content=orjson.dumps(body))
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka-away")
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_kafka_that_hangs_ends_with_the_request(letters: FakeLetterTopics, method: str, path: str) -> None:
    letters.readable.clear()
    async with a_caller(FakeKafka(), OPERATOR, request_seconds=0.2) as client:
        body = {"all": True} | ({"reason": "x"} if path.endswith("discard") else {})
        answer = await client.request(method, path, content=orjson.dumps(body))
    assert (answer.status_code, answer.json()["code"]) == (503, "timed-out" if method == "GET" else "kafka-away")


@pytest.mark.kafka
async def test_on_a_real_kafka_of_two_requests_at_once_none_sends_a_letter_back_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    parked = [
        DeadLetter(FakeRecord("sends.requested", b"%d" % n, b"k", offset=n), Rejection("bad", "", b"", None))
        for n in range(MAX_LETTERS)
    ]
    async with broker_with_topics(tmp_path_factory.mktemp("broker")) as bootstrap:
        await park(bootstrap, parked)
        async with (
            a_caller(FakeKafka(), OPERATOR, kafka_bootstrap=bootstrap, request_seconds=60) as one,
            a_caller(FakeKafka(), OPERATOR, kafka_bootstrap=bootstrap, request_seconds=60) as other,
        ):
            listed = await ids(one, f"?limit={MAX_LETTERS}")
            assert (await one.get(f"{PATH}/{listed[0]}")).json()["now"].startswith("rejected: ")
            assert outcomes(await act(one, "redrive", ids=[listed[0]])) == [(listed[0], "redriven")]
            both = await asyncio.gather(*(each.post(f"{PATH}/redrive", json={"all": True}) for each in (one, other)))
            assert {answer.status_code for answer in both} <= {200, 409}
            await act(one, "redrive", all=True)  # what is left, if the second one was stopped, too
            async with module._only_operator(bootstrap):
                pass  # now all transactions are visible
            assert await ids(one) == []
        values = Counter([record.value async for record in read_topic(bootstrap, "sends.requested")])
        assert values == {b"%d" % n: 1 for n in range(MAX_LETTERS)}
