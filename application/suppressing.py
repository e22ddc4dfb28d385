"""Suppressing an address, releasing it, and opting its recipient in: a command into the log.

In:  what is asked for, as JSON has it; who asks, and when. Out: the command that is in the log, and how it was before.
The gate takes it from there: what it changes is published in `suppressions.changed`.

A scope that is left out is `*` for a principal of all accounts, and else its only account. FieldsInvalid names what
can't be; RequestError with `scope-not-allowed` or `no-such-account` is for a scope that the principal does not have.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from application.current_state import CurrentState, current_state
from application.errors import FieldsInvalid, ValidationFault
from application.lookups import Run
from application.principals import Principal, no_account
from application.suppression_commands import Action, Made, make
from application.writing import Kafka, write
from projections.store import Store
from schemas.errors import RequestError
from schemas.identity import account_id_or_blank
from schemas.records import id_text
from schemas.suppressions import EVERYWHERE

__all__ = ["command_of", "give"]


def command_of(asked: Mapping[str, Any], action: Action, principal: Principal, now_us: int) -> Made:
    """Return the command that `asked` is, for a scope that the principal has. Raises RequestError."""
    scope = _scope(asked.get("scope"), principal)
    return make({**asked, "scope": scope}, action, actor=principal.subject, now_us=now_us)


async def give(kafka: Kafka, store: Store, made: Made, run: Run = asyncio.to_thread) -> CurrentState:
    """Write the command; return how it was before. Raises TimedOut, BrokerError and RecordRefused."""
    before = await current_state(store, made, run)
    await write(kafka, [made.record()])
    return before


def _scope(given: object, principal: Principal) -> object:
    scope = id_text(given)
    if scope is None:
        scope = EVERYWHERE if principal.covers_all else principal.only_account
        if scope is None:
            raise FieldsInvalid([ValidationFault("scope", "must be given: the token covers several accounts")])
    if scope == EVERYWHERE and not principal.covers_all:
        raise RequestError(
            "`scope` * takes a token of all accounts; name an account of yours",
            "scope",
            "Name an account, or act for all",
            code="scope-not-allowed",
        )
    if isinstance(scope, str) and account_id_or_blank(scope) and not principal.covers(scope):
        raise no_account()
    return scope
