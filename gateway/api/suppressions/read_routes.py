"""`GET /v1/suppressions`, `/export` and `/{channel}/{address}`: which addresses are suppressed, since when, and why.

In:  filters; a token that limits the accounts. Out: rows of the view `suppressions`.

A token of all accounts sees everything. Any other sees the scopes of its accounts, and a platform-wide suppression of
an address that they have sent to: with the reason, but without the actor of a release, and with only the evidence from
its own messages. The same applies to opt-outs; of commands it sees those for its own scopes. What may not be seen is
answered like what does not exist.
"""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from application.evidence import events_of
from application.principals import Principal, require_account_access
from gateway.access import READERS, RequirePrincipal, accounts_to_query, require_role
from gateway.api.export import EXPORT_PAGE, FILE_CODES, FILE_RESPONSE, Format, export_response, to_columns
from gateway.api.lists import (
    Account,
    Address,
    Channel,
    CursorText,
    Limit,
    OfChannel,
    Paginator,
    Row,
    address_keys,
    all_pages,
    json_row,
)
from gateway.api.models.suppressions import SuppressionOfAddress, Suppressions
from gateway.openapi import LIST_CODES, READ_CODES, ResponseSpec, operation
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from projections.messages.queries import Query as SqlQuery
from projections.store import Store
from projections.suppressions import queries
from projections.suppressions.pages import read_suppressions
from schemas.decoding.ids import ALL
from schemas.settings import GatewaySettings

__all__ = [
    "OnChannel",
    "PathAddress",
    "export_suppressions",
    "router",
    "suppression_details",
    "suppression_filter",
    "suppression_items",
    "suppression_key",
    "suppression_paginator",
    "suppression_rows",
]

AsSeenBy = Annotated[
    str | None, Query(description="As this account sees it; by default, or with `*`, all that the token may see")
]
OfScope = Annotated[str | None, Query(description="`*` for the whole platform, or an account's id")]
IsSuppressed = Annotated[bool | None, Query(description="Whether it is suppressed now, or was released")]
OfReason = Annotated[Literal["bounces", "complaint", "manual", "provider"] | None, Query(description="Why")]

OnChannel = Annotated[Channel, Path(description="`email` or `sms`")]
PathAddress = Annotated[str, Path(description="The address, in any spelling")]


def router(settings: GatewaySettings, store: Store, reads: ReadPool) -> APIRouter:
    """Return the GET routes under `/v1/suppressions`."""
    routes = APIRouter(prefix="/v1/suppressions", tags=["suppressions"])
    reader = require_role(READERS, settings.token_secret.get_secret_value())
    as_reader = Annotated[Principal, Depends(reader)]
    as_filter = Annotated[queries.SuppressionFilter, Depends(suppression_filter(reader))]

    @routes.get(
        "",
        **operation("listSuppressions", {200: ResponseSpec("A page", Suppressions)}, roles=READERS, codes=LIST_CODES),
    )
    async def suppressions(
        principal: as_reader, wanted: as_filter, limit: Limit = 50, cursor: CursorText = None
    ) -> dict[str, Any]:
        """Addresses that are or were suppressed, in each scope; by channel, address and scope."""
        pages = suppression_paginator(wanted)
        rows = await reads.run(principal, suppression_rows, store, wanted, pages.after(cursor), limit)
        items = await reads.run(principal, suppression_items, store, wanted, rows[:limit])
        return pages.page(rows, limit, suppression_key, items)

    @routes.get("/export", **operation("exportSuppressions", {200: FILE_RESPONSE}, roles=READERS, codes=FILE_CODES))
    async def export(principal: as_reader, wanted: as_filter, format_: Format = "csv") -> Response:
        """The same list as a file."""
        return await export_suppressions(reads, principal, store, wanted, format_)

    @routes.get(
        "/{channel}/{address:path}",
        **operation(
            "getSuppression",
            {200: ResponseSpec("Everything about the address", SuppressionOfAddress)},
            roles=READERS,
            codes=(*READ_CODES, "no-such-address"),
        ),
    )
    async def suppression(
        principal: as_reader, channel: OnChannel, address: PathAddress, account: AsSeenBy = None
    ) -> dict[str, Any]:
        """One address: its current state (`scopes`, and the `opt_outs` in force), and its history.

        `history` has the changes of each scope, `evidence` the events and commands that count or counted, `commands`
        all commands, including releases and opt-ins, with reason, note and actor.
        """
        return await reads.run(principal, suppression_details, store, principal, account, channel, address)

    return routes


