"""The ledger writer: what is retried, what is parked, and what ends the worker."""

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from processors.engine import TP, FailureLimit, RecordBatch
from processors.engine.errors import EveryRecordFails, TooManyFailures
from processors.ledger import decode as reading
from processors.ledger.write import LedgerWriter
from schemas.decoding.decoders import Decode, decoders
from schemas.errors import BrokerError, StoreError, StoreRefused
from schemas.events import Headers, Parsed, Rejection, SourcePosition
from schemas.examples import EXAMPLES
from schemas.providers import ADAPTERS
from schemas.telemetry import Telemetry
from tests.building import ACCOUNT, MESSAGE, FakeRecord
from tests.fakes import FakeLetters, FakeStore


def a_record(address: str, offset: int) -> FakeRecord:
    event = {"event": "delivered", "email": address, "sl_account": ACCOUNT, "sl_message": MESSAGE}
    return FakeRecord("webhooks.sendgrid", orjson.dumps([event]), offset=offset)


def a_writer(store: FakeStore, letters: FakeLetters, limit: FailureLimit | None = None) -> LedgerWriter:
    return LedgerWriter(store, letters, Telemetry(), limit or FailureLimit(), decision_days=30)


RECORDS = [a_record(f"user{n}@example.com", n) for n in range(20)]
ADDRESSES = {f"user{n}@example.com" for n in range(20)}


async def write(writer: LedgerWriter, records: Sequence[FakeRecord]) -> None:
    await writer.write([RecordBatch(TP("webhooks.sendgrid", 0), records)])


async def test_a_group_is_written_and_nothing_is_parked() -> None:
    store, letters = FakeStore(), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert (set(store.addresses), letters.parked) == (ADDRESSES, [])


def _use_decoder(monkeypatch: pytest.MonkeyPatch, topic: str, decode: Decode) -> None:
    monkeypatch.setattr(reading, "decoders", lambda **settings: {**decoders(**settings), topic: decode})


async def test_only_the_record_of_a_refused_row_is_parked() -> None:
    store, letters = FakeStore(refused=frozenset({"user7@example.com"})), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert set(store.addresses) == ADDRESSES - {"user7@example.com"}
    assert [(x.record.offset, x.rejection.reason, x.rejection.value) for x in letters.parked] == [
        (7, "store_refused", RECORDS[7].value)
    ]


async def test_a_record_that_our_code_fails_on_is_parked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One decoder in the table of decoders has a bug."""

    def buggy(value: bytes, source: SourcePosition, headers: Headers) -> Parsed:
        if source.offset == 3:
            raise ZeroDivisionError
        return ADAPTERS["sendgrid"](value, source, headers)

    _use_decoder(monkeypatch, "webhooks.sendgrid", buggy)
    store, letters = FakeStore(), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert set(store.addresses) == ADDRESSES - {"user3@example.com"}
    assert [(x.record.offset, x.rejection.reason) for x in letters.parked] == [(3, "code_failed")]


async def test_too_many_failures_of_our_own_end_the_worker() -> None:
    store, letters = FakeStore(refused=frozenset(ADDRESSES - {"user0@example.com"})), FakeLetters()
    with pytest.raises(TooManyFailures):
        await write(a_writer(store, letters, FailureLimit(most=5)), RECORDS)
    assert letters.parked == []


@pytest.mark.parametrize("size", [1, 2, 20])
async def test_a_store_that_refuses_every_record_blames_none(size: int) -> None:
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters)
    await write(writer, RECORDS)
    store.refused = frozenset(ADDRESSES)
    for _ in range(3):
        with pytest.raises(EveryRecordFails, match="one that succeeded before fails now"):
            await write(writer, RECORDS[-size:])
    store.refused = frozenset()
    await write(writer, RECORDS[-size:])
    assert letters.parked == []


async def test_a_single_refused_record_is_parked_if_a_known_good_one_still_succeeds() -> None:
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters)
    await write(writer, RECORDS[:1])
    store.refused = frozenset({"user7@example.com"})
    await write(writer, [RECORDS[7]])
    assert [(x.record.offset, x.rejection.reason) for x in letters.parked] == [(7, "store_refused")]


async def test_malformed_records_prove_nothing_about_the_store() -> None:
    """They succeed without a row, whatever the store does."""
    store, letters = FakeStore(refused=frozenset(ADDRESSES)), FakeLetters()
    malformed = FakeRecord("webhooks.sendgrid", b"{", offset=99)
    with pytest.raises(EveryRecordFails):
        await write(a_writer(store, letters), [*RECORDS[:3], malformed])
    assert letters.parked == []


async def test_malformed_records_alone_never_end_the_worker() -> None:
    store, letters = FakeStore(), FakeLetters()
    await write(
        a_writer(store, letters, FailureLimit(most=5)),
        [FakeRecord("webhooks.sendgrid", b"{", offset=n) for n in range(50)],
    )
    assert {x.rejection.reason for x in letters.parked} == {"body_not_json"}
    assert len(letters.parked) == 50


async def test_too_many_bugs_of_an_adapter_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter turns its own failure into a dead letter, so it costs one element; a hundred are a bad release."""

    def failing(value: bytes, source: SourcePosition, headers: Headers) -> Parsed:
        return Parsed([], [Rejection("element_failed", "KeyError", value, 0)])

    _use_decoder(monkeypatch, "webhooks.sendgrid", failing)
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters, FailureLimit(most=30))
    await write(writer, RECORDS)
    with pytest.raises(TooManyFailures):
        await write(writer, RECORDS)
    assert len(letters.parked) == len(RECORDS)


