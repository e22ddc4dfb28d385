"""Who may do what: the role that a route asks for, the accounts that a token covers, the parameters that a route has.

Another account answers exactly as one that does not exist, wherever it is named: 404, in the same words.
"""

from collections.abc import Callable, Sequence
from typing import Final

from fastapi import Request

from gateway.problems import Problem
from gateway.tokens import Principal, principal_of
from projections.messages.queries import EVERY
from schemas.identity import account_id_or_blank

__all__ = [
    "OPERATORS",
    "PUBLISHERS",
    "READERS",
    "SUPPRESSORS",
    "accounts_of",
    "allowing",
    "known_parameters",
    "must_cover",
    "no_account",
]

PUBLISHERS: Final = ("publisher", "operator")
READERS: Final = ("viewer", "support", "operator")
SUPPRESSORS: Final = ("support", "operator")
OPERATORS: Final = ("operator",)


def allowing(roles: Sequence[str], secret: str) -> Callable[[Request], Principal]:
    """Return a dependency that says who asks. It raises TokenInvalid, or Problem 403 for any role but `roles`."""

    def principal(request: Request) -> Principal:
        asking = principal_of(request.headers.get("authorization"), secret)
        if asking.role not in roles:
            raise Problem(403, f"This takes a token of the role {' or '.join(roles)}; yours is a {asking.role}'s")
        return asking

    return principal


async def known_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not have: a filter misspelt is a filter not applied."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name not in known:
            near = ", ".join(f"`{k}`" for k in sorted(known))
            raise Problem(400, f"`{name}` is no parameter here; there {f'are {near}' if near else 'is none'}")


def accounts_of(principal: Principal, account: str | None) -> Sequence[str] | None:
    """Return the accounts that a query is bound to; None for all, which only a token of all gets.

    `account` is the parameter: an account, `*` for all that the token covers, or nothing where it covers one.
    """
    if account is None:
        if principal.covers_all or len(principal.accounts) > 1:
            raise Problem(400, "`account`: the token covers several; name one, or * for all of them")
        return sorted(principal.accounts)
    if account == EVERY:
        return None if principal.covers_all else sorted(principal.accounts)
    must_cover(principal, account)
    return [account]


def must_cover(principal: Principal, account: str) -> None:
    """Raise Problem 404 unless `account` is one, and the token covers it."""
    if not account_id_or_blank(account) or not principal.covers(account):
        raise no_account()


def no_account() -> Problem:
    """Return the answer to whoever names an account that is none of his."""
    return Problem(404, "No such account")
