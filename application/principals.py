"""The principal: who makes a request, with which role, for which accounts.

In:  the claims of a token, or the user of the command line. Out: whether the principal covers an account.
Promise: an account that is not covered gets exactly the answer of one that does not exist, wherever it is named.
"""

from dataclasses import dataclass

from schemas.decoding.ids import ALL, account_id_or_blank
from schemas.errors import RequestError

__all__ = ["Principal", "no_such_account", "require_account_access"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request."""

    subject: str
    role: str
    accounts: frozenset[str]

    def covers(self, account_id: str) -> bool:
        """Whether the principal acts for an account."""
        return ALL in self.accounts or account_id in self.accounts

    @property
    def only_account(self) -> str | None:
        """The account that the principal acts for, where it is exactly one."""
        return next(iter(self.accounts)) if len(self.accounts) == 1 and not self.covers_all else None

    @property
    def covers_all(self) -> bool:
        """Whether the principal acts for every account, and sees the rows of account `*` too."""
        return ALL in self.accounts


def require_account_access(principal: Principal, account: str) -> None:
    """Raise RequestError (`no-such-account`) unless `account` is an account id that the principal covers."""
    if not account_id_or_blank(account) or not principal.covers(account):
        raise no_such_account()


def no_such_account() -> RequestError:
    """Return the error for an account that the principal does not cover."""
    mend = "Check the account's id, and which accounts you act for"
    return RequestError("No such account", "the account", mend, code="no-such-account")
