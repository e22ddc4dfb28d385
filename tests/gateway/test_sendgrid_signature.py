"""SendGrid's signature: the vendor's published vectors are accepted; anything else is SignatureInvalid."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from application.signatures.sendgrid import SIGNATURE_HEADER, TIMESTAMP_HEADER, load_public_keys, verify
from schemas.errors import ConfigError, SignatureInvalid
from simulator.signing import new_key_pair, sign_sendgrid

# The vendor's vector: github.com/sendgrid/sendgrid-python, test/unit/test_eventwebhook.py, 1dcc378b (2026-11-24);
# the same is in its libraries for Ruby, PHP, Java and Node.
VENDOR_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eN"
    "Ec6wEA3F+g=="
)
VENDOR_SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
VENDOR_TIMESTAMP = "1600112502"
VENDOR_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
# The older vector: github.com/sendgrid/sendgrid-nodejs, packages/eventwebhook/src/eventwebhook.spec.js at 31bf6a02.
OLD_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1F"
    "wCM/QmGUhA=="
)
OLD_SIGNATURE = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0="
OLD_TIMESTAMP = "1588788367"
OLD_BODY = b'{"category":"example_payload","event":"test_event","message_id":"message_id"}'
# From both: a valid key, and a valid signature, that belong to nothing here.
OTHER_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R"
    "1NGe1OPzpA=="
)
OTHER_SIGNATURE = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0="


def headers_of(signature: str = VENDOR_SIGNATURE, timestamp: str = VENDOR_TIMESTAMP) -> dict[str, str]:
    return {SIGNATURE_HEADER: signature, TIMESTAMP_HEADER: timestamp}


def refused(body: bytes, headers: Mapping[str, str], keys: str = VENDOR_KEY) -> SignatureInvalid:
    with pytest.raises(SignatureInvalid) as caught:
        verify(body, headers, load_public_keys(keys))
    return caught.value


@pytest.mark.parametrize(
    ("key", "signature", "timestamp", "body"),
    [
        pytest.param(VENDOR_KEY, VENDOR_SIGNATURE, VENDOR_TIMESTAMP, VENDOR_BODY, id="sendgrid-python"),
        pytest.param(OLD_KEY, OLD_SIGNATURE, OLD_TIMESTAMP, OLD_BODY, id="sendgrid-nodejs, older"),
    ],
)
def test_the_vendors_vector_is_accepted(key: str, signature: str, timestamp: str, body: bytes) -> None:
    verify(body, headers_of(signature, timestamp), load_public_keys(key))


@pytest.mark.parametrize(
    ("body", "headers", "keys"),
    [
        pytest.param(VENDOR_BODY, headers_of(), OTHER_KEY, id="another key"),
        pytest.param(b"payload", headers_of(), VENDOR_KEY, id="another body"),
        pytest.param(VENDOR_BODY, headers_of(signature=OTHER_SIGNATURE), VENDOR_KEY, id="another signature"),
        pytest.param(VENDOR_BODY, headers_of(timestamp="1600112503"), VENDOR_KEY, id="another timestamp"),
        pytest.param(VENDOR_BODY, headers_of(timestamp="timestamp"), VENDOR_KEY, id="a timestamp that is no number"),
        pytest.param(VENDOR_BODY.rstrip(), headers_of(), VENDOR_KEY, id="trap 12: without the trailing CR LF"),
        pytest.param(VENDOR_BODY.replace(b"\r\n", b"\n"), headers_of(), VENDOR_KEY, id="trap 12: LF for CR LF"),
        pytest.param(
            b"\xef\xbb\xbf" + VENDOR_BODY, headers_of(), VENDOR_KEY, id="trap 12: a byte order mark before it"
        ),
        pytest.param(b"", headers_of(), VENDOR_KEY, id="an empty body"),
        pytest.param(VENDOR_BODY, {}, VENDOR_KEY, id="no headers"),
        pytest.param(VENDOR_BODY, {SIGNATURE_HEADER: VENDOR_SIGNATURE}, VENDOR_KEY, id="no timestamp"),
        pytest.param(VENDOR_BODY, {TIMESTAMP_HEADER: VENDOR_TIMESTAMP}, VENDOR_KEY, id="no signature"),
        pytest.param(VENDOR_BODY, headers_of(signature=" "), VENDOR_KEY, id="a blank signature"),
        pytest.param(VENDOR_BODY, headers_of(signature="MEUC*"), VENDOR_KEY, id="no base64"),
        pytest.param(VENDOR_BODY, headers_of(signature="grün"), VENDOR_KEY, id="no ASCII"),
        pytest.param(VENDOR_BODY, headers_of(signature="AAAA"), VENDOR_KEY, id="base64 of no DER"),
        pytest.param(VENDOR_BODY, headers_of(), "", id="no key at all"),
    ],
)
def test_anything_else_is_refused(body: bytes, headers: Mapping[str, str], keys: str) -> None:
    refused(body, headers, keys)


def test_the_boundary_between_timestamp_and_body_cannot_be_moved() -> None:
    refused(VENDOR_BODY[1:], headers_of(timestamp=VENDOR_TIMESTAMP + "["))


@pytest.mark.parametrize("respell", [str.lower, str.upper, str.title], ids=["lower", "upper", "title"])
def test_header_names_are_case_insensitive(respell: Callable[[str], str]) -> None:
    verify(VENDOR_BODY, {respell(k): v for k, v in headers_of().items()}, load_public_keys(VENDOR_KEY))


def test_any_of_several_valid_keys_is_accepted() -> None:
    verify(VENDOR_BODY, headers_of(), load_public_keys(f"{OTHER_KEY}, {VENDOR_KEY},"))


def test_an_old_signature_is_accepted_because_retries_come_for_a_day() -> None:
    private, public = new_key_pair()
    verify(b"[]", headers_of(sign_sendgrid(private, "1", b"[]"), "1"), load_public_keys(public))


def test_a_key_on_another_curve_signs_nothing() -> None:
    with pytest.raises(SignatureInvalid):
        verify(VENDOR_BODY, headers_of(), [ec.generate_private_key(ec.SECP384R1()).public_key()])


def test_an_error_shows_neither_signature_nor_body() -> None:
    shown = str(refused(b"secret", headers_of(signature=OTHER_SIGNATURE)))
    assert "secret" not in shown
    assert OTHER_SIGNATURE not in shown


@given(body=st.binary(max_size=200), timestamp=st.integers(0, 10**13).map(str))
@settings(max_examples=30)
def test_what_the_simulator_signs_is_accepted(body: bytes, timestamp: str) -> None:
    private, public = new_key_pair()
    verify(body, headers_of(sign_sendgrid(private, timestamp, body), timestamp), load_public_keys(public))


DER_LIKE = st.binary(max_size=80).map(lambda raw: b64encode(raw).decode())


@given(body=st.binary(max_size=50), signature=st.text(max_size=50) | DER_LIKE, timestamp=st.text(max_size=15))
def test_random_input_is_refused_and_raises_nothing_else(body: bytes, signature: str, timestamp: str) -> None:
    refused(body, headers_of(signature, timestamp))
    refused(body, headers_of(signature))
    refused(body, headers_of(timestamp=timestamp))


@given(position=st.integers(0, len(VENDOR_BODY) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_of_the_body_is_noticed(position: int, bit: int) -> None:
    body = bytearray(VENDOR_BODY)
    body[position] ^= 1 << bit
    refused(bytes(body), headers_of())


def test_a_key_may_be_given_as_pem() -> None:
    lines = [VENDOR_KEY[at : at + 64] for at in range(0, len(VENDOR_KEY), 64)]
    pem = "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
    verify(VENDOR_BODY, headers_of(), load_public_keys(pem))


def test_an_empty_setting_has_no_keys() -> None:
    assert load_public_keys(" , ") == ()


def spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    return b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("not-a-key", id="no base64"),
        pytest.param("AAAA", id="base64 of something else"),
        pytest.param(VENDOR_KEY[:-8], id="cut off"),
        pytest.param(b64encode(b64decode(VENDOR_KEY)[:-2] + b"zz").decode(), id="a point that is not on the curve"),
        pytest.param(new_key_pair()[0], id="a private key by mistake"),
        pytest.param(spki(ec.generate_private_key(ec.SECP384R1()).public_key()), id="the curve P-384"),
        pytest.param(spki(rsa.generate_private_key(65537, 2048).public_key()), id="RSA"),
    ],
)
def test_an_invalid_key_is_a_config_error_that_gives_its_position_and_not_the_key(key: str) -> None:
    with pytest.raises(ConfigError, match="key 2 ") as caught:
        load_public_keys(f"{VENDOR_KEY},{key}")
    assert key not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=100) | DER_LIKE)
def test_a_setting_is_keys_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        load_public_keys(text)
