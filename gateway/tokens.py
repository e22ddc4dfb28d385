"""API tokens: a subject, its accounts, and its role.

A token is a JWT signed with `SENDLEDGER_TOKEN_SECRET` (HS256). Nothing is stored, so a token can be revoked only by
changing the secret. It names its subject, its accounts (`*` for all) and one role.
"""

import re
import time
from typing import Final, NamedTuple

import jwt

from application.principals import Principal
from schemas.decoding.ids import ALL, account_id_or_blank
from schemas.errors import RequestError

__all__ = ["ROLES", "Claims", "TokenInvalid", "authenticate", "claims_of", "issue"]

ROLES: Final = ("publisher", "viewer", "support", "operator")
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "sendledger"
_BEARER: Final = re.compile(r"\ABearer +([A-Za-z0-9_\-.]+) *\Z", re.I)


_MAX_SUBJECT: Final = 320
"""In characters. It is stored with every record written for the token, so it is no longer than an address."""
_SUBJECT_SHOWN: Final = 60
_LOOKS_LIKE_JWT: Final = re.compile(r"\A[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\Z")
_CREATE_NEW: Final = "Make a new one: sendledger token create"
_WHERE: Final = "header Authorization"
_SEND_AS_BEARER: Final = "Send it as `Authorization: Bearer TOKEN`"


class Claims(NamedTuple):
    """The claims of a token. `expires_at` is in seconds since 1970; None: it holds until the secret changes."""

    principal: Principal
    expires_at: int | None


class TokenInvalid(RequestError):
    """The token is missing, invalid or expired. `given` says whether the request has one at all."""

    def __init__(self, what: str, where: str, mend: str, *, given: bool = True) -> None:
        super().__init__(what, where, mend, code="token-invalid" if given else "token-missing")
        self.given = given


def issue(secret: str, *, subject: str, role: str, accounts: list[str], expires_in: int | None = None) -> str:
    """Return a new token. `expires_in` is in seconds; without it the token is valid until the secret changes."""
    if role not in ROLES:
        raise RequestError(f"{role!r} is not a role", "role", f"Use one of {', '.join(ROLES)}")
    for account in accounts:
        if account != ALL and not account_id_or_blank(account):
            raise RequestError(f"{account!r} is not an account id", "account", "Use 1 to 64 of A-Z a-z 0-9 _ . - or *")
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


def authenticate(authorization: str | None, secret: str) -> Principal:
    """Return the principal of the header `Authorization`. Raises TokenInvalid for any other header."""
    return claims_of(_token(authorization or ""), secret).principal


def claims_of(token: str, secret: str) -> Claims:
    """Return the claims of a token. Raises TokenInvalid for any other text."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["sub", "aud"], "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        raise TokenInvalid("The token has expired", _WHERE, _CREATE_NEW) from None
    except jwt.InvalidSignatureError:
        raise TokenInvalid("The token was signed with another secret", _WHERE, _CREATE_NEW) from None
    except jwt.PyJWTError:
        raise TokenInvalid("This is not a token of sendledger", _WHERE, _CREATE_NEW) from None
    role, accounts = claims.get("role"), claims.get("accounts")
    if role not in ROLES or not isinstance(accounts, list) or not all(isinstance(a, str) for a in accounts):
        raise TokenInvalid("The token names no role or no accounts", _WHERE, _CREATE_NEW)
    return Claims(Principal(str(claims["sub"]), str(role), frozenset(accounts)), claims.get("exp"))


def _token(authorization: str) -> str:
    """Return the token of the header. Raises TokenInvalid, which says what is missing."""
    if match := _BEARER.match(authorization):
        return match[1]
    if not authorization.strip():
        raise TokenInvalid("A token is required", _WHERE, _SEND_AS_BEARER, given=False)
    if _LOOKS_LIKE_JWT.match(authorization.strip()):
        raise TokenInvalid("The word `Bearer` is missing before the token", _WHERE, _SEND_AS_BEARER)
    scheme = authorization.split(maxsplit=1)[0].lower()
    if scheme == "bearer":
        raise TokenInvalid("The token is missing, or has invalid characters", _WHERE, _SEND_AS_BEARER)
    raise TokenInvalid("The scheme of Authorization is not Bearer", _WHERE, _SEND_AS_BEARER, given=False)
