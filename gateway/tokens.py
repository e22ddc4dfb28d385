"""Tokens of the API: who asks, for which accounts, in which role.

A token is a JWT signed with `SENDLEDGER_TOKEN_SECRET` (HS256): nothing is stored, so a token is taken back by changing
the secret. It names its subject, its accounts (`*` for all) and one role.
"""

import re
import time
from dataclasses import dataclass
from typing import Final

import jwt

from schemas.errors import RequestError
from schemas.identity import account_id_or_blank

__all__ = ["ALL_ACCOUNTS", "ROLES", "Principal", "TokenInvalid", "issue", "principal_of"]

ALL_ACCOUNTS: Final = "*"
ROLES: Final = ("publisher", "viewer", "support", "operator")
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "sendledger"
_BEARER: Final = re.compile(r"\ABearer +([A-Za-z0-9_\-.]+) *\Z", re.I)


class TokenInvalid(RequestError):
    """The token is missing, forged or past its time."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    subject: str
    role: str
    accounts: frozenset[str]

    def covers(self, account_id: str) -> bool:
        """Whether the token covers an account."""
        return ALL_ACCOUNTS in self.accounts or account_id in self.accounts

    @property
    def only_account(self) -> str | None:
        """The account that the token is for, where it is for exactly one."""
        return next(iter(self.accounts)) if len(self.accounts) == 1 and not self.covers_all else None

    @property
    def covers_all(self) -> bool:
        """Whether the token covers every account, and the rows of account `*` too."""
        return ALL_ACCOUNTS in self.accounts


def issue(secret: str, *, subject: str, role: str, accounts: list[str], expires_in: int | None = None) -> str:
    """Return a new token. `expires_in` is in seconds; without it the token holds until the secret changes."""
    if role not in ROLES:
        raise RequestError(f"{role!r} is no role", "role", f"Use one of {', '.join(ROLES)}")
    for account in accounts:
        if account != ALL_ACCOUNTS and not account_id_or_blank(account):
            raise RequestError(f"{account!r} is no account id", "account", "Use 1 to 64 of A-Z a-z 0-9 _ . - or *")
    if not accounts:
        raise RequestError("A token covers at least one account", "account", "Name one, or * for all")
    now = int(time.time())
    claims: dict[str, object] = {"sub": subject, "role": role, "accounts": accounts, "aud": _AUDIENCE, "iat": now}
    if expires_in is not None:
        claims["exp"] = now + expires_in
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def principal_of(authorization: str | None, secret: str) -> Principal:
    """Return who asks, by the header `Authorization`. Raises TokenInvalid, whatever the header holds."""
    match = _BEARER.match(authorization or "")
    if match is None:
        raise TokenInvalid("A token is needed", "header Authorization", "Send it as `Authorization: Bearer TOKEN`")
    try:
        claims = jwt.decode(
            match[1],
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["sub", "aud"], "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        what = f"The token is not valid: {type(error).__name__}"
        raise TokenInvalid(what, "header Authorization", "Make one: sendledger token create") from None
    role, accounts = claims.get("role"), claims.get("accounts")
    if role not in ROLES or not isinstance(accounts, list) or not all(isinstance(a, str) for a in accounts):
        raise TokenInvalid("The token names no role or no accounts", "header Authorization", "Make a new one")
    return Principal(str(claims["sub"]), str(role), frozenset(accounts))