async def test_an_unavailable_store_is_raised_for_the_engine_to_retry() -> None:
    store, letters = FakeStore(errors=[StoreError("away", "here", "wait")]), FakeLetters()
    writer = a_writer(store, letters)
    with pytest.raises(StoreError):
        await write(writer, RECORDS)
    await write(writer, RECORDS)
    assert (set(store.addresses), letters.parked) == (ADDRESSES, [])


async def test_dead_letters_that_kafka_did_not_acknowledge_are_written_again() -> None:
    store, letters = FakeStore(), FakeLetters(errors=[BrokerError("away", "here", "wait")])
    writer = a_writer(store, letters)
    with pytest.raises(BrokerError):
        await write(writer, [FakeRecord("webhooks.sendgrid", b"{")])
    await write(writer, [FakeRecord("webhooks.sendgrid", b"{")])
    assert len(letters.parked) == 1


async def test_a_temporary_refusal_is_retried_before_bisecting() -> None:
    store, letters = FakeStore(errors=[StoreRefused("odd", "here", "look")]), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert (set(store.addresses), letters.parked) == (ADDRESSES, [])


async def test_groups_may_overlap() -> None:
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters)
    await asyncio.gather(write(writer, RECORDS[:10]), write(writer, RECORDS[10:]))
    assert sorted(store.addresses) == sorted(ADDRESSES)


async def test_decisions_are_counted_by_outcome_and_changes_of_addresses_by_what_holds_now() -> None:
    telemetry = Telemetry()
    writer = LedgerWriter(FakeStore(), FakeLetters(), telemetry, FailureLimit(), decision_days=30)
    decision = EXAMPLES["SendDecision"].payload
    opened = EXAMPLES["SuppressionState"].payload
    closed = opened | {"scopes": [scope | {"suppressed": True} for scope in opened["scopes"]]}
    said = {
        "sends.decided": [decision, decision | {"outcome": "approved", "reason": "ok", "evidence": []}, decision],
        "suppressions.changed": [closed, opened],
    }
    await writer.write(
        [
            RecordBatch(
                TP(topic, 0), [FakeRecord(topic, orjson.dumps(value), offset=n) for n, value in enumerate(values)]
            )
            for topic, values in said.items()
        ]
    )

    def counted(name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(f"sendledger_{name}", labels)

    assert counted("decisions_total", outcome="suppressed") == 2
    assert counted("decisions_total", outcome="approved") == 1
    assert counted("suppression_changes_total", channel=closed["channel"], now="closed") == 1
    assert counted("suppression_changes_total", channel=closed["channel"], now="open") == 1
