"""Sessions of the console. A session is a signed cookie with the user's claims, so the server stores nothing.

In:  a token of the API. Out: a cookie with the token's claims (subject, role, accounts) and an end, never the token.
Promises: a session ends when its token does, and after `session_hours` at the latest. It is signed with a separate key,
so a cookie is never accepted as a token, nor a token as a cookie. A single session can't be revoked: all sessions and
tokens end when the secret changes.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

import jwt

from application.principals import Principal
from gateway.access import READERS
from gateway.tokens import Claims

__all__ = ["COOKIE", "Session", "make_cookie", "read_cookie", "session_of"]

COOKIE: Final = "sendledger_session"

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "sendledger-console"
_KEY_NAME: Final = b"sendledger console session"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in; `ends_at` is in seconds since 1970."""

    principal: Principal
    ends_at: int


def session_of(claims: Claims, *, now: int, seconds: int) -> Session | None:
    """Return the session of somebody who signs in with a token; None if its role may not read the log."""
    if claims.principal.role not in READERS:
        return None
    latest = now + seconds
    return Session(claims.principal, latest if claims.expires_at is None else min(latest, claims.expires_at))


def make_cookie(session: Session, secret: str) -> str:
    """Return the value of the cookie."""
    principal = session.principal
    claims = {"sub": principal.subject, "role": principal.role, "accounts": sorted(principal.accounts)}
    return jwt.encode(claims | {"aud": _AUDIENCE, "exp": session.ends_at}, _key(secret), algorithm=_ALGORITHM)


def read_cookie(cookie: str | None, secret: str) -> Session | None:
    """Return the session of a cookie; None if there is no cookie, or if it has ended or is not signed by us."""
    try:
        claims = jwt.decode(
            cookie or "",
            _key(secret),
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["sub", "aud", "exp"]},
        )
    except jwt.PyJWTError:
        return None
    return Session(Principal(claims["sub"], claims["role"], frozenset(claims["accounts"])), claims["exp"])


def _key(secret: str) -> bytes:
    return hmac.digest(secret.encode(), _KEY_NAME, hashlib.sha256)
