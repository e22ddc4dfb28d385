"""The credentials of Postmark's webhooks: Postmark signs nothing, it logs in.

In:  the headers of a POST, and the live credentials.
Out: nothing if they have a user and a password, or a secret, that are live; else `SignatureInvalid`, whatever they are.

Postmark takes HTTP Basic (RFC 7617) from the webhook's URL, `https://user:password@host/webhooks/postmark`, or from its
`HttpAuth`; or it is given a header of one's own (`HttpHeaders`), `Authorization: Bearer …` or any other. So the body is
not covered, and nothing about it can be proved later: the record in Kafka says who was let in when, and its headers
must never hold the password.

A refused post is lost: after a 401 Postmark does not come again. Add new credentials here before Postmark uses them.

Sources: RFC 7617; postmarkapp.com/developer/webhooks/webhooks-overview;
github.com/ActiveCampaign/postmark-skills, postmark-webhooks/references/security.md (all read 2026-11-25).
"""

import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.intake.headers import first_said
from schemas.errors import ConfigError, SignatureInvalid

__all__ = [
    "AUTHORIZATION_HEADER",
    "Credentials",
    "HeaderSecret",
    "load_credentials",
    "load_header_secrets",
    "verify",
]

AUTHORIZATION_HEADER: Final = "Authorization"
SETTING: Final = "SENDLEDGER_POSTMARK_BASIC_AUTH"
SECRETS_SETTING: Final = "SENDLEDGER_POSTMARK_HEADER_SECRETS"

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_LEAST_SECRET: Final = 16

_WHERE: Final = f"header {AUTHORIZATION_HEADER}"
_MEND: Final = f"compare {SETTING} with the user and password in Postmark's Message Stream > Webhooks"
_FORM: Final = "write user:password as they are, not percent-encoded; several with commas between them"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password: only their digest, so that nothing can show them."""

    digest: bytes = field(repr=False)
    """SHA-256 of `user:password` in UTF-8."""


@dataclass(frozen=True, slots=True)
class HeaderSecret:
    """A header whose value only Postmark and we know: of the value only the digest."""

    name: str
    digest: bytes = field(repr=False)
    """SHA-256 of the value in UTF-8."""


def verify(
    headers: Mapping[str, str], credentials: Sequence[Credentials], secrets: Sequence[HeaderSecret] = ()
) -> None:
    """Return if `headers` have one of `credentials` or `secrets`; raise SignatureInvalid if not.

    Names of headers have no case. Several are live while one replaces another, and where several servers or streams of
    Postmark post to us.
    """
    shown = [hmac.compare_digest(_digest(first_said(headers, secret.name)), secret.digest) for secret in secrets]
    if any(shown):
        return
    if not credentials and secrets:
        raise SignatureInvalid("Postmark's secret header is missing, or is not one of ours", SECRETS_SETTING, _MEND)
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


def load_header_secrets(text: str) -> tuple[HeaderSecret, ...]:
    """Return the secrets of a setting: each `Name: value`, with commas between them. Raises ConfigError."""
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    return tuple(_load_secret(part, number) for number, part in enumerate(parts, start=1))


def _load_secret(text: str, number: int) -> HeaderSecret:
    name, _, value = (part.strip() for part in text.partition(":"))
    if not _HEADER_NAME.fullmatch(name) or len(value) < _LEAST_SECRET or not value.isprintable():
        mend = f"write `Name: value`, the value of {_LEAST_SECRET} characters or more; several with commas between them"
        raise ConfigError(f"secret {number} is no header with a value that nobody guesses", SECRETS_SETTING, mend)
    return HeaderSecret(name, _digest(value))


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()


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
    if value := first_said(headers, AUTHORIZATION_HEADER):
        return value
    raise SignatureInvalid("Postmark's credentials are missing", _WHERE, _MEND)
