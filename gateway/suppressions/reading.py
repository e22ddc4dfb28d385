"""`GET /v1/suppressions`, `/export` and `/{channel}/{address}`: what is closed, since when, and by what evidence.

In:  filters; a token that says whose rows may be seen. Out: rows of the view `suppressions`.

A token of all accounts sees everything. Any other sees the scopes of its accounts, and a platform-wide suppression of
an address that they have sent to: with the reason, but of the evidence only the events of their own messages, and not
who released it. So it is with opt-outs; of commands it sees those for its own scopes. What may not be seen answers as
what isn't there.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from application.evidence import events_of
from application.principals import Principal, must_cover
from gateway.access import READERS, accounts_of, allowing
from gateway.answers import SuppressionOfAddress, Suppressions
from gateway.exporting import EXPORT_PAGE, FILE, FILE_CODES, Format, exported, in_columns
from gateway.lists import (
    Account,
    Address,
    Channel,
    CursorText,
    Limit,
    OfChannel,
    Pages,
    Row,
    address_keys,
    all_pages,
    plain,
)
from gateway.openapi import LIST_CODES, READ_CODES, Answer, operation
from gateway.problems import Problem
from gateway.reads import Reads
from projections.messages.filters import EVERY
from projections.messages.queries import Query as SqlQuery
from projections.store import Store
from projections.suppressions import queries
from schemas.settings import GatewaySettings
from schemas.suppressions import EVERYWHERE

__all__ = ["router"]

AsSeenBy = Annotated[
    str | None, Query(description="As this account sees it; without it, or with `*`, all that the token may see")
]
OfScope = Annotated[str | None, Query(description="`*` for the whole platform, or an account's id")]
Held = Annotated[bool | None, Query(description="Suppressed now, or released")]
OfReason = Annotated[Literal["bounces", "complaint", "manual", "provider"] | None, Query(description="Why")]

OnChannel = Annotated[Channel, Path(description="`email` or `sms`")]
PathAddress = Annotated[str, Path(description="The address, however it is written")]


def router(settings: GatewaySettings, store: Store, reads: Reads) -> APIRouter:
    """Return the routes that read under `/v1/suppressions`."""
    routes = APIRouter(prefix="/v1/suppressions", tags=["suppressions"])
    as_reader = Annotated[Principal, Depends(allowing(READERS, settings.token_secret.get_secret_value()))]

    @routes.get(
        "", **operation("listSuppressions", {200: Answer("A page", Suppressions)}, roles=READERS, codes=LIST_CODES)
    )
    async def suppressions(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        scope: OfScope = None,
        suppressed: Held = None,
        reason: OfReason = None,
        address: Address = None,
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """Addresses that are or were suppressed, in each scope; by channel, address and scope."""
        wanted = _wanted(principal, account, channel, scope, suppressed, reason, address)
        pages = Pages("suppressions", queries.Cursor, (str, str, str), wanted)
        rows = await reads.run(principal, _rows, store, wanted, pages.after(cursor), limit)
        items = await reads.run(principal, _items, store, wanted, rows[:limit])
        return pages.page(rows, limit, _key, items)

    @routes.get("/export", **operation("exportSuppressions", {200: FILE}, roles=READERS, codes=FILE_CODES))
    async def export(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        scope: OfScope = None,
        suppressed: Held = None,
        reason: OfReason = None,
        address: Address = None,
        format_: Format = "csv",
    ) -> Response:
        """The same list as a file."""
        wanted = _wanted(principal, account, channel, scope, suppressed, reason, address)
        pages = all_pages(partial(_rows, store, wanted), _key, EXPORT_PAGE)
        items = map(partial(_items, store, wanted), pages)
        return await exported(
            reads, principal, in_columns(items, queries.COLUMNS), queries.COLUMNS, format_, "suppressions"
        )

    @routes.get(
        "/{channel}/{address:path}",
        **operation(
            "getSuppression",
            {200: Answer("All that is known of the address", SuppressionOfAddress)},
            roles=READERS,
            codes=(*READ_CODES, "no-such-address"),
        ),
    )
    async def suppression(
        principal: as_reader, channel: OnChannel, address: PathAddress, account: AsSeenBy = None
    ) -> dict[str, Any]:
        """One address: what holds now (`scopes`, and the `opt_outs` in force), and how it came to that.

        `history` has the changes of the scopes, `evidence` the events and commands that count or counted, `commands`
        all that people asked for, releases and opt-ins too: with the reason, the note and who it was.
        """
        wanted = _wanted(principal, EVERY if account is None else account, channel=channel, address=address)
        return await reads.run(principal, _whole, store, wanted)

    return routes


def _wanted(
    principal: Principal,
    account: str | None,
    channel: str | None = None,
    scope: str | None = None,
    suppressed: bool | None = None,
    reason: str | None = None,
    address: str | None = None,
) -> queries.Filter:
    if scope is not None and scope != EVERYWHERE:
        must_cover(principal, scope)
    accounts = accounts_of(principal, account)
    return queries.Filter(accounts, channel, scope, suppressed, reason, address_keys(address, channel))


def _rows(store: Store, wanted: queries.Filter, after: queries.Cursor | None, limit: int) -> list[Row]:
    return _read(store, queries.suppressions_page(wanted, limit=limit, after=after))


def _key(row: Row) -> queries.Cursor:
    return queries.Cursor(row["channel"], row["address"], row["scope"])


def _whole(store: Store, wanted: queries.Filter) -> dict[str, Any]:
    """All that the accounts may know of one address. Raises Problem 404 where that is nothing."""
    accounts, channel, [address] = wanted.accounts, str(wanted.channel), wanted.addresses
    history = _read(store, queries.suppression_history(wanted))
    scopes = _rows(store, wanted, None, queries.MOST_ROWS)
    opt_outs = _read(store, queries.opt_outs(accounts, channel, [address]))
    commands = _read(store, queries.commands_about(accounts, channel, address))
    if not (history or scopes or opt_outs or commands):
        raise Problem("no-such-address", "Nothing is known of this address")
    complete = len(commands) <= queries.MOST_COMMANDS
    complete = complete and all(len(rows) <= queries.MOST_ROWS for rows in (history, scopes, opt_outs))
    commands = commands[-queries.MOST_COMMANDS :]
    history, scopes, opt_outs = (rows[: queries.MOST_ROWS] for rows in (history, scopes, opt_outs))
    ids = {known for row in (*history, *scopes) for known in row["evidence"]}
    events = list(events_of(store, accounts, ids))
    evidence = [*events, *(command for command in commands if command["command_id"] in ids)]
    own = {event["event_id"] for event in events}
    return {
        "channel": channel,
        "address": address,
        "scopes": [_item(row, accounts, own) for row in scopes],
        "opt_outs": [plain(_without(row, "channel", "address")) for row in opt_outs],
        "history": [_item(row, accounts, own) for row in history],
        "evidence": [plain(row) for row in evidence],
        "commands": [plain(row) for row in commands],
        "complete": complete,
    }


def _read(store: Store, query: SqlQuery) -> list[Row]:
    return store.rows(query.sql, query.parameters)


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def _items(store: Store, wanted: queries.Filter, rows: Sequence[Row]) -> list[Row]:
    if wanted.accounts is None:
        return [_item(row, None, set()) for row in rows]
    ids = {known for row in rows if row["scope"] == EVERYWHERE for known in row["evidence"]}
    own = {event["event_id"] for event in events_of(store, wanted.accounts, ids)}
    return [_item(row, wanted.accounts, own) for row in rows]


def _item(row: Row, accounts: Sequence[str] | None, own: set[str]) -> Row:
    """A row as the accounts may see it; `own` are the events of their messages."""
    shown = plain(row)
    if accounts is None or row["scope"] != EVERYWHERE:
        return shown
    return shown | {"actor": "", "evidence": [known for known in row["evidence"] if known in own]}
