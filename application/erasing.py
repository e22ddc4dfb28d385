"""Erases the contents of messages to a person: from the tables of all generations, and from later readings of the log.

In:  an account, the client, staff member or address, the reason and the actor.
Out: a record of `sends.erased` for each message, an empty row in `contents` that hides what is or will be there, and
the deletion of what is stored. The log of the erasure is kept for ever and has neither the content nor the address.

The order makes it safe to interrupt and to repeat: the record first, so that the ledger, a replay and a rebuild erase
too; then the tables. Messages of later requests are not erased. Kafka keeps the records of `sends.content` until their
retention ends: docs/how-to/erase-a-person.md says what else remains.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from application.errors import FieldsInvalid, ValidationFault
from application.suppression_commands import channel_of
from application.validation import validate_record
from application.writing import OutgoingRecord, write
from processors.kafka.ports import RecordProducer
from projections.messages.columns import contents_table
from projections.messages.contents import delete_erased, to_erase, with_stored_content
from projections.messages.filters import Filter
from projections.store import Store
from projections.store.generations import generations
from projections.suppressions.addressing import is_address
from schemas.decoding.addresses import address_key
from schemas.decoding.ids import account_id_or_blank, uuid7
from schemas.decoding.sends import Erasure, decode_erasure
from schemas.decoding.times import rfc3339
from schemas.records import ContentErased
from schemas.topics import SENDS_ERASED

__all__ = ["ErasureResult", "Person", "PreparedErasures", "erase", "prepare", "stored_content"]

_MESSAGES_AT_ONCE: Final = 2_000
"""The messages of one statement: their ids fit into one parameter."""

StoreOfGeneration = Callable[[int], Store]


@dataclass(frozen=True, slots=True)
class Person:
    """Whose messages, in one account: exactly one of the three."""

    account: str
    client_id: str | None = None
    staff_id: str | None = None
    address: str | None = None

    def filter(self) -> Filter:
        """Return the filter of the person's messages. Raises FieldsInvalid."""
        faults = []
        if not account_id_or_blank(self.account):
            faults.append(ValidationFault("account", "must be the id of one account"))
        if sum(bool(one) for one in (self.client_id, self.staff_id, self.address)) != 1:
            faults.append(ValidationFault("client-id", "exactly one of client-id, staff-id and address must be given"))
        key = ""
        if self.address:
            channel = channel_of(self.address)
            key = address_key(self.address, channel)
            if not is_address(key, channel):
                faults.append(ValidationFault("address", "must be an email address, or a phone number in E.164"))
        if faults:
            raise FieldsInvalid(faults)
        return Filter(
            [self.account],
            client_id=self.client_id or None,
            staff_id=self.staff_id or None,
            addresses=[key] if key else [],
        )


@dataclass(frozen=True, slots=True)
class PreparedErasures:
    """What an erasure is to do. `erased` says of each message of the person whether it was erased before."""

    account: str
    erased: dict[str, bool]
    erasures: tuple[Erasure, ...]
    """Of all messages of the person: of those that were erased before the tables may still need it."""
    records: tuple[OutgoingRecord, ...]
    """Of those that were not erased before."""


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What an erasure did: messages of the person, records written, and messages whose content was in some table."""

    messages: int
    recorded: int
    with_content: int


def prepare(store: Store, person: Person, *, reason: str, actor: str, now_us: int) -> PreparedErasures:
    """Read which messages are the person's, and return what is to be done. Raises FieldsInvalid and StoreError."""
    query = to_erase(person.account, person.filter())
    _checked(person.account, uuid7(now_us, bytes(10)), uuid7(now_us, bytes(10)), reason, actor, now_us)
    erased = {email_id: bool(already) for email_id, already in store.tuples(query.sql, query.parameters)}
    erasure_id = uuid7(now_us, os.urandom(10))
    made = {one: _checked(person.account, one, erasure_id, reason, actor, now_us) for one in erased}
    return PreparedErasures(
        person.account,
        erased,
        tuple(erasure for erasure, _ in made.values()),
        tuple(record for one, (_, record) in made.items() if not erased[one]),
    )


async def erase(kafka: RecordProducer, store_of: StoreOfGeneration, prepared: PreparedErasures) -> ErasureResult:
    """Write the records, then hide and delete the contents in each generation; return when nothing is stored any more.

    Raises TimedOut, BrokerError, RecordRefused and StoreError; repeat it then.
    """
    if prepared.records:
        await write(kafka, prepared.records)
    held: set[str] = set()
    for number in await asyncio.to_thread(_numbers, store_of):
        held |= await asyncio.to_thread(_erase_in, store_of(number), prepared)
    return ErasureResult(len(prepared.erased), len(prepared.records), len(held))


def stored_content(store_of: StoreOfGeneration, prepared: PreparedErasures) -> int:
    """Return how many of the messages have content in a generation. Raises StoreError."""
    held: set[str] = set()
    for number in _numbers(store_of):
        for chunk in _chunks(prepared.erasures):
            held |= _held(store_of(number), prepared.account, chunk)
    return len(held)


def _numbers(store_of: StoreOfGeneration) -> list[int]:
    return [one.number for one in generations(store_of(1))]


def _erase_in(store: Store, prepared: PreparedErasures) -> set[str]:
    """Erase in one generation; return the messages whose content was there."""
    held: set[str] = set()
    for chunk in _chunks(prepared.erasures):
        found = _held(store, prepared.account, chunk)
        store.insert("contents", contents_table([], chunk))
        if found:
            statement = delete_erased(prepared.account, sorted(found))
            store.define(statement.sql, statement.parameters)
        held |= found
    return held


def _held(store: Store, account: str, erasures: Sequence[Erasure]) -> set[str]:
    query = with_stored_content(account, [one.message_id for one in erasures])
    return {email_id for (email_id,) in store.tuples(query.sql, query.parameters)}


def _chunks(erasures: Sequence[Erasure]) -> list[Sequence[Erasure]]:
    return [erasures[start : start + _MESSAGES_AT_ONCE] for start in range(0, len(erasures), _MESSAGES_AT_ONCE)]


def _checked(
    account: str, email_id: str, erasure_id: str, reason: str, actor: str, now_us: int
) -> tuple[Erasure, OutgoingRecord]:
    """Return an erasure as the ledger will read it, and its record. Raises FieldsInvalid."""
    fields = {
        "erasure_id": erasure_id,
        "message_id": email_id,
        "account_id": account,
        "reason": reason,
        "actor": actor,
        "at": rfc3339(now_us),
    }
    _, value, erasure = validate_record(ContentErased, fields, SENDS_ERASED, decode_erasure, now_us=now_us)
    return erasure, OutgoingRecord(SENDS_ERASED, email_id, value)
