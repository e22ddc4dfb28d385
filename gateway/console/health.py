"""The page Health: whether everything works, what waits to be read, what the providers say, and the dead letters.

In:  a session, and for a session of several accounts a choice of them. Out: a page, or its part that changes.

Every session sees whether Kafka and ClickHouse answer, and what the providers reported about its accounts. A session of
all accounts sees the whole installation, too. The dead letters themselves are for operators of all accounts: their
texts come from outside, of any account. `gateway.console.dead_letters` has the page of each.
"""

import asyncio
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from application.principals import Principal
from gateway.access import OPERATORS, accounts_to_query, for_all_accounts
from gateway.api.lists import Account
from gateway.console.installation import LETTER_DAYS, Installation, InstallationReader
from gateway.console.links import Links
from gateway.console.pages import Pages, is_partial
from gateway.console.query_string import canonical_query
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.health import Readiness
from gateway.read_pool import ReadPool
from gateway.worker_metrics import quantile
from processors.dead_letters.browsing import OpenLetters
from projections.store import Store
from schemas.decoding.times import rfc3339
from schemas.settings import GatewaySettings

__all__ = ["router"]

_LETTERS_SHOWN: Final = 100

Reason = Annotated[str | None, Query(max_length=100, description="Only dead letters with this reason")]


def router(settings: GatewaySettings, store: Store, reads: ReadPool, readiness: Readiness, pages: Pages) -> APIRouter:
    """Return `/health` and `/health/dead-letters`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    secret = settings.token_secret.get_secret_value()
    reader = canonical_query(signed_in(secret), pages)
    as_reader = Annotated[Principal, Depends(reader)]
    as_operator = Annotated[Principal, Depends(for_all_accounts(signed_in(secret, roles=OPERATORS)))]
    installation = InstallationReader(settings, store, reads)

    async def whole(principal: Principal) -> Installation | None:
        return await installation.read(principal) if principal.covers_all else None

    @routes.get("/health")
    async def health(request: Request, principal: as_reader, account: Account = None) -> Response:
        accounts = accounts_to_query(principal, account)
        providers, unreachable, found = await asyncio.gather(
            installation.providers(principal, accounts),
            readiness.unreachable(),
            whole(principal),
        )
        return pages.page(
            request,
            "_health.html" if is_partial(request) else "health.html",
            links=Links(f"{pages.base}/health", request.query_params.multi_items()),
            providers=providers,
            covers_installation=accounts is None,
            unreachable=unreachable,
            installation=found,
            delays=[quantile(found.workers.delay, q) for q in (0.5, 0.95)] if found else [],
            letter_days=LETTER_DAYS,
            shows_letters=principal.covers_all and principal.role in OPERATORS,
            now=rfc3339(time.time_ns() // 1000),
        )

    @routes.get("/health/dead-letters")
    async def dead_letters(request: Request, principal: as_operator, reason: Reason = None) -> Response:
        found = await installation.letters(principal)
        return pages.page(request, "dead_letters.html", reason=reason, found=found, **_shown(found, reason))

    return routes


def _shown(found: OpenLetters | None, reason: str | None) -> dict[str, Any]:
    """The letters that the page shows, and how many more there are."""
    letters = [one for one in (found.letters if found else ()) if reason is None or one.reason == reason]
    return {
        "letters": letters[:_LETTERS_SHOWN],
        "more": max(0, len(letters) - _LETTERS_SHOWN),
        "letter_days": LETTER_DAYS,
    }
