"""The errors of sendledger. The family decides what is done; the message says what, where and the mend.

SendledgerError
├── EventError        a record is at fault          park it, answer 2xx
│   └── RecordInvalid
├── RequestError      a caller is at fault          answer 4xx
│   └── SignatureInvalid
├── WorldError        Kafka or ClickHouse is away   retry in place, answer 503
│   ├── StoreError
│   └── BrokerError
└── ConfigError       an operator is at fault       refuse to start, exit 3
"""

from schemas.events import Place

__all__ = [
    "BrokerError",
    "ConfigError",
    "EventError",
    "RecordInvalid",
    "RequestError",
    "SendledgerError",
    "SignatureInvalid",
    "StoreError",
    "WorldError",
]


class SendledgerError(Exception):
    """Something is wrong: `what`, `where`, and the `mend`."""

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        super().__init__(what, where, mend)
        self.what, self.where, self.mend = what, where, mend

    def __str__(self) -> str:
        return "".join((self.what, f" (at {self.where})" if self.where else "", f". {self.mend}" if self.mend else ""))


class EventError(SendledgerError):
    """A record is at fault: it is parked as a dead letter."""


class RecordInvalid(EventError):
    """A record of ours that breaks its model. `reason` is a stable code, `detail` names the field."""

    def __init__(self, reason: str, detail: str, place: Place) -> None:
        super().__init__(detail, f"{place.topic}/{place.partition}/{place.offset}", "Mend the sender, then redrive it")
        self.reason, self.detail = reason, detail


class RequestError(SendledgerError):
    """A caller is at fault; the HTTP answer shows `what` only."""


class SignatureInvalid(RequestError):
    """A webhook's signature is missing or does not match its body."""


class WorldError(SendledgerError):
    """Something outside is away or overloaded; the same call may go through later."""


class StoreError(WorldError):
    """ClickHouse is away."""


class BrokerError(WorldError):
    """Kafka is away."""


class ConfigError(SendledgerError):
    """A setting is missing or wrong."""
