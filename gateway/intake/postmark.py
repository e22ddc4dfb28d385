"""The credentials of Postmark's webhooks: Postmark signs nothing, it logs in.

In:  the headers of a POST, and the live credentials.
Out: nothing if the headers have a user and a password that are live; else `SignatureInvalid`, whatever the input is.

Postmark takes HTTP Basic (RFC 7617) from the webhook's URL, `https://user:password@host/webhooks/postmark`, or from its
`HttpAuth`. So the body is not covered, and nothing about it can be proved later: the record in Kafka says who was let
in when, and its headers must never hold the password.

A refused post is lost: after a 401 Postmark does not come again. Add new credentials here before Postmark uses them.

Sources: RFC 7617; postmarkapp.com/developer/webhooks/webhooks-overview;
github.com/ActiveCampaign/postmark-skills, postmark-webhooks/references/security.md (all read 2026-11-25).
"""

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import ConfigError, SignatureInvalid

__all__ = ["AUTHORIZATION_HEADER", "Credentials", "load_credentials", "verify"]

AUTHORIZATION_HEADER: Final = "Authorization"
SETTING: Final = "SENDLEDGER_POSTMARK_BASIC_AUTH"

_WHERE: Final = f"header {AUTHORIZATION_HEADER}"
_MEND: Final = f"compare {SETTING} with the user and password in Postmark's Message Stream > Webhooks"
_FORM: Final = "write user:password as they are, not percent-encoded; several with commas between them"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password: only their digest, so that nothing can show them."""

    digest: bytes = field(repr=False)
    """SHA-256 of `user:password` in UTF-8."""


def verify(headers: Mapping[str, str], credentials: Sequence[Credentials]) -> None:
    """Return if `headers` have one of `credentials`; raise SignatureInvalid if not. Names of headers have no case.

    Several are live while one replaces another, and where several servers or streams of Postmark post to us.
    """
    if not credentials:
        raise SignatureInvalid("no credentials are configured for Postmark", SETTING, _MEND)
    digest = hashlib.sha256(_user_and_password(headers)).digest()
    # Digests, since a comparison of texts tells their lengths; and all of them, since stopping tells which one it was.
    live = [hmac.compare_digest(one.digest, digest) for one in credentials]
    if not any(live):
        raise SignatureInvalid("Postmark's user or password is not one of ours", _WHERE, _MEND)


def load_credentials(text: str) -> tuple[Credentials, ...]:
    """Return the credentials of a setting: each `user:password`, with commas between them.

    A user holds no colon and a password may; neither holds a comma. Raises ConfigError, which names the bad one by its
    place and never shows it.
    """
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    return tuple(_load(part, number) for number, part in enumerate(parts, start=1))


def _load(text: str, number: int) -> Credentials:
    user, _, password = text.partition(":")
    if not user or not password:
        raise ConfigError(f"credential {number} is not of the form user:password", SETTING, _FORM)
    if not text.isprintable():  # RFC 7617 allows none; a line break is a comma forgotten
        raise ConfigError(f"credential {number} has a character in it that cannot be printed", SETTING, _FORM)
    return Credentials(hashlib.sha256(text.encode()).digest())


def _user_and_password(headers: Mapping[str, str]) -> bytes:
    """Return the bytes that the Authorization header says, `user:password`. Raises SignatureInvalid."""
    scheme, _, token = _authorization(headers).partition(" ")
    if scheme.lower() != "basic":
        raise SignatureInvalid("Postmark's Authorization is not of the scheme Basic", _WHERE, _MEND)
    try:
        said = b64decode(token.strip(), validate=True)
    except ValueError:
        raise SignatureInvalid("Postmark's credentials are no base64", _WHERE, _MEND) from None
    if b":" not in said:
        raise SignatureInvalid("Postmark's credentials are not of the form user:password", _WHERE, _MEND)
    return said


def _authorization(headers: Mapping[str, str]) -> str:
    for key, value in headers.items():
        if key.lower() == AUTHORIZATION_HEADER.lower() and value.strip():
            return value.strip()
    raise SignatureInvalid("Postmark's credentials are missing", _WHERE, _MEND)
