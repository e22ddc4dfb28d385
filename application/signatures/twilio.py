"""Verifies the signature of Twilio's webhooks.

In:  the raw bytes of a POST, its headers, the URL that was called, and the valid auth tokens.
Out: nothing if the holder of one of the tokens sent this; else `SignatureInvalid`, for any input.

Twilio signs the configured URL with its query, followed by the name and value of each form field, sorted by name,
without separators: HMAC-SHA1 with the account's auth token. Of a repeated field each distinct value counts once,
sorted. A body that is not a form is not signed itself: the URL's query has its SHA-256 as `bodySHA256`.

The URL often differs from the configured one, since proxies change it, and Twilio includes the port only sometimes. So
these variants are tried, each with the raw path and query:

    the scheme as given, then the other one (a proxy that ends TLS turns https into http)
    x the port as given, none, and the scheme's default (443 or 80)

This gains an attacker without a token nothing: path, query and body are signed in each variant. It only accepts what
Twilio signed for the same host, path and query under another scheme or port. The host is never varied: a request that
was signed for a staging system is refused. A user and password before the host are removed, as Twilio does.

A fragment (Twilio's connection overrides, `#rc=3`) never reaches a server, so no variant has one.

If a webhook rule matches the URL, Twilio signs with the rule's shared key and HMAC-SHA256 instead: only the hash and
the key change. The length of the signature (28 or 44 characters) tells which one it is. The
header that names the rule is not needed.

Twilio's scheme has a weakness that we can't fix: names and values have no separators, so a signed request can be
changed by moving the borders between them. But Twilio sends only to us, over TLS.

Sources: github.com/twilio/twilio-python, twilio/request_validator.py at 306691e7; twilio.com/docs/usage/security, whose
notes on passwords and ports stand in github.com/twilio-labs/twilio-aspnet, issue 18 (all read 2026-11-25);
github.com/twilio/twilio-node, examples/WebhookSignatureValidation.md (read 2026-11-28).
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from application.signatures.headers import first_value
from schemas.decoding.forms import form_pairs
from schemas.errors import ConfigError, SignatureInvalid

__all__ = ["SIGNATURE_HEADER", "check_headers", "load_auth_tokens", "verify"]

SIGNATURE_HEADER: Final = "X-Twilio-Signature"
SETTING: Final = "SENDLEDGER_TWILIO_AUTH_TOKENS"
SHARED_SETTING: Final = "SENDLEDGER_TWILIO_SHARED_KEYS"
MAX_FIELDS: Final = 1_000
"""Twilio sends a few dozen."""

_WHERE: Final = f"header {SIGNATURE_HEADER}"
_MEND: Final = f"compare {SETTING} and SENDLEDGER_PUBLIC_URL with the Auth Token and the URLs in Twilio's console"
_MEND_SETTING: Final = "take the Auth Token from the account's page in Twilio's console"
_BODY_HASH: Final = "bodySHA256"
_PORTS: Final = {"https": ":443", "http": ":80"}
_URL: Final = re.compile(r"(https?)://(?:[^/?]*@)?(\[[^/?\]]*\]|[^/?:]*)(:[^/?]*)?([/?].*)?", re.S)
_SHA1: Final = re.compile(r"[A-Za-z0-9+/]{27}=", re.ASCII)
_SHA256: Final = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)
"""20 and 32 bytes in base64."""
_SID: Final = re.compile(r"[A-Z]{2}[0-9a-f]{32}")


def verify(
    body: bytes, headers: Mapping[str, str], url: str, tokens: Sequence[bytes], shared_keys: Sequence[bytes] = ()
) -> None:
    """Return if the holder of one of `tokens` or `shared_keys` posted `body` to `url`; raise SignatureInvalid if not.

    Header names are case-insensitive. Several tokens are valid during a rotation, or with subaccounts: each has its own
    token.
    """
    claim = _claimed(headers, tokens, shared_keys)
    signed_fields = [_form_fields(body)]
    if _hash_is_in(url, body):
        signed_fields.append(b"")  # then only the URL is signed, with the hash of the body in it
    signed = (signed_url + fields for fields in signed_fields for signed_url in _variants(url))
    if not any(_signed_by(key, text, claim) for text in signed for key in claim.keys):
        raise SignatureInvalid("Twilio's signature does not match the post", _WHERE, _MEND)


def check_headers(headers: Mapping[str, str], tokens: Sequence[bytes], shared_keys: Sequence[bytes] = ()) -> None:
    """Raise SignatureInvalid for headers that are invalid with any body: then the body need not be read."""
    _claimed(headers, tokens, shared_keys)


def load_auth_tokens(text: str) -> tuple[bytes, ...]:
    """Return the tokens or shared keys of a setting, separated by commas.

    Raises ConfigError, which gives the position of the token and never shows it.
    """
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    return tuple(_load(part, number) for number, part in enumerate(parts, start=1))


def _load(text: str, number: int) -> bytes:
    if _SID.fullmatch(text):
        raise ConfigError(f"token {number} is a SID, the id of an account or a key", SETTING, _MEND_SETTING)
    if not text.isprintable() or " " in text:
        raise ConfigError(f"token {number} has spaces or unprintable characters", SETTING, _MEND_SETTING)
    return text.encode()


class _Claim(NamedTuple):
    """A signature, its algorithm, and the keys that may have made it."""

    signature: bytes
    algorithm: str
    keys: Sequence[bytes]


def _claimed(headers: Mapping[str, str], tokens: Sequence[bytes], shared_keys: Sequence[bytes]) -> _Claim:
    """The signature of the headers. Raises SignatureInvalid if its format is invalid."""
    if not tokens and not shared_keys:
        raise SignatureInvalid("no auth token is configured for Twilio", SETTING, _MEND)
    signature = first_value(headers, SIGNATURE_HEADER)
    if not signature:
        raise SignatureInvalid(
            "Twilio's signature header is missing", _WHERE, "find out who else posts to this address"
        )
    if tokens and _SHA1.fullmatch(signature):
        return _Claim(signature.encode("ascii"), "sha1", tokens)
    if shared_keys and _SHA256.fullmatch(signature):
        return _Claim(signature.encode("ascii"), "sha256", shared_keys)
    raise SignatureInvalid(
        "Twilio's signature does not have the format that the configured keys produce", _WHERE, _MEND
    )


def _form_fields(body: bytes) -> bytes:
    """Return the form fields as Twilio signs them."""
    if body.count(b"&") > MAX_FIELDS:
        # The sender is not authenticated yet: sorting many fields would cost too much.
        raise SignatureInvalid(f"a form of more than {MAX_FIELDS} fields is not Twilio's", "the body", _MEND)
    pairs = set(form_pairs(body.decode("utf-8", "replace")))
    return "".join(name + value for name, value in sorted(pairs)).encode()


def _hash_is_in(url: str, body: bytes) -> bool:
    """Return whether the query of `url` has the SHA-256 of `body`."""
    signed_fields = [value for name, value in form_pairs(url.partition("?")[2]) if name == _BODY_HASH]
    digest = hashlib.sha256(body).hexdigest().encode()
    return any(hmac.compare_digest(value.lower().encode("utf-8", "replace"), digest) for value in signed_fields)


def _variants(url: str) -> list[bytes]:
    """Return the distinct URLs that Twilio may have signed when it called `url`, the most likely first."""
    match = _URL.fullmatch(url)
    if match is None:
        return [url.encode("utf-8", "replace")]
    scheme, host, port, rest = match.groups(default="")
    other = "http" if scheme == "https" else "https"
    urls = [f"{s}://{host}{p}{rest}" for s in (scheme, other) for p in (port, "", _PORTS[s])]
    return [text.encode("utf-8", "replace") for text in dict.fromkeys(urls)]


def _signed_by(key: bytes, text: bytes, claim: _Claim) -> bool:
    return hmac.compare_digest(b64encode(hmac.digest(key, text, claim.algorithm)), claim.signature)
