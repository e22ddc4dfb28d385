"""Who may do what: the role that a route asks for, the accounts that a token covers, the parameters that a route has.

Another account answers exactly as one that does not exist, wherever it is named (`application.principals`).
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from fastapi import Request
from fastapi._compat import field_annotation_is_sequence

from application.principals import Principal, must_cover
from gateway.problems import Problem
from gateway.throttle import Throttle
from gateway.tokens import principal_of
from projections.messages.filters import EVERY

__all__ = [
    "OPERATORS",
    "PUBLISHERS",
    "READERS",
    "SUPPRESSORS",
    "accounts_of",
    "allowing",
]

PUBLISHERS: Final = ("publisher", "operator")
READERS: Final = ("viewer", "support", "operator")
SUPPRESSORS: Final = ("support", "operator")
OPERATORS: Final = ("operator",)
_NAME_SHOWN: Final = 60


def allowing(roles: Sequence[str], secret: str) -> Callable[[Request], Coroutine[Any, Any, Principal]]:
    """Return a dependency that says who asks, and then whether the route has what he asks with.

    It raises TokenInvalid, or Problem: 429 over the token's limit, 403 for any role but `roles`, 400 for parameters;
    in this order, so that whoever has no token learns nothing of the route.
    """

    async def principal(request: Request) -> Principal:  # a sync one would wait for a thread
        asking = principal_of(request.headers.get("authorization"), secret)
        throttle: Throttle = request.app.state.throttle
        await throttle.of_token(asking, request.method)
        if asking.role not in roles:
            raise Problem(
                "role-not-allowed", f"This takes a token of the role {' or '.join(roles)}; yours is {asking.role}"
            )
        _known_parameters(request)
        return asking

    return principal


def _known_parameters(request: Request) -> None:
    """Refuse a query parameter that the route does not have, since a misspelt filter is a filter that is not applied;
    and a parameter or header that is given twice and takes one value, since nobody can say which was meant.
    """
    every = list(_with_dependencies(request.scope["route"].dependant))
    known = {field.alias: field.field_info.annotation for one in every for field in one.query_params}
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if name not in known:
            near = ", ".join(f"`{k}`" for k in sorted(known))
            said = f"`{name[:_NAME_SHOWN]}` is no parameter here; there {f'are {near}' if near else 'is none'}"
            raise Problem("unknown-parameter", said)
        if times > 1 and not field_annotation_is_sequence(known[name]):
            raise _repeated(name, times)
    for header in (header for one in every for header in one.header_params):
        if (times := len(request.headers.getlist(header.alias))) > 1:
            raise _repeated(header.alias, times)


def _with_dependencies(dependant: Any) -> Iterator[Any]:
    """A route's own parameters, and those of what it depends on."""
    yield dependant
    for other in dependant.dependencies:
        yield from _with_dependencies(other)


def _repeated(name: str, times: int) -> Problem:
    return Problem("repeated-parameter", f"`{name}` is given {times} times; it takes one value")


def accounts_of(principal: Principal, account: str | None) -> Sequence[str] | None:
    """Return the accounts that a query is bound to; None for all, which only a token of all gets.

    `account` is the parameter: an account, `*` for all that the token covers, or nothing where it covers one. Raises
    Problem, or RequestError for an account that the token does not cover.
    """
    if account is None:
        if principal.covers_all or len(principal.accounts) > 1:
            raise Problem("account-required", "`account`: the token covers several; name one, or * for all of them")
        return sorted(principal.accounts)
    if account == EVERY:
        return None if principal.covers_all else sorted(principal.accounts)
    must_cover(principal, account)
    return [account]
