"""What the gate tells others: the values of `sends.decided` and `suppressions.changed`, from what was decided.

In:  a request and its verdict; a view of an address.
Out: JSON that the published models (`schemas.records.SendDecision`, `schemas.suppressions.SuppressionState`) accept.
Promise: the same input gives the same bytes, so that a decision that is told again is told in the same words.
"""

from typing import Any, NamedTuple

import orjson

from projections.gate.addressing import AddressKey
from projections.gate.decide import Verdict
from projections.gate.opt_outs import OptOut
from projections.gate.suppression import ScopeView, SuppressionView
from schemas.facts import Request
from schemas.times import rfc3339

__all__ = ["Written", "decision_value", "state_value"]


class Written(NamedTuple):
    """What a request says, and nothing about its place: what is remembered of it beside its decision."""

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
    def of(cls, request: Request) -> "Written":
        """Return what a request says."""
        return cls(
            request.requested_us,
            request.channel,
            request.template_id,
            request.template_name,
            request.template_kind,
            request.unsubscribe_group,
            request.recipient_kind,
            request.recipient_id,
            request.recipient_name,
            request.to,
            request.cc,
            request.sender,
            request.subject,
            request.appointment_id,
            orjson.loads(request.extra).get("metadata", {}),
        )

    def as_record(self, account_id: str, message_id: str) -> dict[str, Any]:
        """Return it as a SendRequest. What the request left out, or left blank, is left out."""
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
            "template": template | _said(unsubscribe_group=self.unsubscribe_group),
            "recipient": recipient | _said(name=self.recipient_name),
            "to": self.to,
            "requested_at": rfc3339(self.requested_us),
            **_said(**options),
        }


def decision_value(account_id: str, message_id: str, verdict: Verdict, decided_us: int, written: Written) -> bytes:
    """Return the record of `sends.decided` that tells a decision."""
    return orjson.dumps(
        {
            "message_id": message_id,
            "account_id": account_id,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "detail": verdict.detail,
            "evidence": verdict.evidence,
            "decided_at": rfc3339(decided_us),
            "channel": written.channel,
            "to": written.to,
            "request": written.as_record(account_id, message_id),
        }
    )


def state_value(key: AddressKey, view: SuppressionView, version: int, changed_us: int) -> bytes:
    """Return the record of `suppressions.changed` that tells what holds for an address."""
    return orjson.dumps(
        {
            "channel": key.channel,
            "address": key.address,
            "scopes": [_scope(scope) for scope in view.scopes],
            "opt_outs": [_opt_out(out) for out in view.opt_outs],
            "version": version,
            "changed_at": rfc3339(changed_us),
        }
    )


def _scope(scope: ScopeView) -> dict[str, Any]:
    said: dict[str, Any] = {
        "scope": scope.scope,
        "suppressed": scope.suppressed,
        "reason": scope.reason,
        "since": rfc3339(scope.since_us),
        "evidence": scope.evidence,
    }
    if scope.released_us is not None:
        said["released"] = {"at": rfc3339(scope.released_us), "actor": scope.released_by}
    return said


def _opt_out(out: OptOut) -> dict[str, Any]:
    named = _said(group=out.group, sender=out.sender)
    return {"scope": out.scope, **named, "reason": out.reason, "since": rfc3339(out.since_us)}


def _said(**options: Any) -> dict[str, Any]:
    """The options that say something."""
    return {name: value for name, value in options.items() if value}
