"""What the gate's parts tell each other, as records of its internal topics.

In:  requests, evidence, policies and preferences. Out: records whose header `kind` says what the value is.
A request goes on as the bytes that were asked with, and with the time of its record: "old" and "ahead" are measured
from that wherever it is decided.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from processors.engine import Output, Record
from projections.gate.addressing import AddressKey
from projections.gate.evidence import Addressed
from projections.gate.rows import EVIDENCE, VIEW
from projections.gate.suppression import SuppressionView
from schemas.events import Place
from schemas.facts import Request
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS

__all__ = [
    "JUDGED",
    "Kind",
    "Screened",
    "asked",
    "kind_of",
    "of_account",
    "said_of_address",
    "screened",
    "screened_request",
    "unscreened",
]


class Kind(StrEnum):
    """What a record of an internal topic is."""

    REQUEST = "request"
    EVIDENCE = "evidence"
    POLICY = "policy"
    PREFERENCE = "preference"


class Screened(NamedTuple):
    """A request, and what holds for the address of its To."""

    value: bytes
    view: SuppressionView


JUDGED: Final = 36_500
"""Days of age that a forwarded request may have: the way in has judged it. A setting that changes meanwhile must not
make a record unreadable that is already on its way."""
_AT: Final = "at_us"
_screened: Final = msgspec.msgpack.Encoder()
_parts: Final = msgspec.msgpack.Decoder(tuple[bytes, bytes])


def asked(request: Request, value: bytes) -> Output:
    """Return a request on its way to the address of its To."""
    key = AddressKey(request.channel, request.to_key)
    return Output(GATE_BY_ADDRESS.name, str(key).encode(), value, _headers(Kind.REQUEST, request.place.received_us))


def said_of_address(addressed: Addressed) -> Output:
    """Return evidence on its way to its address."""
    value = EVIDENCE.encode(addressed.evidence)
    return Output(GATE_BY_ADDRESS.name, str(addressed.key).encode(), value, _headers(Kind.EVIDENCE))


def of_account(kind: Kind, account_id: str, value: bytes, place: Place) -> Output:
    """Return a policy or a preference on its way to its account."""
    return Output(GATE_BY_ACCOUNT.name, account_id.encode(), value, _headers(kind, place.received_us))


def screened(account_id: str, value: bytes, view: SuppressionView, record: Record) -> Output:
    """Return a request on its way to its account, with what holds for its address."""
    both = _screened.encode((value, VIEW.encode(view)))
    return Output(
        GATE_BY_ACCOUNT.name, account_id.encode(), both, _headers(Kind.REQUEST, unscreened(record).received_us)
    )


def unscreened(record: Record) -> Place:
    """Return the place by which a forwarded record is to be judged: with the time of the one that was forwarded."""
    at_us = _header(record, _AT)
    return Place(record.topic, record.partition, record.offset, int(at_us) if at_us else record.timestamp * 1000)


def kind_of(record: Record) -> Kind:
    """Return what a record is. Raises ValueError for what no gate writes."""
    return Kind(_header(record, "kind"))


def screened_request(value: bytes) -> Screened:
    """Return what `screened` has put together."""
    request, view = _parts.decode(value)
    return Screened(request, VIEW.decode(view))


def _headers(kind: Kind, at_us: int | None = None) -> Sequence[tuple[str, bytes]]:
    timed = [] if at_us is None else [(_AT, b"%d" % at_us)]
    return [("kind", kind.value.encode()), *timed]


def _header(record: Record, name: str) -> str:
    return next((value.decode() for key, value in record.headers if key == name), "")
