"""Which texts are valid addresses, and how senders are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.suppressions.addressing import is_address, sender_key
from schemas.decoding.addresses import MAX_ADDRESS_CHARACTERS, address_key


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.com",
        " Ann@Example.COM ",
        "ann.lee+news@mail.example.co.uk",
        "o'neil@example.com",
        "jösé@bücher.example",
        "用户@例え.テスト",
        '"ann lee"@example.com',
        "a@x.c",
        "a" * 64 + "@example.com",
        "a@1.example",
    ],
)
def test_valid_email_addresses(text: str) -> None:
    assert is_address(address_key(text, "email"), "email")


@pytest.mark.parametrize(
    "text",
    [
        *("", "ann", "@example.com", "ann@", "ann@example", "ann@@example.com", "ann@b@example.com"),
        *("ann lee@example.com", ".ann@example.com", "ann.@example.com", "a..b@example.com", "Ann <ann@example.com>"),
        *("a,b@example.com", "ann@example.com,bob@example.com", "ann@exam ple.com", "ann@-example.com"),
        *("ann@example-.com", "ann@.example.com", "ann@example.com..", "ann@example..com", "ann@ex_ample.com"),
        *("ann@10.0.0.1", "ann@[10.0.0.1]", "ann@\u2603.\u2603\u200d", "ann\n@example.com", "ann\x00@example.com"),
        *("a" * 65 + "@example.com", "ann@" + "a" * 64 + ".com", "ann@" + "a." * 126 + "com", "mailto:ann@example.com"),
        *("+14155550123", '""@example.com', '"a"b@example.com'),
    ],
)
def test_invalid_email_addresses(text: str) -> None:
    assert not is_address(address_key(text, "email"), "email")


@pytest.mark.parametrize(
    "text", ["+14155550123", "+1 (415) 555-0123", "whatsapp:+14155550123", "WhatsApp:+49 171 5", "+123456789012345"]
)
def test_valid_phone_numbers(text: str) -> None:
    assert is_address(address_key(text, "sms"), "sms")


@pytest.mark.parametrize(
    "text",
    ["", "+", "+1", "14155550123", "0014155550123", "+0415", "+1234567890123456", "+1415a", "SalonAnna", "+١٢٣٤"]
    + ["messenger:+14155550123", "whatsapp:14155550123", "ann@example.com", "+1415+1415"],
)
def test_invalid_phone_numbers(text: str) -> None:
    assert not is_address(address_key(text, "sms"), "sms")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", ""),
        (" +1 (500) 555-0006", "+15005550006"),
        ("WhatsApp:+1 500", "whatsapp:+1500"),
        ("SalonAnna", "salonanna"),
        (" MG9752274E9e519418a7406176694466fa ", "mg9752274e9e519418a7406176694466fa"),
        ("MG1", "mg1"),
    ],
)
def test_sender_key(text: str, key: str) -> None:
    assert sender_key(text) == key


@given(st.text(max_size=300), st.sampled_from(["email", "sms"]))
def test_any_text_can_be_checked_and_keys_are_idempotent(text: str, channel: str) -> None:
    key = address_key(text, channel)
    if is_address(key, channel):
        assert ("@" in key) == (channel == "email")
        assert address_key(key, channel) == key
    assert sender_key(sender_key(text)) == sender_key(text)


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_text_that_is_too_long_is_no_address(channel: str) -> None:
    assert not is_address(address_key("+1" + "0" * MAX_ADDRESS_CHARACTERS, channel), channel)
    assert not is_address(address_key("a" * MAX_ADDRESS_CHARACTERS + "@example.com", channel), channel)
