"""Dead letters are browsed, sent back and discarded: each at most once, whoever acts and whatever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from processors.dead_letters import DeadLetter
from processors.dead_letters import handling as module
from processors.dead_letters.browsing import (
    REDRIVEN_FROM,
    HandledLetters,
    Letter,
    LetterId,
    LetterSource,
    read_handled,
    read_letter,
    read_letters,
    read_open_letters,
    would_do,
)
from processors.dead_letters.handling import Action, HandlingResult, handle
from processors.engine import Record
from processors.engine.transactions import KafkaTransactions
from processors.kafka.read_topic import read_topic
from processors.kafka.topics import create_topics
from schemas.errors import BrokerError, SendledgerError
from schemas.events import Rejection
from schemas.examples import EXAMPLES
from schemas.settings import TopicSettings
from schemas.topics import DEAD_LETTERS_HANDLED, GATE_BY_ADDRESS, LEDGER_INPUTS, MAX_MESSAGE_BYTES, MAX_RECORD_BYTES
from tests.building import NOW_US, FakeRecord
from tests.engine.broker import private_broker
from tests.kafka.broker import broker_with_topics
from tests.letters import park

pytestmark = pytest.mark.kafka

TOPIC = "webhooks.sendgrid"
AT = "2026-11-30T08:00:00Z"
OWN = [topic for topic in LEDGER_INPUTS if topic.holds in EXAMPLES]
HEADERS = [("received_at", AT.encode()), ("content_type", b"application/json")]


@pytest.fixture(scope="module")
async def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A broker of this file with all topics: the letters of other tests are not in it."""
    async with broker_with_topics(tmp_path_factory.mktemp("broker")) as bootstrap:
        yield bootstrap


@pytest.fixture
def reason(request: pytest.FixtureRequest) -> str:
    """A reason that only the letters of this test have."""
    return f"reason of {request.node.name}"


_OFFSETS = count()
"""No two letters of this file are of one source, unless a test wants it."""


def letters_of(reason: str, values: Sequence[bytes]) -> list[DeadLetter]:
    return [
        DeadLetter(FakeRecord(TOPIC, value, b"key", HEADERS, 1, next(_OFFSETS)), Rejection(reason, "bad", value, None))
        for value in values
    ]


def of(reason: str) -> Callable[[Letter], bool]:
    return lambda letter: letter.reason == reason


async def act(bootstrap: str, reason: str, action: Action = "redriven", **more: Any) -> HandlingResult:
    result = await handle(bootstrap, of(reason), action, actor="ann", reason="fixed", at=AT, **more)
    await until_visible(bootstrap)
    return result


async def until_visible(bootstrap: str) -> None:
    """Return when all committed transactions are visible: Kafka lets no new operator start before."""
    async with module._only_operator(bootstrap):
        pass


async def found(bootstrap: str, reason: str) -> list[Letter]:
    return [one async for one in read_letters(bootstrap, await read_handled(bootstrap)) if one.reason == reason]


async def sent_back(bootstrap: str, letters: Sequence[Letter], topic: str = TOPIC) -> list[Record]:
    ids = {str(letter.id).encode() for letter in letters}
    return [r async for r in read_topic(bootstrap, topic) if dict(r.headers).get(REDRIVEN_FROM) in ids]


async def test_letters_are_sent_back_as_they_were_and_noted(bootstrap: str, reason: str) -> None:
    values = [b"{", b"[1", b"\xff\x00"]
    letters = letters_of(reason, values)
    await park(bootstrap, letters)
    before = await found(bootstrap, reason)
    assert [(one.topic, one.key, one.handled, one.redriven_from) for one in before] == [(TOPIC, b"key", None, "")] * 3
    assert {str(one.source) for one in before} == {f"{TOPIC}/1/{one.record.offset}" for one in letters}

    result = await act(bootstrap, reason)
    assert {one.id for one in result.done} == {one.id for one in before}
    records = await sent_back(bootstrap, before)
    assert sorted(r.value or b"" for r in records) == sorted(values)
    assert {r.key for r in records} == {b"key"}
    assert all([h for h in r.headers if h[0] != REDRIVEN_FROM] == HEADERS for r in records)
    after = await found(bootstrap, reason)
    assert {(one.handled.action, one.handled.actor, one.handled.reason) for one in after if one.handled} == {
        ("redriven", "ann", "fixed")
    }


async def test_a_letter_is_sent_back_once_however_often_it_is_asked_for(bootstrap: str, reason: str) -> None:
    await park(bootstrap, letters_of(reason, [b"{"]))
    assert len((await act(bootstrap, reason)).done) == 1
    again = await act(bootstrap, reason)
    assert (again.done, len(again.already)) == ([], 1)
    discarded = await act(bootstrap, reason, "discarded")
    assert (discarded.done, len(discarded.already)) == ([], 1)
    assert len(await sent_back(bootstrap, await found(bootstrap, reason))) == 1


