"""Tokens of the API: who asks, for which accounts, in which role.

A token is a JWT signed with `SENDLEDGER_TOKEN_SECRET` (HS256): nothing is stored, so a token is taken back by changing
the secret. It names its subject, its accounts (`*` for all) and one role.
"""

import re
import time
from typing import Final

import jwt

from application.principals import ALL_ACCOUNTS, Principal
from schemas.errors import RequestError
from schemas.identity import account_id_or_blank

__all__ = ["ROLES", "TokenInvalid", "issue", "principal_of"]

ROLES: Final = ("publisher", "viewer", "support", "operator")
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "sendledger"
_BEARER: Final = re.compile(r"\ABearer +([A-Za-z0-9_\-.]+) *\Z", re.I)


_MAX_SUBJECT: Final = 320
"""In characters. It stands beside every record that the token asks for: no more than an address may have."""
_SUBJECT_SHOWN: Final = 60
_SCHEME_FORGOTTEN: Final = re.compile(r"\A[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\Z")
_MAKE_ONE: Final = "Make a new one: sendledger token create"
_WHERE: Final = "header Authorization"
_AS_BEARER: Final = "Send it as `Authorization: Bearer TOKEN`"


class TokenInvalid(RequestError):
    """The token is missing, forged or past its time. `given` says whether there is one at all."""

    def __init__(self, what: str, where: str, mend: str, *, given: bool = True) -> None:
        super().__init__(what, where, mend, code="token-invalid" if given else "token-missing")
        self.given = given


def issue(secret: str, *, subject: str, role: str, accounts: list[str], expires_in: int | None = None) -> str:
    """Return a new token. `expires_in` is in seconds; without it the token holds until the secret changes."""
    if role not in ROLES:
        raise RequestError(f"{role!r} is no role", "role", f"Use one of {', '.join(ROLES)}")
    for account in accounts:
        if account != ALL_ACCOUNTS and not account_id_or_blank(account):
            raise RequestError(f"{account!r} is no account id", "account", "Use 1 to 64 of A-Z a-z 0-9 _ . - or *")
    if not 1 <= len(subject) <= _MAX_SUBJECT or not subject.strip() or not subject.isprintable():
        raise RequestError(
            f"{subject[:_SUBJECT_SHOWN]!r} is not a subject",
            "subject",
            f"Use 1 to {_MAX_SUBJECT} printable characters that are not all blank",
        )
    if not accounts:
        raise RequestError("A token covers at least one account", "account", "Name one, or * for all")
    now = int(time.time())
    claims: dict[str, object] = {"sub": subject, "role": role, "accounts": accounts, "aud": _AUDIENCE, "iat": now}
    if expires_in is not None:
        claims["exp"] = now + expires_in
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def principal_of(authorization: str | None, secret: str) -> Principal:
    """Return who asks, by the header `Authorization`. Raises TokenInvalid, whatever the header holds."""
    token = _token(authorization or "")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["sub", "aud"], "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        raise TokenInvalid("The token has expired", _WHERE, _MAKE_ONE) from None
    except jwt.InvalidSignatureError:
        raise TokenInvalid("The token was signed with another secret than ours", _WHERE, _MAKE_ONE) from None
    except jwt.PyJWTError:
        raise TokenInvalid("This is not a token of sendledger", _WHERE, _MAKE_ONE) from None
    role, accounts = claims.get("role"), claims.get("accounts")
    if role not in ROLES or not isinstance(accounts, list) or not all(isinstance(a, str) for a in accounts):
        raise TokenInvalid("The token names no role or no accounts", _WHERE, _MAKE_ONE)
    return Principal(str(claims["sub"]), str(role), frozenset(accounts))


def _token(authorization: str) -> str:
    """Return the token of the header. Raises TokenInvalid, in words that say what is missing."""
    if match := _BEARER.match(authorization):
        return match[1]
    if not authorization.strip():
        raise TokenInvalid("A token is needed", _WHERE, _AS_BEARER, given=False)
    if _SCHEME_FORGOTTEN.match(authorization.strip()):
        raise TokenInvalid("The word `Bearer` is missing before the token", _WHERE, _AS_BEARER)
    scheme = authorization.split(maxsplit=1)[0].lower()
    if scheme == "bearer":
        raise TokenInvalid("The token is missing, or has characters that no token has", _WHERE, _AS_BEARER)
    raise TokenInvalid("Authorization is not of the scheme Bearer", _WHERE, _AS_BEARER, given=False)
