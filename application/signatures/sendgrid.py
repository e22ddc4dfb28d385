"""Verifies the signature of SendGrid's Event Webhook.

In:  the raw bytes of a POST, its headers, and the valid public keys.
Out: nothing if one of the keys signed these bytes; else `SignatureInvalid`, for any input.

SendGrid signs the timestamp header's bytes followed by the body's, with ECDSA on P-256 over SHA-256. The body must be
the raw bytes: the `\\r\\n` after its JSON is signed, too.

The age of the timestamp is not checked. SendGrid retries for 24 hours, so a narrow window would lose events after an
outage; and a replayed body does no harm, because its events keep their ids. The headers are stored with the body, so
a stored webhook can be verified later by the same rule.

Source: github.com/sendgrid/sendgrid-python, sendgrid/helpers/eventwebhook (read 2026-11-24).
"""

import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from application.signatures.headers import first_value
from schemas.errors import ConfigError, SignatureInvalid

__all__ = ["SIGNATURE_HEADER", "TIMESTAMP_HEADER", "PublicKey", "check_headers", "load_public_keys", "verify"]

SIGNATURE_HEADER: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
SETTING: Final = "SENDLEDGER_SENDGRID_PUBLIC_KEYS"

PublicKey = ec.EllipticCurvePublicKey

_WHERE_SIGNATURE: Final = f"header {SIGNATURE_HEADER}"
_MEND: Final = f"compare {SETTING} with SendGrid's Mail Settings > Event Webhook"
_MEND_UNSIGNED: Final = "switch the Signed Event Webhook on in SendGrid's Mail Settings > Event Webhook"
_PREHASHED: Final = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
_PEM_FRAME_OR_BLANK: Final = re.compile(r"-----[A-Z ]+-----|\s+")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}")
_MAX_SIGNATURE_CHARACTERS: Final = 96
"""72 bytes in base64: a DER sequence of two integers of up to 33 bytes."""
_DER_SEQUENCE: Final = b"\x30"


def verify(body: bytes, headers: Mapping[str, str], keys: Sequence[PublicKey]) -> None:
    """Return if one of `keys` signed `body`; raise SignatureInvalid if none did. Header names are
    case-insensitive.

    Several keys are valid during a rotation, or with several webhooks at SendGrid.
    """
    signature, timestamp = _claimed(headers, keys)
    digest = hashlib.sha256(timestamp.encode("ascii"))
    digest.update(body)
    if not any(_signed_by(key, signature, digest.digest()) for key in keys):
        raise SignatureInvalid("SendGrid's signature does not match the body", _WHERE_SIGNATURE, _MEND)


def check_headers(headers: Mapping[str, str], keys: Sequence[PublicKey]) -> None:
    """Raise SignatureInvalid for headers that are invalid with any body: then the body need not be read."""
    _claimed(headers, keys)


def load_public_keys(text: str) -> tuple[PublicKey, ...]:
    """Return the keys of a setting: base64 of SubjectPublicKeyInfo (DER), or PEM, separated by commas.

    Raises ConfigError, which gives the position of the key and never shows it.
    """
    parts = [part for part in (_PEM_FRAME_OR_BLANK.sub("", part) for part in text.split(",")) if part]
    return tuple(_load(part, number) for number, part in enumerate(parts, start=1))


def _load(text: str, number: int) -> PublicKey:
    try:
        key = load_der_public_key(b64decode(text, validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # From None: the cause may quote what was pasted, and that may be a private key.
        raise ConfigError(
            f"key {number} is not the base64 of a public key (SubjectPublicKeyInfo)", SETTING, _MEND
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"key {number} is not on the curve P-256, which SendGrid signs with", SETTING, _MEND)
    return key


def _claimed(headers: Mapping[str, str], keys: Sequence[PublicKey]) -> tuple[bytes, str]:
    """The signature and the timestamp. Raises SignatureInvalid if their format is invalid."""
    if not keys:
        raise SignatureInvalid("no public key is configured for SendGrid", SETTING, _MEND)
    signature = _signature(_header(headers, SIGNATURE_HEADER))
    timestamp = _header(headers, TIMESTAMP_HEADER)
    if not _DECIMAL.fullmatch(timestamp):
        # Otherwise the start of a signed body could be passed off as the end of its timestamp.
        raise SignatureInvalid("SendGrid's timestamp is not a decimal number", f"header {TIMESTAMP_HEADER}", _MEND)
    return signature, timestamp


def _header(headers: Mapping[str, str], name: str) -> str:
    if value := first_value(headers, name):
        return value
    raise SignatureInvalid("SendGrid's signature headers are missing", f"header {name}", _MEND_UNSIGNED)


def _signature(text: str) -> bytes:
    try:
        signature = b64decode(text, validate=True) if len(text) <= _MAX_SIGNATURE_CHARACTERS else b""
    except ValueError:
        raise SignatureInvalid("SendGrid's signature is not base64", _WHERE_SIGNATURE, _MEND) from None
    if not signature.startswith(_DER_SEQUENCE):
        raise SignatureInvalid("SendGrid's signature is not an ECDSA signature on P-256", _WHERE_SIGNATURE, _MEND)
    return signature


def _signed_by(key: PublicKey, signature: bytes, digest: bytes) -> bool:
    try:
        key.verify(signature, digest, _PREHASHED)
    except InvalidSignature:
        return False
    return True
