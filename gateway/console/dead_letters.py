"""The page of one dead letter, and the forms that send letters back or discard them: confirm, then what was done.

In:  a session of an operator of all accounts; ids of letters, a reason of theirs, or all. Out: pages. They show bytes
of any origin, so what is not printable is escaped, besides what the templates escape.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response, params

from application.dead_letters import (
    MAX_LETTERS,
    LetterSelection,
    handle_letters,
    handled_by,
    letter_id,
    outcome_rows,
    show_letter,
    valid_discard,
    valid_redrive,
)
from application.errors import FieldsInvalid
from application.principals import Principal
from gateway.access import OPERATORS, for_all_accounts
from gateway.api.dead_letters import LetterIdText
from gateway.bodies import read_body
from gateway.console.pages import Pages
from gateway.console.routing import ConsoleRoute, signed_in
from processors.dead_letters.handling import Action, HandlingResult
from schemas.decoding.times import rfc3339
from schemas.headers import REASONS
from schemas.settings import GatewaySettings

__all__ = ["MAX_SHOWN_BYTES", "readable", "router"]

MAX_SHOWN_BYTES: Final = 16 * 1024
_MAX_HEADERS: Final = 100
_MAX_BODY_BYTES: Final = 64 * 1024
_ACTIONS: Final[Mapping[str, Action]] = {"redrive": "redriven", "discard": "discarded"}
_SELECTORS: Final = ("letter", "with_reason", "all")

Act = Literal["redrive", "discard"]
Letters = Annotated[list[str] | None, Query(max_length=MAX_LETTERS)]
Fields = Mapping[str, Sequence[str]]


def router(settings: GatewaySettings, pages: Pages) -> APIRouter:
    """Return `/health/dead-letters/{letter}`, `/health/dead-letters/act/redrive` and `…/discard`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    operator = Depends(for_all_accounts(signed_in(settings.token_secret.get_secret_value(), roles=OPERATORS)))
    _add_letter(routes, settings, pages, operator)
    _add_acts(routes, settings, pages, operator)
    return routes


def _add_letter(routes: APIRouter, settings: GatewaySettings, pages: Pages, operator: params.Depends) -> None:
    """Add the page of one letter."""

    @routes.get("/health/dead-letters/{letter}", dependencies=[operator])
    async def one(request: Request, letter: LetterIdText) -> Response:
        now_us = time.time_ns() // 1000
        shown = await show_letter(
            settings.kafka, letter_id(letter), decision_days=settings.decision_days, now_us=now_us
        )
        found = shown.letter
        return pages.page(
            request,
            "dead_letter.html",
            letter=found,
            handled=handled_by(found),
            meaning=REASONS.get(found.reason, ""),
            detail=readable(found.detail.encode()),
            key=None if found.key is None else readable(found.key),
            value=None if shown.value is None else readable(shown.value),
            size=len(shown.value or b""),
            most=MAX_SHOWN_BYTES,
            headers=[(readable(name.encode()), readable(value)) for name, value in found.headers[:_MAX_HEADERS]],
            now=readable(shown.now.encode()),
        )


def _add_acts(routes: APIRouter, settings: GatewaySettings, pages: Pages, operator: params.Depends) -> None:
    """Add the form that confirms, and what it does."""
    as_operator = Annotated[Principal, operator]

    async def handled(
        principal: Principal, selection: LetterSelection, act: str, reason: str = "", *, dry: bool
    ) -> Any:
        result = await handle_letters(
            settings.kafka,
            selection,
            _ACTIONS[act],
            actor=principal.subject,
            reason=reason,
            at=rfc3339(time.time_ns() // 1000),
            dry_run=dry,
        )
        return _shown(result, selection, act)

    @routes.get("/health/dead-letters/act/{act}")
    async def confirm(
        request: Request,
        principal: as_operator,
        act: Act,
        letter: Letters = None,
        with_reason: Annotated[str | None, Query(max_length=100)] = None,
        all_: Annotated[Literal["1"] | None, Query(alias="all")] = None,
    ) -> Response:
        given: Fields = {"letter": letter or [], "with_reason": [with_reason or ""], "all": [all_ or ""]}
        planned = await handled(principal, valid_redrive(_selectors(given)), act, dry=True)
        return pages.page(request, "letters_act.html", act=act, given=_pairs(given), planned=planned, problem="")

    @routes.post("/health/dead-letters/act/{act}")
    async def do(request: Request, principal: as_operator, act: Act) -> Response:
        given = parse_qs((await read_body(request, _MAX_BODY_BYTES)).decode(errors="replace"))
        selection = valid_redrive(_selectors(given))
        reason = given.get("reason", [""])[0].strip()
        if act == "discard":
            try:
                selection, reason = valid_discard(_selectors(given) | {"reason": reason})
            except FieldsInvalid:
                planned = await handled(principal, selection, act, dry=True)
                problem = "Give a reason of up to 1,000 characters: it is stored with the letters"
                variables = {"act": act, "given": _pairs(given), "planned": planned, "problem": problem}
                return pages.page(request, "letters_act.html", 422, **variables)
        done = await handled(principal, selection, act, reason, dry=False)
        return pages.page(request, "letters_done.html", act=act, done=done, again=urlencode(_pairs(given)))


def readable(value: bytes) -> str:
    """Return the first bytes as text: those that are not UTF-8, and characters that can't be seen, are escaped.

    Otherwise a page would not show that there is a NUL, or would show text in another order than it has.
    """
    text = value[:MAX_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _selectors(given: Fields) -> dict[str, Any]:
    """The fields of a form as those of the API."""
    fields: dict[str, Any] = {}
    if ids := given.get("letter"):
        fields["ids"] = list(ids)
    if any(reasons := given.get("with_reason", [])):
        fields["with_reason"] = reasons[0]
    if any(given.get("all", [])):
        fields["all"] = True
    return fields


def _pairs(given: Fields) -> list[tuple[str, str]]:
    """The fields that say which letters, to repeat the request."""
    return [(name, value) for name in _SELECTORS for value in given.get(name, []) if value]


def _shown(result: HandlingResult, selection: LetterSelection, act: str) -> dict[str, Any]:
    letters = (*result.done, *result.already, *result.copies, *(letter for letter, _ in result.impossible))
    rows = outcome_rows(result, selection.missing(result), _ACTIONS[act])
    return {
        "done": [row for row in rows if row["result"] == _ACTIONS[act]],
        "not_done": [row for row in rows if row["result"] != _ACTIONS[act]],
        "about": {str(one.id): f"{one.reason.replace('_', ' ')}, {one.source or one.topic}" for one in letters},
        "left": result.left,
        "complete": result.complete,
    }
