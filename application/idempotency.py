"""Detects repeated requests whose content differs: only the first request under an id is decided.

In:  the requests of a call, the recent idempotency keys of this process, and the decisions that came back.
Out: faults that name the differing fields.

The gate remembers every message_id for `DECISION_DAYS`, and a decision contains the request that it decided. So a
caller that waits learns of any difference. A caller that doesn't wait learns only of those under recent keys.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson

from application.errors import ValidationFault
from application.send_requests import KEY_HEADER, MessageKey, PreparedSend
from schemas.decoding.sends import Request

__all__ = ["MAX_KEYS", "IdempotencyKeys", "differences"]

MAX_KEYS: Final = 50_000
"""Requests with an Idempotency-Key that one process remembers: about 10 MB."""

_FIELD_NAMES: Final = {
    "requested_us": "requested_at",
    "template_id": "template.id",
    "template_name": "template.name",
    "template_kind": "template.kind",
    "unsubscribe_group": "template.unsubscribe_group",
    "recipient_kind": "recipient.kind",
    "recipient_id": "recipient.id",
    "recipient_name": "recipient.name",
}
"""The SendRequest's name of each field that a decoded request names differently."""


class IdempotencyKeys:
    """The content of the request under each recent key."""

    def __init__(self) -> None:
        self._digests: dict[bytes, bytes] = {}

    def remember(self, sends: Sequence[PreparedSend]) -> list[ValidationFault]:
        """Remember the requests; or, if a key was used for other content, return its faults and remember none."""
        requests = {send.key: (index, _digest(send)) for index, send in enumerate(sends) if send.key is not None}
        faults = [
            ValidationFault(
                KEY_HEADER, "was used for another request: repeat that one, or use another key", {"index": index}
            )
            for key, (index, digest) in requests.items()
            if self._digests.get(key, digest) != digest
        ]
        if not faults:
            for key, (_, digest) in requests.items():
                self._digests.pop(key, None)  # a repeated key becomes the newest
                self._digests[key] = digest
            while len(self._digests) > MAX_KEYS:
                del self._digests[next(iter(self._digests))]
        return faults


def differences(sends: Sequence[PreparedSend], decided: Mapping[MessageKey, Request]) -> list[ValidationFault]:
    """Return a fault for each field in which a request differs from the one that was decided under its id."""
    return [
        ValidationFault(name, "differs from the request that was decided under this message_id", {"index": index})
        for index, send in enumerate(sends)
        for name in _differing(send.decoded, decided[send.message_key])
    ]


def _differing(request: Request, decided: Request) -> list[str]:
    if request.content_hash == decided.content_hash:
        return []
    given, first = _fields(request), _fields(decided)
    return [_FIELD_NAMES.get(name, name) for name in given if given[name] != first.get(name)]


def _fields(request: Request) -> dict[str, Any]:
    """The fields of a request, by their names in the timeline; an omitted field is blank."""
    fields: dict[str, Any] = orjson.loads(request.extra)
    return fields


def _digest(send: PreparedSend) -> bytes:
    return blake2b(send.decoded.content_hash.encode() + (send.content or b""), digest_size=16).digest()
