"""Records read: each by its topic, with what its headers say."""

from processors.ledger.reading import read_records
from schemas.topics import LEDGER_INPUTS, PARKED_BY_GATE, WEBHOOKS
from tests.building import ACCOUNT, MESSAGE, FakeRecord


def test_an_adapter_is_given_the_records_headers() -> None:
    url = f"https://hooks.example.com/webhooks/twilio?sl_account={ACCOUNT}&sl_message={MESSAGE}".encode()
    body = b"MessageSid=SM1&MessageStatus=delivered&To=%2B14155550123"
    named = FakeRecord(WEBHOOKS["twilio"].name, body, headers=[("request_url", url)])
    nameless = FakeRecord(WEBHOOKS["twilio"].name, body)
    sheet = read_records([named, nameless], decision_days=30)
    assert [(event.account_id, event.message_id) for event in sheet.events] == [(ACCOUNT, MESSAGE)]
    assert [event.event_id for event in sheet.orphans] == [event.event_id for event in sheet.events]


def test_every_topic_of_the_ledger_has_a_reader() -> None:
    """And parks what it can't read, but for what the gate parks."""
    records = {topic: FakeRecord(topic.name, b"\xff") for topic in LEDGER_INPUTS}
    sheet = read_records(records.values(), decision_days=30)
    assert [letter.record for letter in sheet.letters] == [records[t] for t in LEDGER_INPUTS if t not in PARKED_BY_GATE]


def test_a_post_of_no_element_proves_nothing() -> None:
    """It makes no rows, so a store that takes it may refuse all others of its topic."""
    empty = FakeRecord(WEBHOOKS["sendgrid"].name, b"[]")
    sheet = read_records([empty], decision_days=30)
    assert (sheet.passed_over, sheet.letters) == ([empty], [])