async def test_a_discarded_letter_is_not_sent_back(bootstrap: str, reason: str) -> None:
    await park(bootstrap, letters_of(reason, [b"{"]))
    assert len((await act(bootstrap, reason, "discarded")).done) == 1
    assert len((await act(bootstrap, reason)).already) == 1
    assert await sent_back(bootstrap, await found(bootstrap, reason)) == []


async def test_of_the_copies_of_a_letter_one_is_sent_back(bootstrap: str, reason: str) -> None:
    """A worker that dies between parking and acknowledging parks the same record again."""
    letters = letters_of(reason, [b"{"])
    await park(bootstrap, [*letters, *letters])
    result = await act(bootstrap, reason)
    assert (len(result.done), len(result.copies), len(result.already)) == (1, 1, 0)
    await park(bootstrap, letters)
    again = await act(bootstrap, reason)
    assert (len(again.done), len(again.already)) == (0, 3)
    assert len(await sent_back(bootstrap, await found(bootstrap, reason))) == 1
    assert all(one.handled for one in await found(bootstrap, reason))


async def test_of_the_letters_of_both_processors_one_is_sent_back_and_each_is_discarded_alone(
    bootstrap: str, reason: str
) -> None:
    """Both may park the same request; what is sent back is read by both."""
    actions: Sequence[Action] = ("redriven", "discarded")
    for number, action in enumerate(actions):
        (letter,) = letters_of(f"{reason} {number}", [b"{"])
        await park(bootstrap, [letter])
        await park(bootstrap, [letter], processor="gate")
        first = await handle(
            bootstrap,
            lambda one: one.reason == letter.rejection.reason and one.processor == "ledger",  # noqa: B023
            action,
            actor="ann",
            reason="",
            at=AT,
        )
        await until_visible(bootstrap)
        assert len(first.done) == 1
        other = next(one for one in await found(bootstrap, letter.rejection.reason) if one.processor == "gate")
        assert (other.handled is not None) == (action == "redriven")


async def test_a_letter_of_the_gates_own_topics_goes_back_to_its_partition(bootstrap: str, reason: str) -> None:
    record = FakeRecord(GATE_BY_ADDRESS.name, b"\x93", b"email:ann@example.com", [], 3, next(_OFFSETS))
    await park(bootstrap, [DeadLetter(record, Rejection(reason, "bad", b"\x93", None))], processor="gate")
    assert len((await act(bootstrap, reason)).done) == 1
    (again,) = await sent_back(bootstrap, await found(bootstrap, reason), GATE_BY_ADDRESS.name)
    assert (again.partition, again.key, again.value) == (3, record.key, record.value)


async def test_what_does_not_fit_does_not_stop_the_others(bootstrap: str, reason: str) -> None:
    value = b"x" * (MAX_MESSAGE_BYTES - 100)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=MAX_MESSAGE_BYTES) as one:
        sent = await one.send_and_wait(TOPIC, value)
    source = FakeRecord(TOPIC, value, None, [], sent.partition, sent.offset)
    whole = DeadLetter(source, Rejection(reason, "bad", value, None))
    element = DeadLetter(source, Rejection(reason, "bad", value, 3))
    await park(bootstrap, [whole, element, *letters_of(reason, [b"{"])])
    result = await act(bootstrap, reason)
    assert len(result.done) == 1
    assert sorted(why.split(";")[0] for _, why in result.impossible) == [
        "it has no value",
        "with the header that names its letter it is larger than Kafka takes",
    ]


async def test_a_missing_topic_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    async with private_broker(tmp_path) as broker:
        for _ in range(2):
            with pytest.raises(BrokerError, match=r"Kafka has no topic dead-letters\.handled"):
                await read_handled(broker.bootstrap)
        assert DEAD_LETTERS_HANDLED.name in await create_topics(TopicSettings(kafka_bootstrap=broker.bootstrap))


