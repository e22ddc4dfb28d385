"""The signature of a stored webhook: checked again by the code of the route, with the keys that are in force now."""

import hmac
from base64 import b64encode
from typing import Any

import pytest

from application.signatures.keys import load_keys
from application.signatures.stored import SignatureCheck, check_stored
from schemas.settings import SignatureSettings, read
from schemas.topics import WEBHOOKS
from simulator.signing import new_key_pair, sign_sendgrid, sign_twilio

PRIVATE, PUBLIC = new_key_pair()
_, OTHER_PUBLIC = new_key_pair()
TOKEN, OTHER_TOKEN = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
URL = "https://hooks.example.com/webhooks/twilio?sl_account=acme"
FORM = b"MessageSid=SM1&MessageStatus=delivered"
SIGNED_BY_TWILIO = f"{URL}MessageSidSM1MessageStatusdelivered".encode()
SHARED_SIGNATURE = b64encode(hmac.digest(TOKEN.encode(), SIGNED_BY_TWILIO, "sha256")).decode()

SENDGRID = (
    *("sendgrid", b'[{"event":"open"}]\r\n'),
    {"signature": sign_sendgrid(PRIVATE, "1600112502", b'[{"event":"open"}]\r\n'), "signed_at": "1600112502"},
)
TWILIO = ("twilio", FORM, {"signature": sign_twilio(TOKEN, URL, FORM), "request_url": URL})
TWILIO_SHARED = ("twilio", FORM, {"signature": SHARED_SIGNATURE, "request_url": URL})
POSTMARK = ("postmark", b'{"RecordType":"Open"}', {"signature": ""})

Stored = tuple[str, bytes, dict[str, str]]


def check(stored: Stored, **settings: Any) -> SignatureCheck:
    return check_stored(*stored, load_keys(read(SignatureSettings, **settings)))


def changed(stored: Stored, **headers: str) -> Stored:
    provider, body, own = stored
    return provider, body, own | headers


@pytest.mark.parametrize(
    ("stored", "settings", "setting", "key"),
    [
        pytest.param(
            *(SENDGRID, {"sendgrid_public_keys": PUBLIC}, "SENDLEDGER_SENDGRID_PUBLIC_KEYS", 1), id="sendgrid"
        ),
        pytest.param(
            *(SENDGRID, {"sendgrid_public_keys": f"{OTHER_PUBLIC},{PUBLIC}"}, "SENDLEDGER_SENDGRID_PUBLIC_KEYS", 2),
            id="sendgrid, during a rotation",
        ),
        pytest.param(*(TWILIO, {"twilio_auth_tokens": TOKEN}, "SENDLEDGER_TWILIO_AUTH_TOKENS", 1), id="twilio"),
        pytest.param(
            *(TWILIO, {"twilio_auth_tokens": f"{OTHER_TOKEN},{TOKEN}"}, "SENDLEDGER_TWILIO_AUTH_TOKENS", 2),
            id="twilio, during a rotation",
        ),
        pytest.param(
            TWILIO_SHARED,
            {"twilio_auth_tokens": TOKEN, "twilio_shared_keys": f"{OTHER_TOKEN},{TOKEN}"},
            "SENDLEDGER_TWILIO_SHARED_KEYS",
            2,
            id="twilio, a webhook rule",
        ),
    ],
)
def test_a_key_in_force_verifies_it(stored: Stored, settings: dict[str, str], setting: str, key: int) -> None:
    found = check(stored, **settings)
    assert (found.result, found.setting, found.key) == ("valid", setting, key)


ALL_KEYS = {"sendgrid_public_keys": PUBLIC, "twilio_auth_tokens": TOKEN, "twilio_shared_keys": TOKEN}


@pytest.mark.parametrize(
    ("stored", "settings"),
    [
        pytest.param(SENDGRID, {"sendgrid_public_keys": OTHER_PUBLIC}, id="sendgrid's key was rotated"),
        pytest.param(TWILIO, {"twilio_auth_tokens": OTHER_TOKEN}, id="twilio's token was rotated"),
        pytest.param(TWILIO_SHARED, {"twilio_shared_keys": OTHER_TOKEN}, id="twilio's shared key was rotated"),
        pytest.param(TWILIO, {"twilio_shared_keys": TOKEN}, id="the token is a key of another kind now"),
        pytest.param((SENDGRID[0], SENDGRID[1].rstrip(), SENDGRID[2]), ALL_KEYS, id="sendgrid's last bytes are lost"),
        pytest.param((TWILIO[0], FORM + b"&x=1", TWILIO[2]), ALL_KEYS, id="twilio's form has one more field"),
        pytest.param(changed(SENDGRID, signed_at="1600112503"), ALL_KEYS, id="another time"),
        pytest.param(changed(SENDGRID, signature="\x1b[31m"), ALL_KEYS, id="a signature that is none"),
        pytest.param(changed(TWILIO, request_url=URL.replace("acme", "globex")), ALL_KEYS, id="another URL"),
    ],
)
def test_no_key_matches_what_was_changed_or_signed_by_a_key_that_is_gone(
    stored: Stored, settings: dict[str, str]
) -> None:
    found = check(stored, **settings)
    assert (found.result, found.setting, found.key) == ("no_key_matches", "", None)


@pytest.mark.parametrize(
    ("stored", "settings", "because"),
    [
        pytest.param(POSTMARK, ALL_KEYS, "does not sign", id="postmark"),
        pytest.param(changed(SENDGRID, signature=""), ALL_KEYS, "No signature is stored", id="unsigned webhooks"),
        pytest.param(SENDGRID, {}, "SENDLEDGER_SENDGRID_PUBLIC_KEYS", id="no key of sendgrid"),
        pytest.param(TWILIO, {}, "SENDLEDGER_TWILIO_AUTH_TOKENS or SENDLEDGER_TWILIO_SHARED_KEYS", id="none of twilio"),
        pytest.param(
            ("sendgrid", b'{"event":"open"}', SENDGRID[2] | {"dlq.redriven_from": "3:17"}),
            *(ALL_KEYS, "dead letter 3:17"),
            id="one element, sent back",
        ),
    ],
)
def test_what_can_not_be_checked_says_why(stored: Stored, settings: dict[str, str], because: str) -> None:
    found = check(stored, **settings)
    assert (found.result, found.key) == ("not_checkable", None)
    assert because in found.because


@pytest.mark.parametrize("provider", WEBHOOKS)
def test_every_provider_has_an_answer(provider: str) -> None:
    assert check((provider, b"{}", {"signature": "x"})).result == "not_checkable"


def test_a_whole_record_that_was_sent_back_is_still_verified() -> None:
    assert check(changed(SENDGRID, **{"dlq.redriven_from": "3:17"}), **ALL_KEYS).result == "valid"
