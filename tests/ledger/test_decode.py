"""Decoding of records by topic, with their headers."""

from processors.ledger.decode import read_records
from schemas.topics import LEDGER_INPUTS, PARKED_BY_GATE, WEBHOOKS
from tests.building import ACCOUNT, MESSAGE, FakeRecord


def test_an_adapter_gets_the_headers_of_the_record() -> None:
    url = f"https://hooks.example.com/webhooks/twilio?sl_account={ACCOUNT}&sl_message={MESSAGE}".encode()
    body = b"MessageSid=SM1&MessageStatus=delivered&To=%2B14155550123"
    named = FakeRecord(WEBHOOKS["twilio"].name, body, headers=[("request_url", url)])
    nameless = FakeRecord(WEBHOOKS["twilio"].name, body)
    decoded = read_records([named, nameless], decision_days=30)
    assert [(event.account_id, event.message_id) for event in decoded.events] == [(ACCOUNT, MESSAGE)]
    assert [event.event_id for event in decoded.orphans] == [event.event_id for event in decoded.events]


def test_every_topic_of_the_ledger_has_a_decoder() -> None:
    """Malformed records are parked, except in topics that the gate parks."""
    records = {topic: FakeRecord(topic.name, b"\xff") for topic in LEDGER_INPUTS}
    decoded = read_records(records.values(), decision_days=30)
    assert [letter.record for letter in decoded.letters] == [
        records[t] for t in LEDGER_INPUTS if t not in PARKED_BY_GATE
    ]


def test_an_empty_webhook_is_skipped() -> None:
    """It has no rows, so it does not prove that the store accepts records of its topic."""
    empty = FakeRecord(WEBHOOKS["sendgrid"].name, b"[]")
    decoded = read_records([empty], decision_days=30)
    assert (decoded.skipped, decoded.letters) == ([empty], [])
