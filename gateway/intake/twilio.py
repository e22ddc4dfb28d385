"""The signature of Twilio's webhooks.

In:  the raw bytes of a POST, its headers, the URL that it was posted to, and the live auth tokens.
Out: nothing if the holder of one of the tokens sent this; else `SignatureInvalid`, whatever the input is.

Twilio signs the URL as it was told it, with its query, followed by the name and value of each field of the form in the
order of the names, without anything between them: HMAC-SHA1 with the account's auth token. Of a field that is given
several times each value counts once, in order. A body that is no form is not signed itself: the URL's query has its
SHA-256 as `bodySHA256`.

The URL is where this goes wrong, since proxies change it, and Twilio writes ports now and not then. So these are tried,
each with the path and the raw query as they came:

    the scheme as given, then the other one (a proxy that ends TLS makes http of https)
    x the port as given, none, and the scheme's own (443 or 80)

Somebody without a token gains nothing by that: path, query and body are signed in each of them. All that is taken
beside the URL itself is what Twilio signed for the same host, path and query by another scheme or port. The host is
never varied: a post that was signed for a staging system is not taken for one of ours. A user and a password before
the host are left out, as Twilio leaves them out.

A fragment (Twilio's connection overrides, `#rc=3`) never reaches a server, so it is in none of these URLs.

Where a webhook rule matches the URL, Twilio signs with the rule's shared key and HMAC-SHA256 instead: only the hash and
the key change. Which of the two it was, the length of the signature says (28 or 44 characters), so that it can be told
from what is kept, too. The header that names the rule is not needed.

Twilio's way has a weakness that we can't mend: nothing stands between names and values, so whoever holds a signed post
can move the borders between them. Twilio posts to nobody but us, and over TLS.

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

from gateway.intake.headers import first_said
from schemas.errors import ConfigError, SignatureInvalid
from schemas.form_values import form_pairs

__all__ = ["SIGNATURE_HEADER", "check_headers", "load_auth_tokens", "verify"]

SIGNATURE_HEADER: Final = "X-Twilio-Signature"
SETTING: Final = "SENDLEDGER_TWILIO_AUTH_TOKENS"
MAX_FIELDS: Final = 1_000
"""Twilio posts some dozens."""

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

    Names of headers have no case. Several tokens are live while one replaces another, and where subaccounts post to
    us: each signs with a token of its own.
    """
    claim = _claimed(headers, tokens, shared_keys)
    said = [_said_by_form(body)]
    if _hash_is_in(url, body):
        said.append(b"")  # then the URL is signed alone, and the body by its hash in it
    signed = (signed_url + fields for fields in said for signed_url in _variants(url))
    if not any(_signed_by(key, text, claim) for text in signed for key in claim.keys):
        raise SignatureInvalid("Twilio's signature does not match the post", _WHERE, _MEND)


def check_headers(headers: Mapping[str, str], tokens: Sequence[bytes], shared_keys: Sequence[bytes] = ()) -> None:
    """Raise SignatureInvalid for headers that no body can make right: a body that belongs to them need not be read."""
    _claimed(headers, tokens, shared_keys)


def load_auth_tokens(text: str) -> tuple[bytes, ...]:
    """Return the tokens, or shared keys, of a setting, which has commas between them.

    Raises ConfigError, which names the token by its place and never shows it.
    """
    parts = [part for part in (part.strip() for part in text.split(",")) if part]
    return tuple(_load(part, number) for number, part in enumerate(parts, start=1))


def _load(text: str, number: int) -> bytes:
    if _SID.fullmatch(text):
        raise ConfigError(f"token {number} is a SID, the id of an account or a key", SETTING, _MEND_SETTING)
    if not text.isprintable() or " " in text:
        raise ConfigError(f"token {number} has blanks or unprintable characters in it", SETTING, _MEND_SETTING)
    return text.encode()


class _Claim(NamedTuple):
    """A signature, and by what it may have been made."""

    signature: bytes
    algorithm: str
    keys: Sequence[bytes]


def _claimed(headers: Mapping[str, str], tokens: Sequence[bytes], shared_keys: Sequence[bytes]) -> _Claim:
    """What the headers claim. Raises SignatureInvalid unless they can be right."""
    if not tokens and not shared_keys:
        raise SignatureInvalid("no auth token is configured for Twilio", SETTING, _MEND)
    signature = first_said(headers, SIGNATURE_HEADER)
    if not signature:
        raise SignatureInvalid("Twilio's signature header is missing", _WHERE, "see who else posts to this address")
    if tokens and _SHA1.fullmatch(signature):
        return _Claim(signature.encode("ascii"), "sha1", tokens)
    if shared_keys and _SHA256.fullmatch(signature):
        return _Claim(signature.encode("ascii"), "sha256", shared_keys)
    raise SignatureInvalid("Twilio's signature is none that a key of ours can have made", _WHERE, _MEND)


def _said_by_form(body: bytes) -> bytes:
    """Return what a form says, as Twilio signs it."""
    if body.count(b"&") > MAX_FIELDS:
        # Whoever posts this has no token, and would keep us busy with sorting.
        raise SignatureInvalid(f"a form of more than {MAX_FIELDS} fields is not Twilio's", "the body", _MEND)
    pairs = set(form_pairs(body.decode("utf-8", "replace")))
    return "".join(name + value for name, value in sorted(pairs)).encode()


def _hash_is_in(url: str, body: bytes) -> bool:
    """Return whether the query of `url` has the SHA-256 of `body`."""
    said = [value for name, value in form_pairs(url.partition("?")[2]) if name == _BODY_HASH]
    digest = hashlib.sha256(body).hexdigest().encode()
    return any(hmac.compare_digest(value.lower().encode("utf-8", "replace"), digest) for value in said)


def _variants(url: str) -> list[bytes]:
    """Return the URLs that Twilio may have signed when it called `url`: each once, the likeliest first."""
    match = _URL.fullmatch(url)
    if match is None:
        return [url.encode("utf-8", "replace")]
    scheme, host, port, rest = match.groups(default="")
    other = "http" if scheme == "https" else "https"
    urls = [f"{s}://{host}{p}{rest}" for s in (scheme, other) for p in (port, "", _PORTS[s])]
    return [text.encode("utf-8", "replace") for text in dict.fromkeys(urls)]


def _signed_by(key: bytes, text: bytes, claim: _Claim) -> bool:
    return hmac.compare_digest(b64encode(hmac.digest(key, text, claim.algorithm)), claim.signature)
