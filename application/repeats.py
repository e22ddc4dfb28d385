"""Requests that are asked for again with other content: the one that was asked for first is the one that is decided.

In:  the requests of a call, what this process remembers of keys, and the decisions that came back.
Out: faults that name what differs.

The gate remembers every message_id for `DECISION_DAYS`, and a decision names the request that it decided: so a caller
that waits learns of any difference. A caller that doesn't wait learns only what this process remembers: the last keys.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson

from application.errors import ValidationFault
from application.send_requests import KEY_HEADER, Pair, Send
from schemas.facts import Request

__all__ = ["MAX_KEYS", "KeyMemory", "differences"]

MAX_KEYS: Final = 50_000
"""Requests with an Idempotency-Key that one process remembers: some 10 MB."""

_NAMES: Final = {
    "requested_us": "requested_at",
    "template_id": "template.id",
    "template_name": "template.name",
    "template_kind": "template.kind",
    "unsubscribe_group": "template.unsubscribe_group",
    "recipient_kind": "recipient.kind",
    "recipient_id": "recipient.id",
    "recipient_name": "recipient.name",
}
"""How a SendRequest calls what a decoded request calls otherwise."""


class KeyMemory:
    """What was asked for with each of the last keys."""

    def __init__(self) -> None:
        self._asked: dict[bytes, bytes] = {}

    def take(self, sends: Sequence[Send]) -> list[ValidationFault]:
        """Remember the requests; return those whose key asked for something else before, and then remember none."""
        asked = {send.key: (index, _digest(send)) for index, send in enumerate(sends) if send.key is not None}
        faults = [
            ValidationFault(
                KEY_HEADER, "was used for another request: repeat that one, or use another key", {"index": index}
            )
            for key, (index, digest) in asked.items()
            if self._asked.get(key, digest) != digest
        ]
        if not faults:
            for key, (_, digest) in asked.items():
                self._asked.pop(key, None)  # what is asked for again is forgotten last
                self._asked[key] = digest
            while len(self._asked) > MAX_KEYS:
                del self._asked[next(iter(self._asked))]
        return faults


def differences(sends: Sequence[Send], decided: Mapping[Pair, Request]) -> list[ValidationFault]:
    """Return the fields in which requests differ from those that were decided under their ids."""
    return [
        ValidationFault(name, "differs from the request that was decided under this message_id", {"index": index})
        for index, send in enumerate(sends)
        for name in _differing(send.decoded, decided[send.pair])
    ]


def _differing(asked: Request, decided: Request) -> list[str]:
    if asked.content_hash == decided.content_hash:
        return []
    ours, theirs = _fields(asked), _fields(decided)
    return [_NAMES.get(name, name) for name in ours if ours[name] != theirs.get(name)]


def _fields(request: Request) -> dict[str, Any]:
    """What a request says, by the names of the timeline; what it leaves out is blank."""
    fields: dict[str, Any] = orjson.loads(request.extra)
    return fields


def _digest(send: Send) -> bytes:
    return blake2b(send.decoded.content_hash.encode() + (send.content or b""), digest_size=16).digest()