def suppression_filter(
    reader: RequirePrincipal,
) -> Callable[..., Coroutine[Any, Any, queries.SuppressionFilter]]:
    """Return the dependency that reads the filters. `reader` is the route's own dependency, so that it runs once."""
    as_reader = Annotated[Principal, Depends(reader)]

    async def wanted(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        scope: OfScope = None,
        suppressed: IsSuppressed = None,
        reason: OfReason = None,
        address: Address = None,
    ) -> queries.SuppressionFilter:
        if scope is not None and scope != ALL:
            require_account_access(principal, scope)
        accounts = accounts_to_query(principal, account)
        return queries.SuppressionFilter(accounts, channel, scope, suppressed, reason, address_keys(address, channel))

    return wanted


async def export_suppressions(
    reads: ReadPool, principal: Principal, store: Store, wanted: queries.SuppressionFilter, format_: str
) -> Response:
    """Return the whole list as a file."""
    pages = all_pages(partial(suppression_rows, store, wanted), suppression_key, EXPORT_PAGE)
    columns = to_columns(map(partial(suppression_items, store, wanted), pages), queries.COLUMNS)
    return await export_response(reads, principal, columns, queries.COLUMNS, format_, "suppressions")


def suppression_paginator(wanted: queries.SuppressionFilter) -> Paginator[queries.SuppressionCursor]:
    """Return the paginator of the list, for these filters."""
    return Paginator("suppressions", queries.SuppressionCursor, (str, str, str), wanted)


def suppression_rows(
    store: Store, wanted: queries.SuppressionFilter, after: queries.SuppressionCursor | None, limit: int
) -> list[Row]:
    """Return the rows of a page, and one more if there is a next page."""
    return read_suppressions(store, wanted, limit=limit, after=after)


def suppression_key(row: Row) -> queries.SuppressionCursor:
    """Return the position of a row in the list: the next page begins after it."""
    return queries.SuppressionCursor(row["channel"], row["address"], row["scope"])


def suppression_details(
    store: Store, principal: Principal, account: str | None, channel: Channel, written: str
) -> dict[str, Any]:
    """Return everything that the principal, or one account of theirs, may see about an address.

    Raises Problem 404 if there is nothing, and 400 if it is not an address.
    """
    accounts = accounts_to_query(principal, ALL if account is None else account)
    [address] = address_keys(written, channel)
    wanted = queries.SuppressionFilter(accounts, channel, addresses=[address])
    history = _read(store, queries.suppression_history(wanted))
    scopes = suppression_rows(store, wanted, None, queries.MAX_ROWS)
    opt_outs = _read(store, queries.opt_outs(accounts, channel, [address]))
    commands = _read(store, queries.commands_about(accounts, channel, address))
    if not (history or scopes or opt_outs or commands):
        raise Problem("no-such-address", "Nothing is known of this address")
    complete = len(commands) <= queries.MAX_COMMANDS
    complete = complete and all(len(rows) <= queries.MAX_ROWS for rows in (history, scopes, opt_outs))
    commands = commands[-queries.MAX_COMMANDS :]
    history, scopes, opt_outs = (rows[: queries.MAX_ROWS] for rows in (history, scopes, opt_outs))
    ids = {known for row in (*history, *scopes) for known in row["evidence"]}
    events = list(events_of(store, accounts, ids))
    evidence = [*events, *(command for command in commands if command["command_id"] in ids)]
    own = {event["event_id"] for event in events}
    return {
        "channel": channel,
        "address": address,
        "scopes": [_item(row, accounts, own) for row in scopes],
        "opt_outs": [json_row(_without(row, "channel", "address")) for row in opt_outs],
        "history": [_item(row, accounts, own) for row in history],
        "evidence": [json_row(row) for row in evidence],
        "commands": [json_row(row) for row in commands],
        "complete": complete,
    }


def _read(store: Store, query: SqlQuery) -> list[Row]:
    return store.rows(query.sql, query.parameters)


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def suppression_items(store: Store, wanted: queries.SuppressionFilter, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with only what the accounts may see."""
    if wanted.accounts is None:
        return [_item(row, None, set()) for row in rows]
    ids = {known for row in rows if row["scope"] == ALL for known in row["evidence"]}
    own = {event["event_id"] for event in events_of(store, wanted.accounts, ids)}
    return [_item(row, wanted.accounts, own) for row in rows]


def _item(row: Row, accounts: Sequence[str] | None, own: set[str]) -> Row:
    """A row as the accounts may see it; `own` has the event ids of their messages."""
    shown = json_row(row)
    if accounts is None or row["scope"] != ALL:
        return shown
    return shown | {"actor": "", "evidence": [known for known in row["evidence"] if known in own]}
