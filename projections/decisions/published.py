"""The value of a `sends.decided` record, and the fields of a request that a decision keeps.

In:  a request and its verdict.
Out: JSON that the published model (`schemas.records.SendDecision`) accepts.
Promise: the same input gives the same bytes, so a repeated request gets the identical first decision.
"""

from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from projections.decisions.decide import Verdict
from schemas.decoding.sends import Request
from schemas.decoding.times import rfc3339

__all__ = ["RequestFields", "decision_value"]


class RequestFields(NamedTuple):
    """The fields of a request without its ids and its source position: what a remembered decision keeps of it.

    Rows in the changelog hold the fields in this order: to change it takes a new row version.
    """

    requested_us: int
    channel: str
    template_id: str
    template_name: str
    template_kind: str
    unsubscribe_group: str
    recipient_kind: str
    recipient_id: str
    recipient_name: str
    to: str
    cc: tuple[str, ...]
    sender: str
    subject: str
    appointment_id: str
    metadata: dict[str, str]

    @classmethod
    def of(cls, request: Request) -> "RequestFields":
        """Return the fields of a request."""
        return cls._make([*_fields_of(request), orjson.loads(request.extra).get("metadata", {})])

    def as_record(self, account_id: str, message_id: str) -> dict[str, Any]:
        """Return them as a SendRequest. Fields that were missing or blank in the request are left out."""
        template = {"id": self.template_id, "name": self.template_name, "kind": self.template_kind}
        recipient = {"kind": self.recipient_kind, "id": self.recipient_id}
        options = {
            "cc": self.cc,
            "from": self.sender,
            "subject": self.subject,
            "appointment_id": self.appointment_id,
            "metadata": self.metadata,
        }
        return {
            "message_id": message_id,
            "account_id": account_id,
            "channel": self.channel,
            "template": template | _not_blank(unsubscribe_group=self.unsubscribe_group),
            "recipient": recipient | _not_blank(name=self.recipient_name),
            "to": self.to,
            "requested_at": rfc3339(self.requested_us),
            **_not_blank(**options),
        }


_fields_of = attrgetter(*(name for name in RequestFields._fields if name != "metadata"))
"""`Request` has all the others under the same names; it has `metadata` in `extra` only."""


def decision_value(
    account_id: str, message_id: str, verdict: Verdict, decided_us: int, request: RequestFields
) -> bytes:
    """Return the value of the record that publishes a decision."""
    return orjson.dumps(
        {
            "message_id": message_id,
            "account_id": account_id,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "detail": verdict.detail,
            "evidence": verdict.evidence,
            "decided_at": rfc3339(decided_us),
            "channel": request.channel,
            "to": request.to,
            "request": request.as_record(account_id, message_id),
        }
    )


def _not_blank(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}
