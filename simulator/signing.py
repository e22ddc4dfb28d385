"""Signatures as the providers make them, so that the gateway accepts simulated posts."""

import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

__all__ = ["Keys", "basic_auth", "new_key_pair", "sign_sendgrid", "sign_twilio"]


@dataclass(frozen=True, slots=True)
class Keys:
    """Signing keys and credentials of the providers; blank: posts of that provider are not signed."""

    sendgrid_private_key: str = field(default="", repr=False)
    """Base64 of PKCS#8 DER."""
    twilio_auth_token: str = field(default="", repr=False)
    postmark_credentials: str = field(default="", repr=False)
    """`user:password`."""


def new_key_pair() -> tuple[str, str]:
    """Return a new P-256 pair: the private key (base64 of PKCS#8 DER) and the public one (base64 of SPKI DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(private).decode(), b64encode(public).decode()


def sign_sendgrid(private_key: str, timestamp: str, body: bytes) -> str:
    """Return the value of `X-Twilio-Email-Event-Webhook-Signature` for a body that is sent at `timestamp`."""
    return b64encode(_load(private_key).sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()


def sign_twilio(auth_token: str, url: str, body: bytes) -> str:
    """Return the value of `X-Twilio-Signature` for a form that is posted to `url`."""
    fields = sorted(set(parse_qsl(body.decode(), keep_blank_values=True)))
    text = url + "".join(name + value for name, value in fields)
    return b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1")).decode()


def basic_auth(credentials: str) -> str:
    """Return the value of `Authorization` for `user:password`."""
    return f"Basic {b64encode(credentials.encode()).decode()}"


@lru_cache(maxsize=8)
def _load(private_key: str) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(b64decode(private_key), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a P-256 private key is needed")
    return key
