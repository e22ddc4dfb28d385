"""A group in the writer's hands: what is waited out, what is parked, and what ends the worker."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from processors.dead_letters import Letter
from processors.engine import TP, EveryRecordFails, FaultLimit, RecordBatch, TooManyFaults
from processors.ledger import reading
from processors.ledger.writing import LedgerWriter
from schemas.errors import BrokerError, StoreError, StoreRefused
from schemas.events import Bad, Headers, Parsed, Place
from schemas.examples import EXAMPLES
from schemas.telemetry import Telemetry
from tests.building import ACCOUNT, MESSAGE, FakeRecord


@dataclass
class FakeStore:
    """Keeps what is inserted; refuses tables that hold one of `refused` addresses; `faults` are raised first."""

    refused: frozenset[str] = frozenset()
    faults: list[Exception] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def insert(self, table: str, rows: Any) -> None:
        if self.faults:
            raise self.faults.pop(0)
        if table == "events":
            found = rows.column("address").to_pylist()
            if self.refused & set(found):
                raise StoreRefused("no", "here", "never")
            self.addresses += found


@dataclass
class FakeLetters:
    parked: list[Letter] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    async def park(self, letters: Sequence[Letter]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.parked += letters


def a_record(address: str, offset: int) -> FakeRecord:
    event = {"event": "delivered", "email": address, "sl_account": ACCOUNT, "sl_message": MESSAGE}
    return FakeRecord("webhooks.sendgrid", orjson.dumps([event]), offset=offset)


def a_writer(store: FakeStore, letters: FakeLetters, limit: FaultLimit | None = None) -> LedgerWriter:
    return LedgerWriter(store, letters, Telemetry(), limit or FaultLimit(), decision_days=30)  # type: ignore[arg-type]
    # (fakes of the two ports)


RECORDS = [a_record(f"user{n}@example.com", n) for n in range(20)]
ADDRESSES = {f"user{n}@example.com" for n in range(20)}


async def write(writer: LedgerWriter, records: Sequence[FakeRecord]) -> None:
    await writer.write([RecordBatch(TP("webhooks.sendgrid", 0), records)])


async def test_a_group_is_written_and_nothing_is_parked() -> None:
    store, letters = FakeStore(), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert (set(store.addresses), letters.parked) == (ADDRESSES, [])


async def test_a_row_that_the_store_refuses_costs_only_its_record() -> None:
    store, letters = FakeStore(refused=frozenset({"user7@example.com"})), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert set(store.addresses) == ADDRESSES - {"user7@example.com"}
    assert [(x.record.offset, x.bad.reason, x.bad.value) for x in letters.parked] == [
        (7, "store_refused", RECORDS[7].value)
    ]


async def test_a_record_that_our_code_fails_on_is_parked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam is the table of adapters: one of them has a bug."""
    adapters = dict(reading._ADAPTERS)
    adapter = adapters["webhooks.sendgrid"]

    def buggy(value: bytes, place: Place, headers: Headers) -> Parsed:
        if place.offset == 3:
            raise ZeroDivisionError
        return adapter(value, place, headers)

    monkeypatch.setattr(reading, "_ADAPTERS", adapters | {"webhooks.sendgrid": buggy})
    store, letters = FakeStore(), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert set(store.addresses) == ADDRESSES - {"user3@example.com"}
    assert [(x.record.offset, x.bad.reason) for x in letters.parked] == [(3, "code_failed")]


async def test_too_many_faults_of_our_own_end_the_worker() -> None:
    store, letters = FakeStore(refused=frozenset(ADDRESSES - {"user0@example.com"})), FakeLetters()
    with pytest.raises(TooManyFaults):
        await write(a_writer(store, letters, FaultLimit(most=5)), RECORDS)
    assert letters.parked == []


