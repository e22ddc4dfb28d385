"""What a provider sent for an event: its bytes, no secret, and nothing of another account."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from application import deadlines
from application.raw_events import SHOWN_HEADERS, RawEvent, RawEvents
from application.signatures.keys import SigningKeys
from processors.engine import Record
from processors.source_positions import source_position
from schemas.decoding.times import rfc3339
from schemas.errors import BrokerError, RequestError, TimedOut
from schemas.providers import ADAPTERS
from tests.building import NOW_US, FakeRecord
from tests.golden import rewrite as golden

NO_KEYS = SigningKeys((), (), ())
HEADERS = [
    ("received_at", rfc3339(NOW_US).encode()),
    ("content_type", b"application/json"),
    ("request_url", b"https://hooks.example.com/webhooks/x"),
    ("authorization", b"Basic cG9zdG1hcms6c2VjcmV0"),
]
ACME = b'{"event": "open",\t"email":"ann@acme.example", "timestamp": 1600000000, "note": "[\\",]\\u001b"}'
GLOBEX = b'{"event":"bounce","email":"bob@globex.example","timestamp":1600000001,"reason":"\xc3\x28"}'
SENDGRID = FakeRecord("webhooks.sendgrid", b"\xef\xbb\xbf[ " + ACME + b" ,\n" + GLOBEX + b"]\r\n", headers=HEADERS)
SINGLE = FakeRecord("webhooks.sendgrid", ACME, headers=HEADERS)
TWILIO = FakeRecord(
    "webhooks.twilio",
    b"MessageSid=SM1&MessageStatus=sent&To=%2B14155550123",
    headers=[*HEADERS[:1], ("content_type", b"application/x-www-form-urlencoded"), *HEADERS[2:]],
)
POSTMARK = FakeRecord(
    "webhooks.postmark",
    b'{"RecordType":"Open","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","Recipient":"ann@acme.example",'
    b'"ReceivedAt":"2020-09-13T12:26:40Z"}',
    headers=HEADERS,
)


def rows(record: FakeRecord) -> list[dict[str, Any]]:
    """The rows of the timeline with the events of a record."""
    provider = record.topic.partition(".")[2]
    found = ADAPTERS[provider](record.value or b"", source_position(record), record.headers)
    return [
        one._asdict()
        | {"email_id": one.message_id, "source": f"{one.topic}/{one.partition}/{one.offset}/{one.position}"}
        for one in found.events
    ]


async def read(event: Mapping[str, Any], record: Record | None) -> RawEvent:
    async def read_record(topic: str, partition: int, offset: int) -> Record | None:
        assert [topic, partition, offset] == [event["topic"], event["partition"], event["offset"]]
        return record

    return await RawEvents(read_record, NO_KEYS).read(event)


@pytest.mark.parametrize(
    ("record", "position", "element"),
    [
        pytest.param(SENDGRID, 0, ACME, id="sendgrid, the first of a list"),
        pytest.param(SENDGRID, 1, GLOBEX, id="sendgrid, the last of a list, not UTF-8"),
        pytest.param(SINGLE, 0, ACME, id="sendgrid, not in a list"),
        pytest.param(TWILIO, 0, TWILIO.value, id="twilio"),
        pytest.param(POSTMARK, 0, POSTMARK.value, id="postmark"),
    ],
)
async def test_it_is_what_was_sent_byte_for_byte(record: FakeRecord, position: int, element: bytes) -> None:
    found = await read(rows(record)[position], record)
    assert (found.element, found.body) == (element, record.value)


def golden_post(case: Path) -> FakeRecord:
    """The record of a golden case."""
    topic, partition, offset, received_us = golden.source_position(case)
    return FakeRecord(topic, case.read_bytes(), None, golden.headers_of(case), partition, offset, received_us // 1000)


@pytest.mark.parametrize("post", [pytest.param(golden_post(case), id=case.stem) for case in golden.cases()])
async def test_the_bytes_of_every_golden_event_are_found_in_its_post(post: FakeRecord) -> None:
    for event in rows(post):
        found = await read(event, post)
        assert found.element in (post.value or b"")
        again = ADAPTERS[event["provider"]](found.element, source_position(post), post.headers)
        assert [one.event_id for one in again.events] == [event["event_id"]]


async def test_without_the_body_nothing_of_another_account_is_shown() -> None:
    found = await read(rows(SENDGRID)[0], SENDGRID)
    own, whole = (found.as_json(with_body=with_body) for with_body in (False, True))
    assert own["body"] is None
    assert b"globex" not in orjson.dumps(own)
    assert b"globex" in orjson.dumps(own | {"body": found.body.decode("utf-8", "replace")})
    assert whole["body"]["encoding"] == "base64"  # the other account's element is not UTF-8
    assert own["element"] == {"encoding": "utf-8", "size_bytes": len(ACME), "text": ACME.decode()}


async def test_only_headers_without_a_secret_are_shown() -> None:
    found = await read(rows(POSTMARK)[0], POSTMARK)
    assert found.headers.keys() == {"received_at", "content_type", "request_url"}
    assert "authorization" not in SHOWN_HEADERS
    assert b"cG9zdG1hcms6c2VjcmV0" not in orjson.dumps(found.as_json(with_body=True))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(None, id="deleted by retention"),
        pytest.param(FakeRecord("webhooks.sendgrid", None), id="without a value"),
        pytest.param(FakeRecord("webhooks.sendgrid", b"[" + GLOBEX + b"]", headers=HEADERS), id="another event"),
        pytest.param(FakeRecord("webhooks.sendgrid", b"[]", headers=HEADERS), id="without elements"),
        pytest.param(FakeRecord("webhooks.sendgrid", b"{", headers=HEADERS), id="not JSON"),
    ],
)
async def test_a_record_that_is_gone_or_replaced_shows_nothing(record: FakeRecord | None) -> None:
    with pytest.raises(RequestError, match="no longer has what was sent") as caught:
        await read(rows(SENDGRID)[0], record)
    assert caught.value.code == "record-gone"


async def test_a_position_that_now_has_both_accounts_in_one_element_shows_nothing() -> None:
    nested = FakeRecord("webhooks.sendgrid", b"[[" + ACME + b"," + GLOBEX + b"]]", headers=HEADERS)
    with pytest.raises(RequestError) as caught:
        await read(rows(SENDGRID)[0], nested)
    assert caught.value.code == "record-gone"


async def test_a_record_of_our_own_was_sent_by_no_provider() -> None:
    decided = rows(SENDGRID)[0] | {"source": "sends.decided/0/17/0"}
    with pytest.raises(RequestError, match="No provider sent this event") as caught:
        await read(decided, None)
    assert caught.value.code == "no-such-event"


async def test_a_kafka_that_does_not_answer_in_time_is_no_missing_record() -> None:
    async def never(*_: object) -> Record | None:
        await asyncio.Event().wait()
        raise AssertionError

    with deadlines.limit(0.0), pytest.raises(TimedOut):
        await RawEvents(never, NO_KEYS).read(rows(SENDGRID)[0])


async def test_a_kafka_that_is_away_is_an_error_of_the_broker() -> None:
    async def away(*_: object) -> Record | None:
        raise BrokerError("Kafka is away", "nowhere", "start it")

    with pytest.raises(BrokerError):
        await RawEvents(away, NO_KEYS).read(rows(SENDGRID)[0])
