"""The error classes. The class decides how an error is handled; the message says what, where, and how to fix it.

    SendledgerError
    ├── EventError            the record is at fault: dead-letter it and go on
    │   └── RecordInvalid
    ├── RequestError          the caller is at fault: 400 to 422, by its code; exit 2
    │   └── SignatureInvalid
    ├── TimedOut              the request timed out before anything was stored: repeat it; 503; exit 4
    ├── StoreError            ClickHouse is unavailable: retry in place; 503; exit 4
    │   └── StoreDenied       ClickHouse rejects the user or the password: an operator must fix it; 503; exit 3
    ├── StoreRefused          ClickHouse rejects a statement or a row: find the record at fault and dead-letter it
    ├── BrokerError           Kafka is unavailable: retry in place; 503; exit 4
    │   └── BrokerDenied      Kafka forbids it, or a new producer did not help: an operator must fix it; 503; exit 4
    │       └── BrokerSettingsError  our TLS or SASL settings don't fit Kafka's listener: fix them; 503; exit 3
    ├── RecordRefused         Kafka will never take these records: dead-letter them; 413
    └── ConfigError           the operator is at fault: refuse to start; exit 3

Logs show `where` and `mend`; an HTTP response shows only `what`, and for a token also `mend`. None of the three
contains a secret or a body.
"""

from collections.abc import Mapping
from typing import Any

from schemas.events import SourcePosition

__all__ = [
    "BrokerDenied",
    "BrokerError",
    "BrokerSettingsError",
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
    """An error that somebody can act on: `what` happened, `where`, and how to `mend` it."""

    def __init__(self, what: str, where: str, mend: str) -> None:
        super().__init__(what, where, mend)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what} (where: {self.where}; mend: {self.mend})"


class EventError(SendledgerError):
    """The record is at fault: it becomes a dead letter, and processing continues."""


class RecordInvalid(EventError):
    """A record that does not match its topic's schema. `reason` is the stable code in the header `dlq.reason`."""

    def __init__(self, reason: str, detail: str, source: SourcePosition) -> None:
        super().__init__(
            what=f"{reason}: {detail}",
            where=f"{source.topic} partition {source.partition} offset {source.offset}",
            mend="fix the program that writes this topic, then redrive the dead letter",
        )
        self.reason = reason
        self.detail = detail
        self.source = source

    def __reduce__(self) -> tuple[type["RecordInvalid"], tuple[str, str, SourcePosition]]:
        return type(self), (self.reason, self.detail, self.source)


class RequestError(SendledgerError):
    """The caller is at fault: a wrong signature, token, parameter or field.

    `code` is stable, and one of those in docs/reference/problems.md. `more` has further fields for programs.
    """

    code = "bad-request"

    def __init__(
        self, what: str, where: str, mend: str, *, code: str | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(what, where, mend)
        self.code = code or self.code
        self.more = dict(more or {})


class SignatureInvalid(RequestError):
    """A webhook without a valid signature of its provider."""

    code = "signature-invalid"


class TimedOut(SendledgerError):
    """A request timed out before anything was stored. Neither the caller nor a service is at fault."""


class StoreError(SendledgerError):
    """ClickHouse is unavailable, or does not accept requests: retried in place."""


class StoreDenied(StoreError):
    """ClickHouse answers, and rejects the user or the password in our settings."""


class StoreRefused(SendledgerError):
    """ClickHouse rejects a statement or a row, and a retry may never help."""


class BrokerError(SendledgerError):
    """Kafka is unavailable, or does not accept requests: retried in place."""


class BrokerDenied(BrokerError):
    """Kafka answers with an error that neither time nor a new producer fixes: ACLs, versions, a topic's name.

    It is retried like any BrokerError, but does not pause the stall timer: a worker that makes no progress ends, and
    logs why.
    """


class BrokerSettingsError(BrokerDenied):
    """Kafka runs, and our TLS or SASL settings don't fit: a password, a CA, a host name, a certificate, a protocol."""


class RecordRefused(SendledgerError):
    """Kafka will never take some records: they are too large, or have neither key nor value.

    `refused` maps the index of each in the call to the reason. All other records of the call are written.
    """

    def __init__(self, what: str, where: str, refused: Mapping[int, str]) -> None:
        super().__init__(what, where, "make the record smaller, or let its topic take larger ones (max.message.bytes)")
        self.refused = refused

    def __reduce__(self) -> tuple[type["RecordRefused"], tuple[str, str, Mapping[int, str]]]:
        return type(self), (self.what, self.where, self.refused)


class ConfigError(SendledgerError):
    """The operator is at fault: the program refuses to start."""
