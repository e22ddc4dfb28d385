"""The routes of dead letters: list them, show one, send some back or discard them.

In:  filters, ids, a reason; of an operator of all accounts. Out: letters, and what was done about each.
"""

import base64
import codecs
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, params

from application.dead_letters import (
    ID_PATTERN,
    DiscardRequest,
    LetterFilter,
    LetterKey,
    LetterSelection,
    LetterState,
    RedriveRequest,
    ShownLetter,
    handle_letters,
    key_of,
    letter_id,
    list_letters,
    outcome_rows,
    show_letter,
    valid_discard,
    valid_redrive,
)
from application.principals import Principal
from gateway.access import OPERATORS, for_all_accounts, require_role
from gateway.api.lists import CursorText, Limit, Paginator, Row, period
from gateway.api.models.dead_letters import DeadLetter, DeadLetters, LettersHandled
from gateway.bodies import parse_object, read_body
from gateway.openapi import READ_CODES, WRITE_CODES, BodySpec, ResponseSpec, operation, schema_of
from processors.dead_letters.browsing import Letter
from processors.dead_letters.handling import Action
from schemas.decoding.times import rfc3339
from schemas.settings import GatewaySettings

__all__ = ["MAX_SHOWN_BYTES", "LetterIdText", "router", "shown_bytes"]

MAX_SHOWN_BYTES: Final = 64 * 1024
"""The most bytes of a key or a value that are shown; Kafka has the rest."""
_MAX_HEADERS: Final = 100
_MAX_HEADER_BYTES: Final = 4 * 1024
_MAX_BODY_BYTES: Final = 64 * 1024

_NO_STORE: Final = ("no-such-account", "too-many-reads", "clickhouse-away")
_READ: Final = (*(code for code in READ_CODES if code not in _NO_STORE), "kafka-away")
_WRITE: Final = (*(code for code in WRITE_CODES if code != "no-such-account"), "another-operator")

LetterIdText = Annotated[str, Path(pattern=ID_PATTERN, description="The letter: its partition and offset, like `3:17`")]
DryRun = Annotated[bool, Query(description="Change nothing; answer what would be done")]

_LETTER: Final = {
    "letter": "3:17",
    "failed_at": "2026-11-30T08:00:00.000000Z",
    "topic": "webhooks.sendgrid",
    "source": "webhooks.sendgrid/1/4711/0",
    "reason": "element_failed",
    "detail": "KeyError: 'timestamp'",
    "processor": "ledger",
    "redriven_from": "",
    "handled": None,
}
_VALUE: Final = b'{"event": "delivered"}'
_SHOWN: Final = _LETTER | {
    "key": {"text": None, "base64": "/w==", "size": 1},
    "value": {"text": _VALUE.decode(), "base64": base64.b64encode(_VALUE).decode(), "size": len(_VALUE)},
    "headers": [{"name": "content_type", "text": "a/b", "base64": "YS9i", "size": 3}],
    "now": "accepted, 1 events",
}
_REDRIVE: Final = BodySpec(
    {"application/json": schema_of(RedriveRequest)}, {"application/json": {"with_reason": "store_refused"}}
)
_DISCARD: Final = BodySpec(
    {"application/json": schema_of(DiscardRequest)},
    {"application/json": {"ids": ["3:17"], "reason": "a test of the provider"}},
)
_HANDLED: Final = {
    "dry_run": False,
    "items": [{"letter": "3:17", "result": "redriven", "why": ""}],
    "next": None,
    "left": 0,
    "complete": True,
}


