"""`GET /v1/suppressions`, `/export` and `/{channel}/{address}`: what is closed, since when, and by what evidence.

In:  filters; a token that says whose rows may be seen. Out: rows of the view `suppressions`.

A token of all accounts sees everything. Any other sees the scopes of its accounts, and a platform-wide suppression of
an address that they have sent to: with the reason, but of the evidence only the events of their own messages, and not
who released it. What may not be seen answers as what isn't there.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.concurrency import run_in_threadpool

from gateway.access import READERS, accounts_of, allowing, known_parameters, must_cover
from gateway.exporting import EXPORT_PAGE, FILES, Format, exported
from gateway.openapi import READ_PROBLEMS
from gateway.paging import Channel, CursorText, Limit, address_keys, cursor_text, key_of, plain
from gateway.problems import Problem
from gateway.tokens import Principal
from projections.messages.queries import EVERY
from projections.store import Store
from projections.suppressions import queries
from schemas.settings import GatewaySettings
from schemas.suppressions import EVERYWHERE

__all__ = ["router"]

Account = Annotated[str | None, Query(description="As this account sees it; without it, all that the token may see")]
OfChannel = Annotated[Channel | None, Query(description="One channel's")]
OfScope = Annotated[str | None, Query(description="`*` for the whole platform, or an account's id")]
Held = Annotated[bool | None, Query(description="Suppressed now, or released")]
OfReason = Annotated[Literal["bounces", "complaint", "manual", "provider"] | None, Query(description="Why")]
Address = Annotated[str | None, Query(description="One address, however it is written")]

_EVENT_ID_CHARACTERS: Final = 32
_IDS_AT_ONCE: Final = 1_000
_MISSING: Final[dict[int | str, dict[str, Any]]] = READ_PROBLEMS | {
    404: {"description": "Nothing is known of this address, as far as the token sees"}
}

Row = dict[str, Any]


def router(settings: GatewaySettings, store: Store) -> APIRouter:
    """Return the routes that read under `/v1/suppressions`."""
    routes = APIRouter(prefix="/v1/suppressions", tags=["suppressions"], dependencies=[Depends(known_parameters)])
    as_reader = Annotated[Principal, Depends(allowing(READERS, settings.token_secret.get_secret_value()))]

    @routes.get("", responses=READ_PROBLEMS)
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
        rows = await run_in_threadpool(_page, store, wanted, limit, key_of(cursor, (str, str, str), queries.Cursor))
        following = cursor_text(_key(rows[limit - 1])) if len(rows) > limit else None
        items = await run_in_threadpool(_items, store, wanted, rows[:limit])
        return {"items": items, "next": following}

    @routes.get("/export", responses=READ_PROBLEMS | FILES)
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
        return await exported(_pages(store, wanted), queries.COLUMNS, format_, "suppressions")

    @routes.get("/{channel}/{address:path}", responses=_MISSING)
    async def suppression(
        principal: as_reader, channel: Channel, address: str, account: Account = None
    ) -> dict[str, Any]:
        """One address: `scopes` now, the `history` of its changes, and the events that are `evidence`.

        A command that is evidence is named by its id alone.
        """
        wanted = _wanted(principal, account, channel=channel, address=address)
        return await run_in_threadpool(_whole, store, wanted)

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
    accounts = accounts_of(principal, EVERY if account is None else account)
    return queries.Filter(accounts, channel, scope, suppressed, reason, address_keys(address, channel))


def _page(store: Store, wanted: queries.Filter, limit: int, after: queries.Cursor | None) -> list[Row]:
    query = queries.suppressions_page(wanted, limit=limit, after=after)
    return store.rows(query.sql, query.parameters)


def _pages(store: Store, wanted: queries.Filter) -> Iterator[list[Row]]:
    """All items, page by page."""
    after: queries.Cursor | None = None
    while True:
        rows = _page(store, wanted, EXPORT_PAGE, after)
        yield _items(store, wanted, rows[:EXPORT_PAGE])
        if len(rows) <= EXPORT_PAGE:
            return
        after = _key(rows[EXPORT_PAGE - 1])


def _key(row: Row) -> queries.Cursor:
    return queries.Cursor(row["channel"], row["address"], row["scope"])


def _whole(store: Store, wanted: queries.Filter) -> dict[str, Any]:
    query = queries.suppression_history(wanted)
    history = store.rows(query.sql, query.parameters)
    scopes = _page(store, wanted, 10_000, None)
    if not history and not scopes:
        raise Problem(404, "Nothing is known of this address")
    events = _events(store, wanted.accounts, [*history, *scopes])
    own = {event["event_id"] for event in events}
    return {
        "channel": wanted.channel,
        "address": wanted.addresses[0],
        "scopes": [_item(row, wanted.accounts, own) for row in scopes],
        "history": [_item(row, wanted.accounts, own) for row in history],
        "evidence": [plain(event) for event in events],
    }


def _items(store: Store, wanted: queries.Filter, rows: Sequence[Row]) -> list[Row]:
    if wanted.accounts is None:
        return [_item(row, None, set()) for row in rows]
    platform = [row for row in rows if row["scope"] == EVERYWHERE]
    own = {event["event_id"] for event in _events(store, wanted.accounts, platform)}
    return [_item(row, wanted.accounts, own) for row in rows]


def _item(row: Row, accounts: Sequence[str] | None, own: set[str]) -> Row:
    """A row as the accounts may see it; `own` are the events of their messages."""
    shown = plain(row)
    if accounts is None or row["scope"] != EVERYWHERE:
        return shown
    return shown | {"actor": "", "evidence": [known for known in row["evidence"] if known in own]}


def _events(store: Store, accounts: Sequence[str] | None, rows: Sequence[Row]) -> list[Row]:
    """The events of the accounts' messages among the evidence. Other ids are of commands."""
    ids = sorted({known for row in rows for known in row["evidence"] if len(known) == _EVENT_ID_CHARACTERS})
    found: list[Row] = []
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        query = queries.evidence_events(accounts, ids[begin : begin + _IDS_AT_ONCE])
        found += store.rows(query.sql, query.parameters)
    return found
