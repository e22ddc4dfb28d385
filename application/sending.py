"""Writes send requests to Kafka and, if the caller waits, returns the decisions about them.

In:  parsed requests (`application.send_requests`), and the principal.
Out: nothing, once Kafka has acknowledged all of them. To a caller that waits: all decisions, with the evidence that the
principal may see; or None if one of them did not arrive within WAIT_SECONDS.

FieldsInvalid with the code `idempotency-conflict` names the requests that were made before with other content. After
BrokerError each request may be stored or not: repeat the same requests.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
import structlog

from application import deadlines
from application.decisions import DecisionListener, DecisionRecord
from application.errors import FieldsInvalid
from application.evidence import ids_to_look_up, visible_evidence, visible_records
from application.idempotency import IdempotencyKeys, differences
from application.lookups import LOOKUP_ERRORS, RunBlocking
from application.principals import Principal
from application.send_requests import MessageKey, PreparedSend
from application.writing import write
from processors.kafka.ports import RecordProducer
from projections.store import Store
from schemas.log_events import LogEvent

__all__ = ["WAIT_SECONDS", "Sending", "ids_of"]

WAIT_SECONDS: Final = 2.0
LOOKUP_SECONDS: Final = 0.5
"""For the look-up of whose evidence it is: what ClickHouse does not answer in this time is left out."""

log = structlog.get_logger()


class Sending:
    """Sends requests, and remembers recent idempotency keys."""

    def __init__(self, kafka: RecordProducer, listener: DecisionListener, store: Store) -> None:
        self._kafka, self._listener, self._store = kafka, listener, store
        self._keys = IdempotencyKeys()

    async def send(self, sends: Sequence[PreparedSend], principal: Principal) -> None:
        """Write the requests. Raises RequestError, TimedOut, BrokerError and RecordRefused."""
        self._remember(sends)
        await self._write(sends, principal)

    async def send_and_wait(
        self, sends: Sequence[PreparedSend], principal: Principal, run: RunBlocking = asyncio.to_thread
    ) -> list[bytes] | None:
        """Write the requests; return their decisions in the same order; None if not all arrived in time.

        `run` runs the blocking look-up of evidence. Raises as `send` does.
        """
        self._remember(sends)
        async with self._listener.subscribe([send.message_key for send in sends]) as waiter:
            await self._write(sends, principal)
            decisions = await waiter.wait_for_all(WAIT_SECONDS) if waiter else None
        if decisions is None:
            return None
        decided_requests = {message_key: record.decision.request for message_key, record in decisions.items()}
        if faults := differences(sends, decided_requests):
            raise FieldsInvalid(faults, code="idempotency-conflict", items=ids_of(sends))
        shown = await _visible_decisions(self._store, run, principal, decisions)
        return [shown[send.message_key] for send in sends]

    def _remember(self, sends: Sequence[PreparedSend]) -> None:
        if faults := self._keys.remember(sends):
            raise FieldsInvalid(faults, code="idempotency-conflict")

    async def _write(self, sends: Sequence[PreparedSend], principal: Principal) -> None:
        await write(self._kafka, [record for send in sends for record in send.records(principal.subject)])


def ids_of(sends: Sequence[PreparedSend]) -> list[dict[str, str]]:
    """Return the ids of requests, for a caller that repeats them."""
    return [send.message_key._asdict() for send in sends]


async def _visible_decisions(
    store: Store, run: RunBlocking, principal: Principal, records: Mapping[MessageKey, DecisionRecord]
) -> dict[MessageKey, bytes]:
    """The decisions without the evidence of other accounts."""
    if principal.covers_all:
        return {message_key: record.value for message_key, record in records.items()}
    ids = {evidence_id for record in records.values() for evidence_id in record.decision.evidence}
    visible = await _visible_ids(store, run, principal, ids)
    return {message_key: _with_evidence(record, visible) for message_key, record in records.items()}


async def _visible_ids(store: Store, run: RunBlocking, principal: Principal, ids: set[str]) -> set[str]:
    """The evidence ids that the accounts may see, as far as that is known within LOOKUP_SECONDS."""
    accounts = sorted(principal.accounts)
    if not ids_to_look_up(ids):
        return visible_records(accounts, ids)
    try:
        async with asyncio.timeout(deadlines.at_most_half(LOOKUP_SECONDS)):
            visible: set[str] = await run(visible_evidence, store, accounts, ids)
            return visible
    except LOOKUP_ERRORS as error:
        log.warning(LogEvent.SENDS_EVIDENCE_UNKNOWN, error=type(error).__name__)
        return visible_records(accounts, ids)


def _with_evidence(record: DecisionRecord, visible: set[str]) -> bytes:
    """A decision with the evidence in `visible` only; the original bytes if that is all of it."""
    kept = [evidence_id for evidence_id in record.decision.evidence if evidence_id in visible]
    if len(kept) == len(record.decision.evidence):
        return record.value
    return orjson.dumps(orjson.loads(record.value) | {"evidence": kept})