def router(settings: GatewaySettings) -> APIRouter:
    """Return the routes under `/v1/dead-letters`."""
    routes = APIRouter(prefix="/v1/dead-letters", tags=["dead-letters"])
    operator = Depends(for_all_accounts(require_role(OPERATORS, settings.token_secret.get_secret_value())))
    as_operator = Annotated[Principal, operator]
    _add_reads(routes, settings, operator)

    async def done(principal: Principal, selection: LetterSelection, action: Action, reason: str, *, dry: bool) -> Row:
        result = await handle_letters(
            settings.kafka,
            selection,
            action,
            actor=principal.subject,
            reason=reason,
            at=rfc3339(time.time_ns() // 1000),
            dry_run=dry,
        )
        rows = outcome_rows(result, selection.missing(result), action)
        return {"dry_run": dry, "items": rows, "next": None, "left": result.left, "complete": result.complete}

    answer = {200: ResponseSpec("What was done about each letter", LettersHandled, example=_HANDLED)}

    @routes.post(
        "/redrive",
        **operation("redriveDeadLetters", answer, roles=OPERATORS, codes=_WRITE, body=_REDRIVE),
    )
    async def redrive(request: Request, principal: as_operator, dry_run: DryRun = False) -> dict[str, Any]:
        """Send dead letters back to their topics, each at most once. One that fails again becomes a new letter.

        Up to 100 at once: repeat it while `left` is not 0 or `complete` is false. It needs a token of all accounts.
        """
        selection = valid_redrive(parse_object(await read_body(request, _MAX_BODY_BYTES)))
        return await done(principal, selection, "redriven", "", dry=dry_run)

    @routes.post(
        "/discard",
        **operation("discardDeadLetters", answer, roles=OPERATORS, codes=_WRITE, body=_DISCARD),
    )
    async def discard(request: Request, principal: as_operator, dry_run: DryRun = False) -> dict[str, Any]:
        """Discard dead letters: they can't be sent back any more. Their bytes stay in Kafka.

        Up to 100 at once: repeat it while `left` is not 0 or `complete` is false. It needs a token of all accounts.
        """
        selection, reason = valid_discard(parse_object(await read_body(request, _MAX_BODY_BYTES)))
        return await done(principal, selection, "discarded", reason, dry=dry_run)

    return routes


def _add_reads(routes: APIRouter, settings: GatewaySettings, operator: params.Depends) -> None:
    """Add the routes that change nothing."""

    @routes.get(
        "",
        **operation(
            "listDeadLetters",
            {
                200: ResponseSpec(
                    "A page of dead letters, the newest first", DeadLetters, example={"items": [_LETTER], "next": None}
                )
            },
            roles=OPERATORS,
            codes=(*_READ, "invalid-cursor"),
        ),
        dependencies=[operator],
    )
    async def list_(
        wanted: Annotated[LetterFilter, Depends(_filter)],
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """List records that could not be processed, the newest first. It needs a token of all accounts.

        Each page reads the topic: if that takes too long, it is 503; then give a `from`.
        """
        paginator = Paginator("dead-letters", LetterKey, (str, int, int), repr(wanted))
        found = await list_letters(settings.kafka, wanted, limit=limit + 1, before=paginator.after(cursor))
        keys = {str(one.id): key_of(one) for one in found}
        return paginator.page([_row(one) for one in found], limit, lambda row: keys[row["letter"]])

    @routes.get(
        "/{letter}",
        **operation(
            "getDeadLetter",
            {200: ResponseSpec("The letter", DeadLetter, example=_SHOWN)},
            roles=OPERATORS,
            codes=(*_READ, "no-such-letter"),
        ),
        dependencies=[operator],
    )
    async def get(letter: LetterIdText) -> dict[str, Any]:
        """A dead letter: its bytes, its headers, its error, and what the current code would do with it.

        It needs a token of all accounts.
        """
        shown = await show_letter(
            settings.kafka,
            letter_id(letter),
            decision_days=settings.decision_days,
            now_us=time.time_ns() // 1000,
        )
        return _shown(shown)


async def _filter(
    with_reason: Annotated[str | None, Query(min_length=1, max_length=100, description="With this reason")] = None,
    topic: Annotated[str | None, Query(min_length=1, max_length=249, description="Of this topic")] = None,
    state: Annotated[LetterState, Query(description="What was done about them")] = "open",
    from_: Annotated[str | None, Query(alias="from", description="Parked from this time or date on")] = None,
    to: Annotated[str | None, Query(description="Parked before this time or date")] = None,
) -> LetterFilter:
    return LetterFilter(state, LetterSelection(reason=with_reason, topic=topic), *period(from_, to))


def _row(letter: Letter) -> Row:
    done = letter.handled
    return {
        "letter": str(letter.id),
        "failed_at": letter.failed_at,
        "topic": letter.topic,
        "source": str(letter.source or ""),
        "reason": letter.reason,
        "detail": letter.detail,
        "processor": letter.processor,
        "redriven_from": letter.redriven_from,
        "handled": done and {"action": done.action, "actor": done.actor, "reason": done.reason, "at": done.at},
    }


def _shown(shown: ShownLetter) -> dict[str, Any]:
    letter = shown.letter
    headers = [{"name": name} | shown_bytes(value, _MAX_HEADER_BYTES) for name, value in letter.headers[:_MAX_HEADERS]]
    return _row(letter) | {
        "key": None if letter.key is None else shown_bytes(letter.key),
        "value": None if shown.value is None else shown_bytes(shown.value),
        "headers": headers,
        "now": shown.now,
    }


def shown_bytes(value: bytes, most: int = MAX_SHOWN_BYTES) -> dict[str, Any]:
    """Return the first bytes, as text if they are UTF-8 and in base64, and how many there are."""
    first = value[:most]
    try:  # the last character may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(first, final=len(value) <= most)
    except UnicodeDecodeError:
        text = None
    return {"text": text, "base64": base64.b64encode(first).decode(), "size": len(value)}
