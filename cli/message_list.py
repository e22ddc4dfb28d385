"""Reads and prints rows of messages."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import typer

from cli.follow import EVERY_SECONDS, follow
from cli.output import Column, show
from gateway.api.lists import address_keys, period
from gateway.problems import Problem
from projections.messages import filters
from projections.messages.pages import read_page, read_with_id
from projections.store import Store
from schemas.decoding.ids import ALL, message_id_or_blank
from schemas.errors import RequestError
from schemas.records import valid_account_id

__all__ = ["MessageOptions", "follow_messages", "message_rows", "show_messages"]

_BRIEF: Final = ("account_id", "email_id", "date_sent", "type", "to_address", "status", "sub_status", "reason")
_COLUMNS: Final = (
    Column("date_sent"),
    Column("email_id"),
    Column("status"),
    Column("sub_status", title="sub", optional=True),
    Column("to_address", title="to", cut=True),
    Column("account_id", title="account", cut=True, optional=True),
    Column("type", cut=True, optional=True),
)


def _wait_for_next_read() -> bool:
    time.sleep(EVERY_SECONDS)
    return True


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """The filter options, as they were typed."""

    account: str | None = None
    statuses: Sequence[str] = ()
    address: str | None = None
    from_: str | None = None
    to: str | None = None

    @property
    def has_filters(self) -> bool:
        """Whether any filter but the account is given: a single message takes no filters."""
        return bool(self.statuses or self.address or self.from_ or self.to)


def message_rows(store: Store, email_id: str | None, options: MessageOptions, limit: int) -> list[dict[str, Any]]:
    """Return the row of one message, or the main columns of up to `limit` + 1 of the newest rows.

    Raises RequestError for invalid options, and if several accounts share the id.
    """
    accounts = None if options.account in (None, ALL) else [_account(options.account or "")]
    if email_id is None:
        page = read_page(store, _filter(accounts, options), limit=limit, now_us=time.time_ns() // 1000)
        return [{name: row[name] for name in _BRIEF} for row in page]
    if options.has_filters:
        raise RequestError("Filters apply to the list only", "EMAIL_ID", "Omit the Email ID, or the filters")
    known = message_id_or_blank(email_id)
    if not known:
        raise RequestError(f"{email_id[:60]!r} is not an Email ID", "EMAIL_ID", "Give a UUID of version 7")
    rows = read_with_id(store, accounts, known)
    if len(rows) > 1:
        names = ", ".join(row["account_id"] for row in rows)
        raise RequestError("Several accounts share this id", f"accounts {names}", "Name one with --account")
    return rows


def show_messages(
    rows: Sequence[Mapping[str, Any]], limit: int, *, as_json: bool, wide: bool = False, last_heading: str = ""
) -> str:
    """Print the main columns of up to `limit` rows; on stderr, whether there are more. See `show` for the rest."""
    columns = (*_COLUMNS, Column("reason")) if wide else _COLUMNS
    heading = show(
        rows[:limit], as_json=as_json, none="No such messages.", columns=columns, wide=wide, last_heading=last_heading
    )
    if len(rows) > limit:
        typer.echo(f"There are more than {limit}: raise --limit, or add filters (see --help).", err=True)
    return heading


def follow_messages(
    store: Store,
    email_id: str | None,
    options: MessageOptions,
    limit: int,
    *,
    as_json: bool,
    wide: bool,
    wait: Callable[[], bool] = _wait_for_next_read,
) -> None:
    """Print the newest `limit` rows (or the one), then each that is new or whose status changes, until Ctrl-C."""
    heading = ""

    def read() -> Sequence[Mapping[str, Any]]:
        rows = message_rows(store, email_id, options, limit)[:limit]
        return [{name: row[name] for name in _BRIEF} for row in rows]

    def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
        nonlocal heading
        heading = show_messages(rows, limit, as_json=as_json, wide=wide, last_heading=heading)
        sys.stdout.flush()  # a pipe would wait for more

    with suppress(KeyboardInterrupt):
        follow(read, show_rows, wait)


def _filter(accounts: Sequence[str] | None, options: MessageOptions) -> filters.Filter:
    try:
        from_us, to_us = period(options.from_, options.to)
        keys = address_keys(options.address)
    except Problem as problem:
        raise RequestError(problem.detail, "the options", "Correct them; see --help") from None
    return filters.Filter(
        accounts, from_us=from_us, to_us=to_us, statuses=[*map(_status, options.statuses)], addresses=keys
    )


def _status(name: str) -> str:
    found = {status.lower(): status for status in filters.STATUSES}.get(name.lower())
    if found is None:
        mend = f"Use {', '.join(filters.STATUSES)}, in any case"
        raise RequestError(f"Unknown status {name[:40]!r}", "--status", mend)
    return found


def _account(text: str) -> str:
    try:
        return valid_account_id(text)
    except ValueError as error:
        mend = "Give an account id: 1 to 64 characters of A-Z, a-z, 0-9 and _.-"
        raise RequestError(f"{text[:40]!r} is not an account id: it {error}", "--account", mend) from None
