"""Who asks: a name, a role, and the accounts that they act for.

In:  what a token says, or whoever sits at the command line. Out: whether an account is among theirs.
Promise: an account that is not answers exactly as one that does not exist, wherever it is named.
"""

from dataclasses import dataclass
from typing import Final

from schemas.errors import RequestError
from schemas.identity import account_id_or_blank

__all__ = ["ALL_ACCOUNTS", "Principal", "must_cover", "no_account"]

ALL_ACCOUNTS: Final = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    subject: str
    role: str
    accounts: frozenset[str]

    def covers(self, account_id: str) -> bool:
        """Whether the principal acts for an account."""
        return ALL_ACCOUNTS in self.accounts or account_id in self.accounts

    @property
    def only_account(self) -> str | None:
        """The account that the principal acts for, where it is exactly one."""
        return next(iter(self.accounts)) if len(self.accounts) == 1 and not self.covers_all else None

    @property
    def covers_all(self) -> bool:
        """Whether the principal acts for every account, and sees the rows of account `*` too."""
        return ALL_ACCOUNTS in self.accounts


def must_cover(principal: Principal, account: str) -> None:
    """Raise RequestError (`no-such-account`) unless `account` is one, and the principal acts for it."""
    if not account_id_or_blank(account) or not principal.covers(account):
        raise no_account()


def no_account() -> RequestError:
    """Return the error for whoever names an account that is not theirs."""
    mend = "Check the account's id, and which accounts you act for"
    return RequestError("No such account", "the account", mend, code="no-such-account")
