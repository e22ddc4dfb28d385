"""Which addresses are closed: the list, all that is known of one address, and its history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import typer

from cli.output import Column, show, shown
from gateway.lists import address_keys
from gateway.problems import Problem
from projections.store import Store
from projections.suppressions import queries
from schemas.errors import RequestError
from schemas.suppressions import EVERYWHERE, valid_scope

__all__ = ["Asked", "Known", "address_text", "history", "known_of", "show_history", "show_known", "show_list", "wanted"]

CHANNELS: Final = ("email", "sms")
REASONS: Final = ("bounces", "complaint", "manual", "provider")
_MOST_OF_AN_ADDRESS: Final = 10_000

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
class Asked:
    """What is asked for, as it was typed."""

    address: str | None = None
    channel: str | None = None
    scope: str | None = None
    reason: str | None = None
    suppressed: bool | None = None

    @property
    def is_one_address(self) -> bool:
        """Whether all that is known of an address is asked for, and not a list."""
        return self.address is not None and (self.scope, self.reason, self.suppressed) == (None, None, None)


class Known(NamedTuple):
    """All that is known of an address on one channel."""

    channel: str
    address: str
    scopes: Sequence[Row]
    opt_outs: Sequence[Row]
    commands: Sequence[Row]


def wanted(asked: Asked) -> queries.Filter:
    """Return the filter. Raises RequestError for what can't be."""
    for name, value, values in (("channel", asked.channel, CHANNELS), ("reason", asked.reason, REASONS)):
        if value is not None and value not in values:
            raise RequestError(f"There is no {name} {value[:40]!r}", f"--{name}", f"Use {' or '.join(values)}")
    try:
        valid_scope(asked.scope or EVERYWHERE)
    except ValueError as error:
        mend = "Give an account's id, or * for the whole platform"
        raise RequestError(f"{(asked.scope or '')[:40]!r} is no scope: it {error}", "--scope", mend) from None
    try:
        keys = address_keys(asked.address, asked.channel)
    except Problem as problem:
        raise RequestError(problem.detail, "ADDRESS", "Mend it; see --help") from None
    return queries.Filter(None, asked.channel, asked.scope, asked.suppressed, asked.reason, keys)


def show_list(rows: Sequence[Row], limit: int, *, as_json: bool) -> None:
    """Print up to `limit` rows; on stderr, whether there are more."""
    show(rows[:limit], as_json=as_json, none="Nothing is known of any such address.", columns=_COLUMNS)
    if len(rows) > limit:
        typer.echo(f"There are more than {limit}: name what you look for, or raise --limit.", err=True)


def known_of(store: Store, asked: Asked) -> list[Known]:
    """Return what is known of an address, for each channel on which anything is. Raises RequestError or StoreError."""
    every = wanted(asked)
    found = []
    for channel in CHANNELS if asked.channel is None else (asked.channel,):
        for address in every.addresses:
            of_it = queries.Filter(None, channel, addresses=[address])
            known = Known(
                channel,
                address,
                _rows(store, queries.suppressions_page(of_it, limit=_MOST_OF_AN_ADDRESS)),
                _rows(store, queries.opt_outs(None, channel, [address])),
                _rows(store, queries.commands_about(None, channel, address)),
            )
            if known.scopes or known.opt_outs or known.commands:
                found.append(known)
    return found


def show_known(found: Sequence[Known], *, as_json: bool) -> None:
    """Print what is known of an address: sentences for people; for programs objects, a line each."""
    if as_json:
        show([row for known in found for row in _as_objects(known)], as_json=True)
    elif not found:
        typer.echo("Nothing is known of this address.", err=True)
    for known in () if as_json else found:
        typer.echo(address_text(known))


def address_text(known: Known) -> str:
    """Return what a person wants to know of an address, in lines."""
    held = [row for row in known.scopes if row["suppressed"]]
    released = [row for row in known.scopes if not row["suppressed"]]
    heads = [f"Suppressed {_in(row['scope'])} since {shown(row['since'])}: {row['reason']}" for row in held]
    outs = [f"pted out of {_of(out)} since {shown(out['since'])}: {out['reason']}" for out in known.opt_outs]
    if not heads:
        heads = [f"Not suppressed; o{out}" for out in outs] or ["Not suppressed"]
    else:
        heads += [f"O{out}" for out in outs]
    lines = [f"{shown(known.address)} ({known.channel})", *heads, *map(_released, released)]
    evidence = sorted({one for row in held for one in row["evidence"]})
    if evidence:
        lines += ["evidence:", *(f"  {shown(one)}" for one in evidence)]
    if known.commands:
        lines += ["what people asked for:", *map(_command, known.commands)]
    return "\n".join([lines[0], *(f"  {line}" for line in lines[1:])])


def history(store: Store, asked: Asked) -> list[dict[str, Any]]:
    """Return the changes of an address, the first one first. Raises RequestError without an address."""
    if asked.address is None:
        raise RequestError("A history is one address's", "--history", "Name the ADDRESS")
    query = queries.suppression_history(wanted(asked))
    return [{"changed_at": row["changed_at"]} | row for row in _rows(store, query)]


def show_history(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the changes."""
    show(rows, as_json=as_json, none="Nothing has changed for this address.", columns=_HISTORY)


def _as_objects(known: Known) -> Iterator[Row]:
    """Each scope with the commands about it, each opt-out, and each command that is about none of these scopes."""
    held = {row["scope"] for row in known.scopes}
    for row in known.scopes:
        about = [c for c in known.commands if c["scope"] in (row["scope"], EVERYWHERE)]
        yield {**row, "commands": about}
    for out in known.opt_outs:
        yield {"opted_out": True, **out}
    for command in known.commands:
        if command["scope"] not in held and not (held and command["scope"] == EVERYWHERE):
            yield {"channel": known.channel, "address": known.address, **command}


def _in(scope: str) -> str:
    return "everywhere" if scope == EVERYWHERE else f"in account {shown(scope)}"


def _of(out: Row) -> str:
    what = f"group {shown(out['group'])}" if out["group"] else "all mail"
    if out["sender"]:
        what = f"messages of {shown(out['sender'])}"
    return what if out["scope"] == EVERYWHERE else f"{what} of account {shown(out['scope'])}"


def _released(row: Row) -> str:
    by = f" by {shown(row['actor'])}" if row["actor"] else ""
    at = f" at {shown(row['released_at'])}" if row["released_at"] else ""
    return f"Released {_in(row['scope'])}{at}{by}; it was {row['reason']} since {shown(row['since'])}"


def _command(row: Row) -> str:
    what = " ".join(f"{name} {shown(row[name])}" for name in ("group", "sender") if row[name])
    note = f" ({shown(row['note'])})" if row["note"] else ""
    said = f"{shown(row['at'])} {row['action']} {_in(row['scope'])}{' ' if what else ''}{what}"
    return f"  {said} by {shown(row['actor'])}: {shown(row['reason'])}{note}"


def _rows(store: Store, query: Any) -> list[dict[str, Any]]:
    return store.rows(query.sql, query.parameters)
