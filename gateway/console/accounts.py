"""The page Accounts: the accounts of a session, to choose one; and its part, the suggestions of the account picker.

In:  a part of an account's id; a session. Out: a page with a link to the log of each account, or a list of options.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from application.principals import Principal
from gateway.console.pages import Pages, is_partial
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.read_pool import ReadPool
from projections.accounts import queries
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = ["router"]

_MAX_SHOWN: Final = 100

Part = Annotated[str, Query(max_length=200, description="A part of the id, in any case")]


def router(settings: GatewaySettings, store: Store, reads: ReadPool, pages: Pages) -> APIRouter:
    """Return `/accounts`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    as_reader = Annotated[Principal, Depends(signed_in(settings.token_secret.get_secret_value()))]

    @routes.get("/accounts")
    async def accounts(request: Request, principal: as_reader, q: Part = "") -> Response:
        if principal.covers_all:
            found = await reads.run(principal, _with_text, store, q)
        else:
            found = [account for account in sorted(principal.accounts) if q.casefold() in account.casefold()]
        return pages.page(
            request,
            "_accounts.html" if is_partial(request) else "accounts.html",
            accounts=found[:_MAX_SHOWN],
            more=len(found) > _MAX_SHOWN,
            part=q,
        )

    return routes


def _with_text(store: Store, text: str) -> list[str]:
    query = queries.account_ids(text, limit=_MAX_SHOWN + 1)
    return [account for (account,) in store.tuples(query.sql, query.parameters)]
