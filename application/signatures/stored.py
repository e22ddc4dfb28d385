"""Checks the signature of a stored webhook again, by the code that checked it when it arrived.

In:  the body and the headers of a record of `webhooks.<provider>`, and the keys in force now.
Out: a `SignatureCheck`. Pure.

That no key matches has two causes which can't be told apart: the key was rotated since, or the bytes were changed.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, Literal, NamedTuple

from application.signatures import sendgrid, twilio
from application.signatures.keys import SigningKeys
from processors.dead_letters.browsing import REDRIVEN_FROM
from schemas.errors import SignatureInvalid

__all__ = ["SignatureCheck", "check_stored"]

_UNSIGNED: Final = {
    "postmark": "Postmark does not sign its webhooks: it sends a password, which is never stored",
}
_SETTINGS: Final = {
    "sendgrid": (sendgrid.SETTING,),
    "twilio": (twilio.SETTING, twilio.SHARED_SETTING),
}


class SignatureCheck(NamedTuple):
    """The result of a check. `key` is the number of the key that matches, from 1, in the list of `setting`."""

    result: Literal["valid", "no_key_matches", "not_checkable"]
    because: str
    setting: str = ""
    key: int | None = None


class _Attempt(NamedTuple):
    """A check with one key alone, which raises SignatureInvalid."""

    setting: str
    key: int
    verify: Callable[[], None]


def check_stored(provider: str, body: bytes, headers: Mapping[str, str], keys: SigningKeys) -> SignatureCheck:
    """Return whether one of `keys` signed the record. `headers` are the record's, as text."""
    if provider in _UNSIGNED:
        return SignatureCheck("not_checkable", _UNSIGNED[provider])
    if not headers.get("signature"):
        return SignatureCheck(
            "not_checkable", "No signature is stored: the gateway accepted unsigned webhooks when it arrived"
        )
    attempts = list(_attempts(provider, body, headers, keys))
    if not attempts:
        return SignatureCheck("not_checkable", f"No key is configured: {' or '.join(_SETTINGS[provider])}")
    for attempt in attempts:
        if _succeeds(attempt):
            because = f"Key {attempt.key} of {attempt.setting} verifies these bytes"
            return SignatureCheck("valid", because, attempt.setting, attempt.key)
    if letter := headers.get(REDRIVEN_FROM):
        because = f"It was sent back from dead letter {letter}, maybe as one element of the body that was signed"
        return SignatureCheck("not_checkable", because)
    return SignatureCheck(
        "no_key_matches", "No key in force verifies these bytes: the key was rotated since, or the bytes were changed"
    )


def _attempts(provider: str, body: bytes, headers: Mapping[str, str], keys: SigningKeys) -> Iterator[_Attempt]:
    """One attempt for each key, since a check with several does not say which one matched."""
    signature = headers["signature"]
    if provider == "sendgrid":
        signed = {sendgrid.SIGNATURE_HEADER: signature, sendgrid.TIMESTAMP_HEADER: headers.get("signed_at", "")}
        for n, public in enumerate(keys.sendgrid, start=1):
            yield _Attempt(sendgrid.SETTING, n, partial(sendgrid.verify, body, signed, [public]))
    if provider == "twilio":
        signed, url = {twilio.SIGNATURE_HEADER: signature}, headers.get("request_url", "")
        for n, token in enumerate(keys.twilio_tokens, start=1):
            yield _Attempt(twilio.SETTING, n, partial(twilio.verify, body, signed, url, [token]))
        for n, shared in enumerate(keys.twilio_shared, start=1):
            yield _Attempt(twilio.SHARED_SETTING, n, partial(twilio.verify, body, signed, url, [], [shared]))


def _succeeds(attempt: _Attempt) -> bool:
    try:
        attempt.verify()
    except SignatureInvalid:
        return False
    return True
