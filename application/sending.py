"""Sending: requests into the log, and the decisions about them back where the caller waits.

In:  requests that were read and checked (`application.send_requests`), and who asks.
Out: nothing, once Kafka has all of them; and to whoever waits all the decisions, as far as they may see them, or None
where one of them did not come within WAITED_SECONDS.

FieldsInvalid with the code `idempotency-conflict` names the requests that were asked for before with another content.
After BrokerError each of them may be stored or not: the same requests may be asked for again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
import structlog

from application import deadlines
from application.decisions import DecisionListener, DecisionRecord
from application.errors import FieldsInvalid
from application.evidence import own_evidence, own_records, to_look_up
from application.lookups import UNANSWERED, Run
from application.principals import Principal
from application.repeats import KeyMemory, differences
from application.send_requests import Pair, Send
from application.writing import Kafka, write
from projections.store import Store

__all__ = ["WAITED_SECONDS", "Sending", "ids_of"]

WAITED_SECONDS: Final = 2.0
LOOKED_UP_WITHIN_SECONDS: Final = 0.5
"""Whose the evidence of a decision is: what ClickHouse does not say in this time is left out."""

log = structlog.get_logger()


class Sending:
    """Sends, and remembers what was asked for with the last keys."""

    def __init__(self, kafka: Kafka, listener: DecisionListener, store: Store) -> None:
        self._kafka, self._listener, self._store = kafka, listener, store
        self._keys = KeyMemory()

    async def send(self, sends: Sequence[Send], principal: Principal) -> None:
        """Write the requests. Raises RequestError, TimedOut, BrokerError and RecordRefused."""
        self._remember(sends)
        await self._write(sends, principal)

    async def send_and_wait(
        self, sends: Sequence[Send], principal: Principal, run: Run = asyncio.to_thread
    ) -> list[bytes] | None:
        """Write the requests; return their decisions, in their order; None if not all came in time.

        `run` runs the look-up of whose the evidence is. Raises as `send` does.
        """
        self._remember(sends)
        async with self._listener.watching([send.pair for send in sends]) as waiter:
            await self._write(sends, principal)
            decisions = await waiter.all_within(WAITED_SECONDS) if waiter else None
        if decisions is None:
            return None
        decided_requests = {pair: record.decision.request for pair, record in decisions.items()}
        if faults := differences(sends, decided_requests):
            raise FieldsInvalid(faults, code="idempotency-conflict", items=ids_of(sends))
        shown = await _shown(self._store, run, principal, decisions)
        return [shown[send.pair] for send in sends]

    def _remember(self, sends: Sequence[Send]) -> None:
        if faults := self._keys.take(sends):
            raise FieldsInvalid(faults, code="idempotency-conflict")

    async def _write(self, sends: Sequence[Send], principal: Principal) -> None:
        await write(self._kafka, [record for send in sends for record in send.records(principal.subject)])


def ids_of(sends: Sequence[Send]) -> list[dict[str, str]]:
    """Return what requests are known by, for whoever asks for them again."""
    return [send.pair._asdict() for send in sends]


async def _shown(
    store: Store, run: Run, principal: Principal, records: Mapping[Pair, DecisionRecord]
) -> dict[Pair, bytes]:
    """The decisions as the principal may see them: evidence of other accounts is left out."""
    if principal.covers_all:
        return {pair: record.value for pair, record in records.items()}
    ids = {known for record in records.values() for known in record.decision.evidence}
    own = await _own(store, run, principal, ids)
    return {pair: _with_evidence(record, own) for pair, record in records.items()}


async def _own(store: Store, run: Run, principal: Principal, ids: set[str]) -> set[str]:
    """The ids that are the accounts' own, as far as that is known within LOOKED_UP_WITHIN_SECONDS."""
    accounts = sorted(principal.accounts)
    if not to_look_up(ids):
        return own_records(accounts, ids)
    try:
        async with asyncio.timeout(deadlines.at_most_half(LOOKED_UP_WITHIN_SECONDS)):
            own: set[str] = await run(own_evidence, store, accounts, ids)
            return own
    except UNANSWERED as error:
        log.warning("sends.evidence_unknown", error=type(error).__name__)
        return own_records(accounts, ids)


def _with_evidence(record: DecisionRecord, own: set[str]) -> bytes:
    """A decision with its evidence that is among `own`; the bytes as they are where that is all of it."""
    kept = [known for known in record.decision.evidence if known in own]
    if len(kept) == len(record.decision.evidence):
        return record.value
    return orjson.dumps(orjson.loads(record.value) | {"evidence": kept})