async def test_kafka_that_does_not_answer_in_time_is_a_broker_error(
    bootstrap: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await park(bootstrap, letters_of(reason, [b"{"]))
    never = asyncio.Event()
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    monkeypatch.setattr(KafkaTransactions, "write", lambda *_: never.wait())
    with pytest.raises(BrokerError, match="no answer in time"):
        await act(bootstrap, reason)


async def test_a_dry_run_changes_nothing(bootstrap: str, reason: str) -> None:
    await park(bootstrap, letters_of(reason, [b"{", b"["]))
    assert len((await act(bootstrap, reason, dry_run=True)).done) == 2
    assert [one.handled for one in await found(bootstrap, reason)] == [None, None]
    assert await sent_back(bootstrap, await found(bootstrap, reason)) == []


async def test_operators_at_the_same_time_send_each_letter_back_once(bootstrap: str, reason: str) -> None:
    await park(bootstrap, letters_of(reason, [b"%d" % n for n in range(250)]))
    outcomes = await asyncio.gather(*(act(bootstrap, reason) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(one, HandlingResult | SendledgerError) for one in outcomes), outcomes
    assert any(isinstance(one, HandlingResult) for one in outcomes)
    await act(bootstrap, reason)  # what the last one left, if it was interrupted by another
    records = await sent_back(bootstrap, await found(bootstrap, reason))
    assert Counter(r.value for r in records) == Counter(b"%d" % n for n in range(250))


class DiedError(Exception):
    """In place of a kill."""


async def test_an_operator_who_dies_within_a_transaction_leaves_nothing_half_done(
    bootstrap: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open transaction stays as it is, as after kill -9, until the next operator starts."""
    await park(bootstrap, letters_of(reason, [b"%d" % n for n in range(10)]))
    left_open, batches = list[KafkaTransactions](), list[str]()
    close, send_batch = KafkaTransactions.close, AIOKafkaProducer.send_batch

    async def dies(self: AIOKafkaProducer, batch: Any, topic: str, *, partition: int) -> Any:
        batches.append(topic)
        if len(batches) == 2:
            raise DiedError
        return await send_batch(self, batch, topic, partition=partition)

    async def leave_open(self: KafkaTransactions) -> None:
        left_open.append(self)

    with monkeypatch.context() as patched:
        patched.setattr(AIOKafkaProducer, "send_batch", dies)
        patched.setattr(KafkaTransactions, "close", leave_open)
        with pytest.raises(DiedError):
            await act(bootstrap, reason)
    assert len((await act(bootstrap, reason)).done) == 10
    records = await sent_back(bootstrap, await found(bootstrap, reason))
    assert Counter(r.value for r in records) == Counter(b"%d" % n for n in range(10))
    for transactions in left_open:
        await close(transactions)


async def test_a_letter_that_fails_again_names_the_one_before(bootstrap: str, reason: str) -> None:
    await park(bootstrap, letters_of(reason, [b"{"]))
    await act(bootstrap, reason)
    (first,) = await found(bootstrap, reason)
    (record,) = await sent_back(bootstrap, [first])
    await park(bootstrap, [DeadLetter(record, Rejection(reason, "still bad", record.value or b"", None))])
    second = next(one for one in await found(bootstrap, reason) if one.id != first.id)
    assert second.redriven_from == str(first.id)
    assert second.handled is None
    await act(bootstrap, reason)
    (again,) = await sent_back(bootstrap, [second])
    assert [value for name, value in again.headers if name == REDRIVEN_FROM] == [str(second.id).encode()]


async def test_an_element_is_sent_back_alone(bootstrap: str, reason: str) -> None:
    element = orjson.dumps({"event": "delivered", "email": "ann@example.com", "timestamp": 1})
    post = FakeRecord(TOPIC, b"[...]", b"key", HEADERS, 1, next(_OFFSETS))
    await park(bootstrap, [DeadLetter(post, Rejection(reason, "bad", element, 4))])
    (letter,) = await found(bootstrap, reason)
    assert letter.source == LetterSource(TOPIC, 1, post.offset, 4)
    assert would_do(letter, decision_days=30, now_us=NOW_US) == "accepted, 1 events"
    await act(bootstrap, reason)
    (record,) = await sent_back(bootstrap, [letter])
    assert record.value == element
    assert not [name for name, _ in record.headers if name.startswith("dlq.") and name != REDRIVEN_FROM]


async def test_an_element_that_is_a_list_is_sent_back_as_one_element(bootstrap: str, reason: str) -> None:
    post = FakeRecord(TOPIC, b"[...]", b"key", HEADERS, 1, next(_OFFSETS))
    await park(bootstrap, [DeadLetter(post, Rejection(reason, "bad", b'[1, "two"]', 4))])
    (letter,) = await found(bootstrap, reason)
    now = would_do(letter, decision_days=30, now_us=NOW_US)
    assert now == "rejected: element_not_object: an element must be an object"
    await act(bootstrap, reason)
    (record,) = await sent_back(bootstrap, [letter])
    assert record.value == b'[[1, "two"]]'


async def test_a_value_that_had_no_room_comes_from_the_source(bootstrap: str, reason: str) -> None:
    value = b"x" * (MAX_RECORD_BYTES + 60 * 1024)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=MAX_MESSAGE_BYTES) as producer:
        sent = await producer.send_and_wait(TOPIC, value, key=b"large")
    source = FakeRecord(TOPIC, value, b"large", [("own", b"1" * 5000)], sent.partition, sent.offset)
    await park(bootstrap, [DeadLetter(source, Rejection(reason, "bad", value, None))])
    (letter,) = await found(bootstrap, reason)
    assert letter.value == b""
    assert len((await act(bootstrap, reason)).done) == 1
    (record,) = await sent_back(bootstrap, [letter])
    assert (record.value == value, record.key) == (True, b"large")


async def test_what_can_not_be_sent_back_has_a_reason_and_the_rest_is_sent(bootstrap: str, reason: str) -> None:
    gone = DeadLetter(FakeRecord(TOPIC, b"", b"k", [], 1, 9_999_999), Rejection(reason, "bad", b"", None))
    foreign = DeadLetter(FakeRecord("somebody.else", b"{", b"k", [], 1, 1), Rejection(reason, "bad", b"{", None))
    await park(bootstrap, [gone, foreign, *letters_of(reason, [b"{"])])
    result = await act(bootstrap, reason)
    assert len(result.done) == 1
    assert sorted(why.split(":")[0].split(",")[0] for _, why in result.impossible) == [
        "it has no value",
        "it names no topic of ours",
    ]
    assert sum(one.handled is not None for one in await found(bootstrap, reason)) == 1


async def test_records_of_any_client_are_listed(bootstrap: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        sent = await producer.send_and_wait("dead-letters", None, key=b"k", headers=[("dlq.reason", b"\xff")])
        await producer.send_and_wait("dead-letters.handled", b"not json", key=b"k")
    id_ = LetterId(sent.partition, sent.offset)
    letter = await read_letter(bootstrap, id_, await read_handled(bootstrap))
    assert letter is not None
    assert (letter.id, letter.topic, letter.source, letter.value) == (id_, "", None, b"")
    assert await read_letter(bootstrap, LetterId(sent.partition, sent.offset + 1), HandledLetters()) is None
    assert would_do(letter, decision_days=30, now_us=NOW_US).startswith("rejected")


async def test_large_sets_are_handled_in_several_transactions(
    bootstrap: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GROUP_LETTERS", 3)
    await park(bootstrap, letters_of(reason, [b"%d" % n for n in range(10)]))
    assert len((await act(bootstrap, reason)).done) == 10
    assert len(await sent_back(bootstrap, await found(bootstrap, reason))) == 10


@pytest.mark.parametrize(
    ("topic", "value", "expected"),
    [
        (TOPIC, b"{", "rejected: body_not_json"),
        (TOPIC, b"[]", "accepted, 0 events"),
        ("sends.requested", b"{}", "rejected: record_invalid"),
        *((topic.name, orjson.dumps(EXAMPLES[topic.holds].payload), "accepted") for topic in OWN),
        ("gate.by-address", b"\x93", "the gate processes it again"),
        ("unknown", b"{}", "rejected: no decoder for this topic"),
    ],
)
def test_what_would_become_of_a_letter_now(topic: str, value: bytes, expected: str) -> None:
    letter = Letter(LetterId(0, 1), topic, LetterSource(topic, 0, 1, None), "r", "d", "ledger", AT, "", b"k", value, ())
    assert would_do(letter, decision_days=36500, now_us=NOW_US).startswith(expected)


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("3:17", LetterId(3, 17)),
        ("0:0", LetterId(0, 0)),
        *(
            (text, None)
            for text in ("", ":", "3", "3:", ":17", "-1:2", "3:17:1", "a:b", "3: 17", "١:٢", "1:" + "9" * 30)
        ),
    ],
)
def test_an_id_is_a_partition_and_an_offset(text: str, id_: LetterId | None) -> None:
    assert LetterId.of(text) == id_
    if id_:
        assert str(id_) == text


async def test_open_letters_are_read_up_to_a_limit_the_newest_first(bootstrap: str, reason: str) -> None:
    for number in range(3):
        record = FakeRecord(TOPIC, b"{", b"key", HEADERS, 9, number)  # other tests handle records of partition 1
        await park(bootstrap, [DeadLetter(record, Rejection(f"{reason} {number}", "bad", b"{", None))])
    await act(bootstrap, f"{reason} 1", "discarded")
    found = await read_open_letters(bootstrap, since_ms=0, most=1_000, within_seconds=60)
    assert [one.reason for one in found.letters if one.reason.startswith(reason)] == [f"{reason} 2", f"{reason} 0"]
    assert (found.older, found.reached_end) == (0, True)
    fewer = await read_open_letters(bootstrap, since_ms=0, most=1, within_seconds=60)
    assert (fewer.letters, fewer.older) == (found.letters[:1], len(found.letters) - 1)
