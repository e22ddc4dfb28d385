"""Every error of ours. The family decides what is done about it; the message says what, where and the mend.

    SendledgerError
    ├── EventError            the record is at fault: park it and go on
    │   └── RecordInvalid
    ├── RequestError          the caller is at fault: 400 to 422, by its code; exit 2
    │   └── SignatureInvalid
    ├── TimedOut              the request's time was up before anything was stored: ask again; 503; exit 4
    ├── StoreError            ClickHouse is away: retry in place; 503; exit 4
    │   └── StoreDenied       ClickHouse refuses the user or the password: an operator mends it; 503; exit 3
    ├── StoreRefused          ClickHouse says no: find the record at fault, park it
    ├── BrokerError           Kafka is away: retry in place; 503; exit 4
    │   └── BrokerDenied      Kafka forbids it, or a new producer did not help: an operator mends it; 503; exit 4
    ├── RecordRefused         Kafka refuses single records for ever: park them; 413
    └── ConfigError           the operator is at fault: refuse to start; exit 3

Logs show `where` and `mend`; an HTTP answer shows `what` only. None of the three ever holds a secret or a body.
"""

from collections.abc import Mapping
from typing import Any

from schemas.events import Place

__all__ = [
    "BrokerDenied",
    "BrokerError",
    "ConfigError",
    "EventError",
    "RecordInvalid",
    "RecordRefused",
    "RequestError",
    "SendledgerError",
    "SignatureInvalid",
    "StoreDenied",
    "StoreError",
    "StoreRefused",
    "TimedOut",
]


class SendledgerError(Exception):
    """An error that somebody can act upon."""

    def __init__(self, what: str, where: str, mend: str) -> None:
        super().__init__(what, where, mend)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what} (where: {self.where}; mend: {self.mend})"


class EventError(SendledgerError):
    """The record is at fault: it is parked as a dead letter, and the rest goes on."""


class RecordInvalid(EventError):
    """A record that its topic's schema refuses. `reason` is the stable code that `dlq.reason` shows."""

    def __init__(self, reason: str, detail: str, place: Place) -> None:
        super().__init__(
            what=f"{reason}: {detail}",
            where=f"{place.topic} partition {place.partition} offset {place.offset}",
            mend="mend what writes this topic, then redrive the dead letter",
        )
        self.reason = reason
        self.detail = detail
        self.place = place

    def __reduce__(self) -> tuple[type["RecordInvalid"], tuple[str, str, Place]]:
        return type(self), (self.reason, self.detail, self.place)


class RequestError(SendledgerError):
    """The caller is at fault: a signature, a token, a parameter, a field.

    `code` is stable, and one of docs/reference/problems.md. `more` is what a program is told beside the text.
    """

    code = "bad-request"

    def __init__(
        self, what: str, where: str, mend: str, *, code: str | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(what, where, mend)
        self.code = code or self.code
        self.more = dict(more or {})


class SignatureInvalid(RequestError):
    """A webhook that its provider did not sign, as far as we can tell."""

    code = "signature-invalid"


class TimedOut(SendledgerError):
    """The time that a request had was up before anything was stored. Neither the caller nor a service is at fault."""


class StoreError(SendledgerError):
    """ClickHouse is away or refuses: retried in place."""


class StoreDenied(StoreError):
    """ClickHouse answers, and refuses the user or the password of our settings."""


class StoreRefused(SendledgerError):
    """ClickHouse refuses a statement or a row, and may refuse it for ever."""


class BrokerError(SendledgerError):
    """Kafka is away or refuses: retried in place."""


class BrokerDenied(BrokerError):
    """Kafka answers, with an error that neither time nor a new producer mends: rights, versions, a topic's name.

    It is retried like any BrokerError, and excuses no stall: a worker that gets nowhere ends, and says why.
    """


class RecordRefused(SendledgerError):
    """Kafka refuses single records, whatever is tried: they are too large, or have neither key nor value.

    `refused` has the index of each in the call, and why. All the others of the call are written.
    """

    def __init__(self, what: str, where: str, refused: Mapping[int, str]) -> None:
        super().__init__(what, where, "make the record smaller, or let its topic take larger ones (max.message.bytes)")
        self.refused = refused

    def __reduce__(self) -> tuple[type["RecordRefused"], tuple[str, str, Mapping[int, str]]]:
        return type(self), (self.what, self.where, self.refused)


class ConfigError(SendledgerError):
    """The operator is at fault: the program refuses to start."""
