"""Suppresses an address, releases it, or opts its recipient in: writes a command to Kafka.

In:  the fields of the command as JSON; the principal, and the time. Out: the command in Kafka, and the state before it.
The gate applies the command and publishes what changes in `suppressions.changed`.

The default scope is `*` for a principal of all accounts, else the principal's only account. FieldsInvalid names invalid
fields; RequestError with `scope-not-allowed` or `no-such-account` is for a scope that the principal does not have.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from application.current_state import CurrentState, current_state
from application.errors import FieldsInvalid, ValidationFault
from application.lookups import RunBlocking
from application.principals import Principal, no_such_account
from application.suppression_commands import Action, PreparedCommand, build_command
from application.writing import write
from processors.kafka.ports import RecordProducer
from projections.store import Store
from schemas.decoding.ids import ALL, account_id_or_blank
from schemas.errors import RequestError
from schemas.records import id_text

__all__ = ["command_for", "submit_command"]


def command_for(fields: Mapping[str, Any], action: Action, principal: Principal, now_us: int) -> PreparedCommand:
    """Return the command of `fields`, for a scope that the principal has. Raises RequestError."""
    scope = _scope(fields.get("scope"), principal)
    return build_command({**fields, "scope": scope}, action, actor=principal.subject, now_us=now_us)


async def submit_command(
    kafka: RecordProducer, store: Store, prepared: PreparedCommand, run: RunBlocking = asyncio.to_thread
) -> CurrentState:
    """Write the command; return the state before it. Raises TimedOut, BrokerError and RecordRefused."""
    current = await current_state(store, prepared, run)
    await write(kafka, [prepared.record()])
    return current


def _scope(given: object, principal: Principal) -> object:
    scope = id_text(given)
    if scope is None:
        scope = ALL if principal.covers_all else principal.only_account
        if scope is None:
            raise FieldsInvalid([ValidationFault("scope", "must be given: the token covers several accounts")])
    if scope == ALL and not principal.covers_all:
        raise RequestError(
            "`scope` * takes a token of all accounts; name an account of yours",
            "scope",
            "Name an account, or act for all",
            code="scope-not-allowed",
        )
    if isinstance(scope, str) and account_id_or_blank(scope) and not principal.covers(scope):
        raise no_such_account()
    return scope
