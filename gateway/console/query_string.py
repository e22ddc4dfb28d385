"""Reads the query string of a page: the parameters of the API, and those that only the forms of the console send.

In:  the query string of a form or a link. Out: a redirect to the same page with the parameters of the API, so that the
address bar shows them: without blank fields, with the search box and the choice of a time turned into filters, and with
`account` if the session covers several.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import Request

from application.principals import Principal
from gateway.access import RequirePrincipal, known_parameters
from gateway.console.links import Links
from gateway.console.pages import Pages
from gateway.console.routing import Redirect, request_path
from gateway.console.search import SEARCHED, Search, read_search
from gateway.console.words import NOT_DELIVERED, label
from projections.messages.filters import Filter
from schemas.decoding.ids import ALL
from schemas.decoding.times import DAY_US

__all__ = [
    "ALL_TIME",
    "ALL_TIME_FROM",
    "DEFAULT_DAYS",
    "LAST_WEEK",
    "PERIODS",
    "canonical_query",
    "finds_single_messages",
    "other_periods",
    "period_name",
    "pills",
    "search_text",
    "with_default_time",
]

DEFAULT_DAYS: Final = 7
"""The days that the log shows if no time is chosen."""
ALL_TIME_FROM: Final = "1970-01-01"
"""The value of `from` that means all time."""
LAST_WEEK: Final = "week"
PERIODS: Final = {
    "1": "Last 24 hours",
    "7": "Last 7 days",
    LAST_WEEK: "Last week",
    "30": "Last 30 days",
    "90": "Last 90 days",
}
"""The choices of a time: a number of days up to now, or the week before this one, from Monday to Sunday in UTC."""
ALL_TIME: Final = {"all": "All time"}
"""One more choice, for lists."""

_SEARCH: Final = "q"
_PERIOD: Final = "period"

_PILLS: Final = {
    "account": "Account",
    "from": "From",
    "to": "Before",
    "status": "Status",
    "channel": "Channel",
    "type": "Type",
    "sent_to": "Sent to",
    "address": "Address",
    "address_prefix": "Address begins with",
    "domain": "Domain",
    "subject": "Subject has",
    "email_id": "Email ID",
    "client_id": "Client",
    "staff_id": "Staff",
    "appointment_id": "Appointment",
    "provider": "Provider",
    "provider_message_id": "Provider's id",
    "code": "Code",
    "classification": "Classification",
    "stuck_hours": "Hours without an event",
    "suppressed": "Suppressed",
    "scope": "Scope",
    "reason": "Reason",
}


def canonical_query(
    reader: RequirePrincipal,
    pages: Pages,
    read: Callable[[str], Search | None] = read_search,
    default_period: str = str(DEFAULT_DAYS),
) -> RequirePrincipal:
    """Return a dependency that does what `reader` does, and raises Redirect if the query string isn't that of the API.

    `read` turns the text of the search box into a filter. Choosing `default_period` removes the filters of the time.
    """

    async def principal(request: Request) -> Principal:
        found = await reader(request)
        given = request.query_params.multi_items()
        canonical = _canonical(given, found, time.time(), read, default_period)
        if canonical != given:
            raise Redirect(Links(pages.base + request_path(request), canonical).here())
        known_parameters(request)
        return found

    return principal


def finds_single_messages(wanted: Filter) -> bool:
    """Return whether a filter has an address, an id or a person: it matches few messages, so all time is searched."""
    ids = (wanted.email_id, wanted.client_id, wanted.staff_id, wanted.appointment_id)
    return bool(wanted.addresses or wanted.provider_message_ids or any(ids))


def with_default_time(wanted: Filter, now_us: int) -> Filter:
    """Return the filter, limited to the last DEFAULT_DAYS unless it has a time or finds single messages."""
    if wanted.from_us is not None or wanted.to_us is not None or finds_single_messages(wanted):
        return wanted
    return replace(wanted, from_us=now_us - DEFAULT_DAYS * DAY_US)


def search_text(links: Links) -> str:
    """Return the text of the search box: the value of a filter that the box would read as the same filter again."""
    for name in SEARCHED:
        value = links.first(name)
        if value and read_search(value) == (name, value):
            return value
    return ""


def period_name(links: Links, default: str) -> str:
    """Return the name of the time that is searched; `default` if none is chosen."""
    given = sorted(pair for pair in links.filters if pair[0] in ("from", "to"))
    if not given:
        return default
    now = datetime.now(UTC)
    names = (name for value, name in (PERIODS | ALL_TIME).items() if _period(value, now) == given)
    return next(names, "Chosen time")


def other_periods(shown: str, choices: Mapping[str, str]) -> dict[str, str]:
    """Return the choices of a time without the one that is shown."""
    return {value: name for value, name in choices.items() if name != shown}


def pills(links: Links) -> Sequence[tuple[str, str, str]]:
    """Return the filters that apply: each with its name, its value, and the URL without it."""
    shown = [(name, value) for name, value in links.filters if name in _PILLS and (name, value) != ("account", ALL)]
    if set(links.every("status")) == set(NOT_DELIVERED):
        others = [pair for pair in shown if pair[0] != "status"]
        return [("Status", "Not delivered", links.set(status="")), *_pills(others, links)]
    return _pills(shown, links)


def _pills(shown: Sequence[tuple[str, str]], links: Links) -> list[tuple[str, str, str]]:
    return [(_PILLS[name], _readable(name, value), links.toggled(name, value)) for name, value in shown]


def _readable(name: str, value: str) -> str:
    """The value of a filter, in a form that is easier to read: of a time, of a status, and of yes or no."""
    if name == "status":
        return label(value)
    if name == "suppressed":
        return {"true": "yes", "false": "no"}.get(value, value)
    if name not in ("from", "to") or "T" not in value:
        return value
    try:
        return f"{datetime.fromisoformat(value).astimezone(UTC):%d %b %Y, %H:%M} UTC"
    except ValueError:
        return value


def _canonical(
    given: Sequence[tuple[str, str]],
    principal: Principal,
    now: float,
    read: Callable[[str], Search | None],
    default_period: str,
) -> list[tuple[str, str]]:
    fields = dict(given)
    kept = [(name, value) for name, value in given if value.strip() and name not in (_SEARCH, _PERIOD)]
    if search := read(fields.get(_SEARCH, "")):
        kept = [pair for pair in kept if pair[0] not in SEARCHED] + [search]
    if period := fields.get(_PERIOD):
        within = [] if period == default_period else _period(period, datetime.fromtimestamp(now, UTC))
        kept = [pair for pair in kept if pair[0] not in ("from", "to")] + within
    if principal.only_account is None and not any(name == "account" for name, _ in kept):
        kept.append(("account", ALL))
    return [(name, value) for name, value in kept]


def _period(period: str, now: datetime) -> list[tuple[str, str]]:
    """The filters of a choice of a time; none for an unknown one."""
    if period in ALL_TIME:
        return [("from", ALL_TIME_FROM)]
    if period not in PERIODS:
        return []
    if period.isdecimal():
        return [("from", f"{now - timedelta(days=int(period)):%Y-%m-%dT%H:%M:00Z}")]
    monday = now - timedelta(days=now.weekday())
    return [("from", f"{monday - timedelta(days=7):%Y-%m-%d}"), ("to", f"{monday:%Y-%m-%d}")]