@pytest.mark.parametrize("size", [1, 2, 20])
async def test_a_store_that_refuses_every_record_blames_none(size: int) -> None:
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters)
    await write(writer, RECORDS)
    store.refused = frozenset(ADDRESSES)
    for _ in range(3):
        with pytest.raises(EveryRecordFails, match="one that went through before fails now"):
            await write(writer, RECORDS[-size:])
    store.refused = frozenset()
    await write(writer, RECORDS[-size:])
    assert letters.parked == []


async def test_a_refused_record_that_comes_alone_is_parked_where_another_still_goes_through() -> None:
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters)
    await write(writer, RECORDS[:1])
    store.refused = frozenset({"user7@example.com"})
    await write(writer, [RECORDS[7]])
    assert [(x.record.offset, x.bad.reason) for x in letters.parked] == [(7, "store_refused")]


async def test_malformed_mail_proves_nothing_of_the_store() -> None:
    """It goes through without a row, whatever the store says."""
    store, letters = FakeStore(refused=frozenset(ADDRESSES)), FakeLetters()
    malformed = FakeRecord("webhooks.sendgrid", b"{", offset=99)
    with pytest.raises(EveryRecordFails):
        await write(a_writer(store, letters), [*RECORDS[:3], malformed])
    assert letters.parked == []


async def test_malformed_mail_alone_never_ends_the_worker() -> None:
    store, letters = FakeStore(), FakeLetters()
    await write(
        a_writer(store, letters, FaultLimit(most=5)),
        [FakeRecord("webhooks.sendgrid", b"{", offset=n) for n in range(50)],
    )
    assert {x.bad.reason for x in letters.parked} == {"body_not_json"}
    assert len(letters.parked) == 50


async def test_too_many_mistakes_of_an_adapter_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter turns its own mistake into a letter, so that it costs one element; a hundred are a bad release."""

    def failing(value: bytes, place: Place, headers: Headers) -> Parsed:
        return Parsed([], [Bad("element_failed", "KeyError", value, 0)])

    monkeypatch.setattr(reading, "_ADAPTERS", dict(reading._ADAPTERS) | {"webhooks.sendgrid": failing})
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters, FaultLimit(most=30))
    await write(writer, RECORDS)
    with pytest.raises(TooManyFaults):
        await write(writer, RECORDS)
    assert len(letters.parked) == len(RECORDS)


async def test_a_store_that_is_away_is_the_engines_to_wait_for() -> None:
    store, letters = FakeStore(faults=[StoreError("away", "here", "wait")]), FakeLetters()
    writer = a_writer(store, letters)
    with pytest.raises(StoreError):
        await write(writer, RECORDS)
    await write(writer, RECORDS)
    assert set(store.addresses) == ADDRESSES


async def test_letters_that_kafka_does_not_take_are_written_again() -> None:
    store, letters = FakeStore(), FakeLetters(faults=[BrokerError("away", "here", "wait")])
    writer = a_writer(store, letters)
    with pytest.raises(BrokerError):
        await write(writer, [FakeRecord("webhooks.sendgrid", b"{")])
    await write(writer, [FakeRecord("webhooks.sendgrid", b"{")])
    assert len(letters.parked) == 1


async def test_a_refusal_that_passes_is_tried_before_it_is_believed() -> None:
    store, letters = FakeStore(faults=[StoreRefused("odd", "here", "look")]), FakeLetters()
    await write(a_writer(store, letters), RECORDS)
    assert (set(store.addresses), letters.parked) == (ADDRESSES, [])


async def test_groups_may_overlap() -> None:
    store, letters = FakeStore(), FakeLetters()
    writer = a_writer(store, letters)
    await asyncio.gather(write(writer, RECORDS[:10]), write(writer, RECORDS[10:]))
    assert sorted(store.addresses) == sorted(ADDRESSES)


async def test_decisions_are_counted_by_outcome_and_changes_of_addresses_by_what_holds_now() -> None:
    telemetry = Telemetry()
    writer = LedgerWriter(FakeStore(), FakeLetters(), telemetry, FaultLimit(), decision_days=30)  # type: ignore[arg-type]
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
