"""Requests for the gate's benchmarks: usual ones, of 200 accounts to 20,000 addresses."""

from typing import Final

import orjson

from schemas.decoding.times import rfc3339

__all__ = ["a_request"]

ACCOUNTS: Final = 200
ADDRESSES: Final = 20_000


def a_request(number: int, message_id: str, at_us: int) -> bytes:
    """Return the record of `sends.requested` that asks for a message."""
    return orjson.dumps(
        {
            "message_id": message_id,
            "account_id": f"acct{number % ACCOUNTS}",
            "channel": "email",
            "template": {"id": "reminder", "name": "Reminder", "kind": "transactional"},
            "recipient": {"kind": "client", "id": f"c{number}", "name": "Ann Example"},
            "to": f"recipient{number % ADDRESSES}@example.com",
            "subject": "Tomorrow at ten",
            "requested_at": rfc3339(at_us),
        }
    )
