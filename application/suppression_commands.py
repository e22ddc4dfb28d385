"""Builds a SuppressionCommand from the fields of a request.

In:  channel, address, scope, reason and the other fields as they were given; the actor, and the time.
Out: the command with its id and its time, and its Kafka key; or FieldsInvalid, with all faults.

Permissions are not checked here.
"""

import os
import re
from collections.abc import Mapping
from itertools import islice
from typing import Final, Literal, NamedTuple

from application.errors import FieldsInvalid, ValidationFault
from application.fields import unknown_fault
from application.validation import validate_record
from application.writing import OutgoingRecord
from projections.suppressions.addressing import AddressKey, is_address
from schemas.decoding.addresses import address_key
from schemas.decoding.gate_inputs import decode_command
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.suppressions import SuppressionCommand
from schemas.topics import SUPPRESSIONS_COMMANDS

__all__ = ["CALLER_FIELDS", "OPT_IN_FIELDS", "Action", "PreparedCommand", "build_command", "channel_of"]

Action = Literal["suppress", "release", "opt_in"]

CALLER_FIELDS: Final = ("channel", "address", "scope", "reason", "note", "group", "sender")
"""The fields that a caller may give. We set the others."""
OPT_IN_FIELDS: Final = ("group", "sender")
"""The fields that only an opt-in may have."""

_MAX_UNKNOWN_FIELDS: Final = 3
"""Reported unknown fields of one command: each is compared with all known ones, and a file has 10,000 lines."""
_PHONE_LIKE: Final = re.compile(r"\s*(?:(?:whatsapp|messenger|sms|rcs|tel|mms):\s*)*[+(\d]", re.I)
_ADDRESS_PROBLEMS: Final = {
    "email": "must be an email address, like ann@example.com",
    "sms": "must be a phone number in E.164, like +14155550100",
}


class PreparedCommand(NamedTuple):
    """A valid command, ready to be written."""

    command: SuppressionCommand
    key: AddressKey
    value: bytes

    def record(self) -> OutgoingRecord:
        """Return the record to write."""
        return OutgoingRecord.by_actor(self.command.actor, SUPPRESSIONS_COMMANDS, str(self.key), self.value)


def channel_of(address: str) -> str:
    """Return the channel of an address, by its form."""
    return "sms" if _PHONE_LIKE.match(address) and "@" not in address else "email"


def build_command(
    fields: Mapping[str, object], action: Action, *, actor: str, now_us: int, command_id: str | None = None
) -> PreparedCommand:
    """Return the command of `fields` and the time `now_us`, with a new id unless it is given. Raises FieldsInvalid."""
    unknown = islice((name for name in fields if name not in CALLER_FIELDS), _MAX_UNKNOWN_FIELDS)
    if faults := [unknown_fault(name, CALLER_FIELDS) for name in unknown]:
        raise FieldsInvalid(faults)
    payload = {name: value for name, value in fields.items() if value is not None}
    id_ = command_id or uuid7(now_us, os.urandom(10))
    own_fields = {"command_id": id_, "action": action, "actor": actor, "at": rfc3339(now_us)}
    command, value, _ = validate_record(
        SuppressionCommand, payload | own_fields, SUPPRESSIONS_COMMANDS, decode_command, now_us=now_us
    )
    key = AddressKey(command.channel, address_key(command.address, command.channel))
    faults = [
        ValidationFault(name, "is allowed in an opt-in only")
        for name in OPT_IN_FIELDS
        if action != "opt_in" and name in payload
    ]
    if not command.reason.strip():
        faults.append(ValidationFault("reason", "must not be blank"))
    if not is_address(key.address, command.channel):
        faults.append(ValidationFault("address", _ADDRESS_PROBLEMS[command.channel]))
    if faults:
        raise FieldsInvalid(faults)
    return PreparedCommand(command, key, value)
