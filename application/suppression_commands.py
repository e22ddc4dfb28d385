"""A SuppressionCommand, made from what somebody asks for.

In:  channel, address, scope, reason and the rest as they were given; who asks, and when.
Out: the command with an id and a time of its own, and the key that it is written under; or FieldsInvalid, with all
faults.

Whether the asker may do it is not asked here.
"""

import os
import re
from collections.abc import Mapping
from itertools import islice
from typing import Final, Literal, NamedTuple

from application.checking import checked
from application.errors import FieldsInvalid, ValidationFault
from application.fields import unknown_fault
from application.writing import Written
from projections.gate.addressing import AddressKey, is_address
from schemas.addresses import address_key
from schemas.gate_facts import decode_command
from schemas.identity import uuid7
from schemas.suppressions import SuppressionCommand
from schemas.times import rfc3339
from schemas.topics import SUPPRESSIONS_COMMANDS

__all__ = ["ASKED_FIELDS", "OF_OPT_IN", "Action", "Made", "channel_of", "make"]

Action = Literal["suppress", "release", "opt_in"]

ASKED_FIELDS: Final = ("channel", "address", "scope", "reason", "note", "group", "sender")
"""What a caller may say. The rest of a command is ours."""
OF_OPT_IN: Final = ("group", "sender")
"""What only an opt-in may name."""

_UNKNOWN_NAMED: Final = 3
"""Unknown fields of one command that are named: each is compared with all that there are, and a file has 10,000."""
_LIKE_A_NUMBER: Final = re.compile(r"\s*(?:(?:whatsapp|messenger|sms|rcs|tel|mms):\s*)*[+(\d]", re.I)
_WANTED: Final = {
    "email": "must be an email address, like ann@example.com",
    "sms": "must be a phone number in E.164, like +14155550100",
}


class Made(NamedTuple):
    """A command that is good."""

    command: SuppressionCommand
    key: AddressKey
    value: bytes

    def record(self) -> Written:
        """What is to be written."""
        return Written.by(self.command.actor, SUPPRESSIONS_COMMANDS, str(self.key), self.value)


def channel_of(address: str) -> str:
    """Return the channel that an address looks like one of."""
    return "sms" if _LIKE_A_NUMBER.match(address) and "@" not in address else "email"


def make(asked: Mapping[str, object], action: Action, *, actor: str, now_us: int) -> Made:
    """Return the command that `asked` is, of now. Raises FieldsInvalid."""
    unknown = islice((name for name in asked if name not in ASKED_FIELDS), _UNKNOWN_NAMED)
    if faults := [unknown_fault(name, ASKED_FIELDS) for name in unknown]:
        raise FieldsInvalid(faults)
    said = {name: value for name, value in asked.items() if value is not None}
    ours = {"command_id": uuid7(now_us, os.urandom(10)), "action": action, "actor": actor, "at": rfc3339(now_us)}
    command, value, _ = checked(SuppressionCommand, said | ours, SUPPRESSIONS_COMMANDS, decode_command, now_us=now_us)
    key = AddressKey(command.channel, address_key(command.address, command.channel))
    faults = [
        ValidationFault(name, "belongs to an opt-in alone") for name in OF_OPT_IN if action != "opt_in" and name in said
    ]
    if not command.reason.strip():
        faults.append(ValidationFault("reason", "must not be blank"))
    if not is_address(key.address, command.channel):
        faults.append(ValidationFault("address", _WANTED[command.channel]))
    if faults:
        raise FieldsInvalid(faults)
    return Made(command, key, value)
