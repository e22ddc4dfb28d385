"""Access control: the roles of a route, the accounts of a token, and the parameters that a route takes.

An account that is not covered gets exactly the answer of one that does not exist, wherever it is named
(`application.principals`).
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from fastapi import Request
from fastapi._compat import field_annotation_is_sequence

from application.principals import Principal, require_account_access
from gateway.problems import Problem
from gateway.throttle import Throttle
from gateway.tokens import authenticate
from schemas.decoding.ids import ALL

__all__ = [
    "OPERATORS",
    "PUBLISHERS",
    "READERS",
    "SUPPRESSORS",
    "RequirePrincipal",
    "accounts_to_query",
    "for_all_accounts",
    "known_parameters",
    "require_role",
]

PUBLISHERS: Final = ("publisher", "operator")
READERS: Final = ("viewer", "support", "operator")
SUPPRESSORS: Final = ("support", "operator")
OPERATORS: Final = ("operator",)
_NAME_SHOWN: Final = 60

RequirePrincipal = Callable[[Request], Coroutine[Any, Any, Principal]]
"""A dependency that returns who makes a request, or raises."""


def require_role(roles: Sequence[str], secret: str) -> RequirePrincipal:
    """Return a dependency that authenticates the request, checks its role and parameters, and returns the principal.

    It raises TokenInvalid, or Problem: 429 over the token's rate limit, 403 for a role not in `roles`, 400 for
    parameters; in this order, so that a caller without a token learns nothing about the route.
    """

    async def dependency(request: Request) -> Principal:  # async: a sync dependency would wait for a thread
        principal = authenticate(request.headers.get("authorization"), secret)
        throttle: Throttle = request.app.state.throttle
        await throttle.count_request(principal, request.method)
        if principal.role not in roles:
            raise Problem(
                "role-not-allowed", f"This takes a token of the role {' or '.join(roles)}; yours is {principal.role}"
            )
        known_parameters(request)
        return principal

    return dependency


def for_all_accounts(require: RequirePrincipal) -> RequirePrincipal:
    """Return a dependency that requires, besides what `require` does, a principal of all accounts. Raises Problem: 403.

    It is for what belongs to no single account: dead letters may be of any, and arrivals are counted for all together.
    """

    async def dependency(request: Request) -> Principal:
        principal = await require(request)
        if not principal.covers_all:
            raise Problem("role-not-allowed", "This concerns all accounts: it takes a token of all of them")
        return principal

    return dependency


def known_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not have, since a misspelt filter is a filter that is not applied;
    and a parameter or header that is given twice and takes one value, since nobody can say which was meant.
    """
    dependants = list(_with_dependencies(request.scope["route"].dependant))
    known = {field.alias: field.field_info.annotation for dependant in dependants for field in dependant.query_params}
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if name not in known:
            names = ", ".join(f"`{k}`" for k in sorted(known))
            known_text = f"it has {names}" if names else "it has none"
            detail = f"`{name[:_NAME_SHOWN]}` is not a parameter of this route; {known_text}"
            raise Problem("unknown-parameter", detail)
        if times > 1 and not field_annotation_is_sequence(known[name]):
            raise _repeated(name, times)
    for header in (header for dependant in dependants for header in dependant.header_params):
        if (times := len(request.headers.getlist(header.alias))) > 1:
            raise _repeated(header.alias, times)


def _with_dependencies(dependant: Any) -> Iterator[Any]:
    """The dependant of a route, and of each of its dependencies."""
    yield dependant
    for other in dependant.dependencies:
        yield from _with_dependencies(other)


def _repeated(name: str, times: int) -> Problem:
    return Problem("repeated-parameter", f"`{name}` is given {times} times; it takes one value")


def accounts_to_query(principal: Principal, account: str | None) -> Sequence[str] | None:
    """Return the accounts that a query is limited to; None for all, which requires a token of all accounts.

    `account` is the parameter: an account, `*` for all that the token covers, or None if it covers only one. Raises
    Problem, or RequestError for an account that the token does not cover.
    """
    if account is None:
        if principal.covers_all or len(principal.accounts) > 1:
            raise Problem("account-required", "`account`: the token covers several; name one, or * for all of them")
        return sorted(principal.accounts)
    if account == ALL:
        return None if principal.covers_all else sorted(principal.accounts)
    require_account_access(principal, account)
    return [account]
