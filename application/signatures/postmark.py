"""Authenticates Postmark's webhooks: Postmark does not sign them, it sends credentials.

In:  the headers of a POST, and the valid credentials.
Out: nothing if the headers have valid credentials or a valid secret; else `SignatureInvalid`.

Postmark takes HTTP Basic (RFC 7617) from the webhook's URL, `https://user:password@host/webhooks/postmark`, or from its
`HttpAuth`; or it sends a custom header (`HttpHeaders`), `Authorization: Bearer …` or any other. So the body is not
authenticated, and can't be verified later. The record in Kafka must never contain the password.

A refused request is lost: Postmark does not retry after 401. Add new credentials here before Postmark uses them.

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

from application.signatures.headers import first_value
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
_FORM: Final = "write user:password as they are, not percent-encoded; separate several by commas"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password: only their digest, so that they can't leak."""

    digest: bytes = field(repr=False)
    """SHA-256 of `user:password` in UTF-8."""


@dataclass(frozen=True, slots=True)
class HeaderSecret:
    """A header with a secret value: only the digest of the value."""

    name: str
    digest: bytes = field(repr=False)
    """SHA-256 of the value in UTF-8."""


def verify(
    headers: Mapping[str, str], credentials: Sequence[Credentials], secrets: Sequence[HeaderSecret] = ()
) -> None:
    """Return if `headers` have one of `credentials` or `secrets`; raise SignatureInvalid if not.

    Header names are case-insensitive. Several credentials are valid during a rotation, or with several servers or
    streams at Postmark.
    """
    secret_matches = [
        hmac.compare_digest(_digest(first_value(headers, secret.name)), secret.digest) for secret in secrets
    ]
    if any(secret_matches):
        return
    if not credentials and secrets:
        raise SignatureInvalid("Postmark's secret header is missing or unknown", SECRETS_SETTING, _MEND)
    if not credentials:
        raise SignatureInvalid("no credentials are configured for Postmark", SETTING, _MEND)
    digest = hashlib.sha256(_user_and_password(headers)).digest()
    # Digests, since comparing texts leaks their lengths; and all of them, since stopping early leaks which one matched.
    matches = [hmac.compare_digest(one.digest, digest) for one in credentials]
    if not any(matches):
        raise SignatureInvalid("Postmark's user or password is unknown", _WHERE, _MEND)


def load_credentials(text: str) -> tuple[Credentials, ...]:
    """Return the credentials of a setting: `user:password`, separated by commas.

    A user contains no colon, a password may; neither contains a comma. Raises ConfigError, which gives the position of
    the invalid one and never shows it.
    """
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    return tuple(_load(part, number) for number, part in enumerate(parts, start=1))


def load_header_secrets(text: str) -> tuple[HeaderSecret, ...]:
    """Return the secrets of a setting: `Name: value`, separated by commas. Raises ConfigError."""
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    return tuple(_load_secret(part, number) for number, part in enumerate(parts, start=1))


def _load_secret(text: str, number: int) -> HeaderSecret:
    name, _, value = (part.strip() for part in text.partition(":"))
    if not _HEADER_NAME.fullmatch(name) or len(value) < _LEAST_SECRET or not value.isprintable():
        mend = f"write `Name: value`, the value of {_LEAST_SECRET} characters or more; separate several by commas"
        raise ConfigError(
            f"secret {number} is not `Name: value` with a value that is long enough", SECRETS_SETTING, mend
        )
    return HeaderSecret(name, _digest(value))


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()


def _load(text: str, number: int) -> Credentials:
    user, _, password = text.partition(":")
    if not user or not password:
        raise ConfigError(f"credential {number} is not of the form user:password", SETTING, _FORM)
    if not text.isprintable():  # RFC 7617 forbids them; a line break is probably a missing comma
        raise ConfigError(f"credential {number} has an unprintable character", SETTING, _FORM)
    return Credentials(hashlib.sha256(text.encode()).digest())


def _user_and_password(headers: Mapping[str, str]) -> bytes:
    """Return the `user:password` of the Authorization header. Raises SignatureInvalid."""
    scheme, _, token = _authorization(headers).partition(" ")
    if scheme.lower() != "basic":
        raise SignatureInvalid("The scheme of Postmark's Authorization is not Basic", _WHERE, _MEND)
    try:
        decoded = b64decode(token.strip(), validate=True)
    except ValueError:
        raise SignatureInvalid("Postmark's credentials are not base64", _WHERE, _MEND) from None
    if b":" not in decoded:
        raise SignatureInvalid("Postmark's credentials are not of the form user:password", _WHERE, _MEND)
    return decoded


def _authorization(headers: Mapping[str, str]) -> str:
    if value := first_value(headers, AUTHORIZATION_HEADER):
        return value
    raise SignatureInvalid("Postmark's credentials are missing", _WHERE, _MEND)
