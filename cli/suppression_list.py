"""Reads and prints suppressions: the list, all about one address, and its history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import typer

from cli.output import Column, show, shown
from gateway.api.lists import address_keys
from gateway.problems import Problem
from projections.store import Store
from projections.suppressions import queries
from schemas.decoding.ids import ALL
from schemas.errors import RequestError
from schemas.suppressions import valid_scope

__all__ = [
    "AddressDetails",
    "SuppressionOptions",
    "address_details",
    "address_text",
    "filter_of",
    "history",
    "show_details",
    "show_history",
    "show_list",
]

CHANNELS: Final = ("email", "sms")
REASONS: Final = ("bounces", "complaint", "manual", "provider")
_MAX_ROWS: Final = 10_000

_COLUMNS: Final = (
    Column("address", cut=True),
    Column("scope"),
    Column("suppressed"),
    Column("reason"),
    Column("since"),
    Column("released_at", optional=True),
    Column("actor", cut=True, optional=True),
)
_HISTORY: Final = (Column("changed_at"), *_COLUMNS[1:])

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SuppressionOptions:
    """The options, as they were typed."""

    address: str | None = None
    channel: str | None = None
    scope: str | None = None
    reason: str | None = None
    suppressed: bool | None = None

    @property
    def is_one_address(self) -> bool:
        """Whether the options ask for all about one address, not for a list."""
        return self.address is not None and (self.scope, self.reason, self.suppressed) == (None, None, None)


class AddressDetails(NamedTuple):
    """All about an address on one channel."""

    channel: str
    address: str
    scopes: Sequence[Row]
    opt_outs: Sequence[Row]
    commands: Sequence[Row]


def filter_of(options: SuppressionOptions) -> queries.SuppressionFilter:
    """Return the filter. Raises RequestError for invalid options."""
    for name, value, values in (("channel", options.channel, CHANNELS), ("reason", options.reason, REASONS)):
        if value is not None and value not in values:
            raise RequestError(f"Unknown {name} {value[:40]!r}", f"--{name}", f"Use {' or '.join(values)}")
    try:
        valid_scope(options.scope or ALL)
    except ValueError as error:
        mend = "Give an account id, or * for the whole platform"
        raise RequestError(f"{(options.scope or '')[:40]!r} is not a scope: it {error}", "--scope", mend) from None
    try:
        keys = address_keys(options.address, options.channel)
    except Problem as problem:
        raise RequestError(problem.detail, "ADDRESS", "Correct it; see --help") from None
    return queries.SuppressionFilter(None, options.channel, options.scope, options.suppressed, options.reason, keys)


def show_list(rows: Sequence[Row], limit: int, *, as_json: bool) -> None:
    """Print up to `limit` rows; on stderr, whether there are more."""
    show(rows[:limit], as_json=as_json, none="No such addresses are known.", columns=_COLUMNS)
    if len(rows) > limit:
        typer.echo(f"There are more than {limit}: add filters, or raise --limit.", err=True)


def address_details(store: Store, options: SuppressionOptions) -> list[AddressDetails]:
    """Return all about an address, for each channel with any data. Raises RequestError or StoreError."""
    addresses = filter_of(options).addresses
    found = []
    for channel in CHANNELS if options.channel is None else (options.channel,):
        for address in addresses:
            only_this = queries.SuppressionFilter(None, channel, addresses=[address])
            details = AddressDetails(
                channel,
                address,
                _rows(store, queries.suppressions_page(only_this, limit=_MAX_ROWS)),
                _rows(store, queries.opt_outs(None, channel, [address])),
                _rows(store, queries.commands_about(None, channel, address)),
            )
            if details.scopes or details.opt_outs or details.commands:
                found.append(details)
    return found


def show_details(found: Sequence[AddressDetails], *, as_json: bool) -> None:
    """Print all about an address: as text, or as JSON with one object per line."""
    if as_json:
        show([row for details in found for row in _as_objects(details)], as_json=True)
    elif not found:
        typer.echo("Nothing is known of this address.", err=True)
    for details in () if as_json else found:
        typer.echo(address_text(details))


def address_text(details: AddressDetails) -> str:
    """Return the text about an address: several lines."""
    active = [row for row in details.scopes if row["suppressed"]]
    released = [row for row in details.scopes if not row["suppressed"]]
    heads = [f"Suppressed {_scope_text(row['scope'])} since {shown(row['since'])}: {row['reason']}" for row in active]
    opt_outs = [
        f"pted out of {_opt_out_text(out)} since {shown(out['since'])}: {out['reason']}" for out in details.opt_outs
    ]
    if not heads:
        heads = [f"Not suppressed; o{out}" for out in opt_outs] or ["Not suppressed"]
    else:
        heads += [f"O{out}" for out in opt_outs]
    lines = [f"{shown(details.address)} ({details.channel})", *heads, *map(_released_text, released)]
    evidence = sorted({one for row in active for one in row["evidence"]})
    if evidence:
        lines += ["evidence:", *(f"  {shown(one)}" for one in evidence)]
    if details.commands:
        lines += ["what people asked for:", *map(_command_text, details.commands)]
    return "\n".join([lines[0], *(f"  {line}" for line in lines[1:])])


def history(store: Store, options: SuppressionOptions) -> list[dict[str, Any]]:
    """Return the changes of an address, oldest first. Raises RequestError without an address."""
    if options.address is None:
        raise RequestError("--history takes one address", "--history", "Give the ADDRESS")
    query = queries.suppression_history(filter_of(options))
    return [{"changed_at": row["changed_at"]} | row for row in _rows(store, query)]


def show_history(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the changes."""
    show(rows, as_json=as_json, none="Nothing has changed for this address.", columns=_HISTORY)


def _as_objects(details: AddressDetails) -> Iterator[Row]:
    """Each scope with its commands, each opt-out, and each command without a matching scope."""
    scopes = {row["scope"] for row in details.scopes}
    for row in details.scopes:
        about = [c for c in details.commands if c["scope"] in (row["scope"], ALL)]
        yield {**row, "commands": about}
    for out in details.opt_outs:
        yield {"opted_out": True, **out}
    for command in details.commands:
        if command["scope"] not in scopes and not (scopes and command["scope"] == ALL):
            yield {"channel": details.channel, "address": details.address, **command}


def _scope_text(scope: str) -> str:
    return "everywhere" if scope == ALL else f"in account {shown(scope)}"


def _opt_out_text(out: Row) -> str:
    what = f"group {shown(out['group'])}" if out["group"] else "all mail"
    if out["sender"]:
        what = f"messages of {shown(out['sender'])}"
    return what if out["scope"] == ALL else f"{what} of account {shown(out['scope'])}"


def _released_text(row: Row) -> str:
    by = f" by {shown(row['actor'])}" if row["actor"] else ""
    at = f" at {shown(row['released_at'])}" if row["released_at"] else ""
    return f"Released {_scope_text(row['scope'])}{at}{by}; it was {row['reason']} since {shown(row['since'])}"


def _command_text(row: Row) -> str:
    what = " ".join(f"{name} {shown(row[name])}" for name in ("group", "sender") if row[name])
    note = f" ({shown(row['note'])})" if row["note"] else ""
    command = f"{shown(row['at'])} {row['action']} {_scope_text(row['scope'])}{' ' if what else ''}{what}"
    return f"  {command} by {shown(row['actor'])}: {shown(row['reason'])}{note}"


def _rows(store: Store, query: Any) -> list[dict[str, Any]]:
    return store.rows(query.sql, query.parameters)
