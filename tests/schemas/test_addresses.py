"""Address keys: which spellings have the same key, which do not, and that keys are idempotent."""

import unicodedata
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.decoding.addresses import MAX_ADDRESS_CHARACTERS, address_key, domain_of, email_key, phone_key
from schemas.events import SourcePosition
from schemas.providers import ADAPTERS

LOCAL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABEL = st.text(st.sampled_from("abcXYZ019-äßẞöüéğıİσςΣıñ中文日本الБб.。\u0301\u200d"), min_size=1, max_size=8)
DOMAIN = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
EMAIL = st.builds("{}@{}".format, LOCAL, DOMAIN)
PHONE_PART = st.sampled_from(["sms:", "RCS:", "tel", ":", " ", "whatsapp:", "+", "1", "-", "x"])
PHONE = st.lists(PHONE_PART, max_size=8).map("".join)
ANY_TEXT = st.text(max_size=30) | EMAIL | PHONE


@given(st.text(st.sampled_from("aA.@ \t\x1c\x7f-b"), max_size=9))
def test_ascii_text_gets_the_same_key_from_the_fast_path(text: str) -> None:
    assert email_key(text) == email_key("\u00e9" + text.strip())[1:]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("foo@x.com", "foo@x.com", id="already a key"),
        pytest.param("Foo@X.com", "foo@x.com", id="capitals"),
        pytest.param("  foo@x.com\r\n", "foo@x.com", id="surrounding whitespace"),
        pytest.param("foo+tag@x.com", "foo+tag@x.com", id="a plus-address is an address of its own"),
        pytest.param("f.oo@gmail.com", "f.oo@gmail.com", id="dots are kept, unlike at Gmail"),
        pytest.param("anna@bücher.example", "anna@xn--bcher-kva.example", id="an international domain"),
        pytest.param("anna@BÜCHER.example", "anna@xn--bcher-kva.example", id="an international domain in capitals"),
        pytest.param("anna@xn--bcher-kva.example", "anna@xn--bcher-kva.example", id="the same in IDNA form"),
        pytest.param("JOSE\u0301@x.com", "jos\u00e9@x.com", id="composed and decomposed letters are equal"),
        pytest.param("stra\u00dfe@x.com", "strasse@x.com", id="case-folded, not only lowered"),
        pytest.param("a@b@x.com", "a@b@x.com", id="two @: the last one separates"),
        pytest.param("no address", "no address", id="text that is not an address has a key"),
        pytest.param("anna@\u2603.\u2603\u200d", "anna@\u2603.\u2603\u200d", id="a domain that IDNA rejects is kept"),
        pytest.param("", "", id="blank"),
        pytest.param("anna@maßanfertigung.de", "anna@xn--maanfertigung-cdb.de", id="ß stays ß in a domain"),
        pytest.param("anna@MAẞANFERTIGUNG.DE", "anna@xn--maanfertigung-cdb.de", id="the capital of ß is ß"),
        pytest.param("anna@massanfertigung.de", "anna@massanfertigung.de", id="not the domain with ss"),
        pytest.param("Maß@maß.de", "mass@xn--ma-hia.de", id="a local part is folded, a domain is not"),
        pytest.param("anna@βόλος.com", "anna@xn--nxasmm1c.com", id="a final sigma is kept"),
        pytest.param("anna@βόλοσ.com", "anna@xn--nxasmq6b.com", id="it differs from another sigma"),
        pytest.param("anna@x.com.", "anna@x.com", id="the root dot"),
        pytest.param("anna@Bücher.example.", "anna@xn--bcher-kva.example", id="the root dot after IDNA"),
        pytest.param("anna@bücher。example。", "anna@xn--bcher-kva.example", id="ideographic full stops are dots"),
        pytest.param("anna@x.com..", "anna@x.com..", id="two dots are not a root dot"),
        pytest.param("anna@\u212aelvin.com", "anna@kelvin.com", id="a letter whose lower case is ASCII"),
    ],
)
def test_email_key(text: str, key: str) -> None:
    assert email_key(text) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("+14155550100", "+14155550100", id="already E.164"),
        pytest.param("+1 (415) 555-0100", "+14155550100", id="with punctuation"),
        pytest.param("+1\u00a0415.555.0100", "+14155550100", id="dots and a non-breaking space"),
        pytest.param("whatsapp:+14155550100", "whatsapp:+14155550100", id="a channel's prefix is kept"),
        pytest.param("WhatsApp:+1 415 555 0100", "whatsapp:+14155550100", id="the prefix in lower case"),
        pytest.param("SalonAnna", "salonanna", id="an alphanumeric sender"),
        pytest.param("24-7 Taxi", "24-7 taxi", id="an alphanumeric sender keeps its dash"),
        pytest.param("", "", id="blank"),
        pytest.param("sms:+14155550100", "+14155550100", id="a prefix of the same number: sms"),
        pytest.param("rcs:+14155550100", "+14155550100", id="a prefix of the same number: rcs"),
        pytest.param("tel:+1-415-555-0100", "+14155550100", id="a prefix of the same number: tel"),
        pytest.param("mms:+14155550100", "+14155550100", id="a prefix of the same number: mms"),
        pytest.param(" RCS : +1 (415) 555-0100", "+14155550100", id="with spaces and capitals"),
        pytest.param("sms:tel:+14155550100", "+14155550100", id="two of them"),
        pytest.param("sms:WhatsApp:+1415", "whatsapp:+1415", id="before another identity"),
        pytest.param("Messenger:1234567", "messenger:1234567", id="another identity"),
        pytest.param("rcs:salon_anna", "salon_anna", id="an agent's name"),
        pytest.param("sms: ", "sms:", id="a prefix alone"),
        pytest.param("telephone", "telephone", id="letters that begin like a prefix"),
    ],
)
def test_phone_key(text: str, key: str) -> None:
    assert phone_key(text) == key


def test_whatsapp_and_sms_of_one_number_are_two_addresses() -> None:
    assert phone_key("whatsapp:+14155550100") != phone_key("+14155550100")


def test_the_channel_decides_which_key_function_is_used() -> None:
    assert address_key("+1 415", "sms") == "+1415"
    assert address_key("+1 415", "email") == "+1 415"


@given(ANY_TEXT)
@example("a@\uff20.com")
@example("a@x\u0345\u0301.com")
@example("@ .")
@example("é@ .")
@example("é@\u2003.")
@example("@a\u3002.")
def test_an_email_key_is_idempotent(text: str) -> None:
    assert email_key(email_key(text)) == email_key(text)


@given(ANY_TEXT)
@example("+1-")
@example("sms: +1")
def test_a_phone_key_is_idempotent(text: str) -> None:
    assert phone_key(phone_key(text)) == phone_key(text)


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_case_and_surrounding_whitespace_never_matter_in_ascii(text: str) -> None:
    assert email_key(f" {text.upper()} ") == email_key(text.lower())
    assert phone_key(f" {text.upper()} ") == phone_key(text.lower())


@pytest.mark.parametrize(("key", "domain"), [("a@x.com", "x.com"), ("a@b@x.com", "x.com"), ("+1415", ""), ("", "")])
def test_domain_of(key: str, domain: str) -> None:
    assert domain_of(key) == domain


LONG_TEXT = st.integers(MAX_ADDRESS_CHARACTERS - 5, MAX_ADDRESS_CHARACTERS + 5).flatmap(
    lambda size: st.sampled_from(["a", "\u0301", "\u0390", "\u1e9e", "\u0130", "1", "@", "."]).map(lambda c: c * size)
)


@given(LONG_TEXT, st.sampled_from(["", "@x.com", "+1", "sms:"]))
def test_a_key_is_idempotent_and_not_longer_than_an_address(long: str, around: str) -> None:
    for text in (long + around, around + long):
        for key in (email_key(text), phone_key(text)):
            assert len(key) <= MAX_ADDRESS_CHARACTERS
            assert (email_key(key), phone_key(key)) == (key, key) or len(text) <= MAX_ADDRESS_CHARACTERS
        assert email_key(email_key(text)) == email_key(text)
        assert phone_key(phone_key(text)) == phone_key(text)


@pytest.mark.parametrize("key_of", [email_key, phone_key])
def test_a_too_long_text_has_a_key_of_fixed_size_that_is_not_an_address(key_of: Callable[[str], str]) -> None:
    longest = "a" * (MAX_ADDRESS_CHARACTERS - 6) + "@x.com"
    assert key_of(longest) == longest
    key, other = key_of("a" + longest), key_of("b" + longest)
    assert key.startswith("too-long:")
    assert len(key) == len(other) == len("too-long:") + 32
    assert key != other
    assert domain_of(key) == ""


@pytest.mark.parametrize("key_of", [email_key, phone_key])
def test_a_too_long_text_is_never_normalised(key_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting combining marks takes quadratic time: 129,000 of them took 13 seconds."""
    sizes: list[int] = []
    normalize = unicodedata.normalize

    def measured(form: Literal["NFC"], text: str) -> str:
        sizes.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", measured)
    key_of("\u0301\u0316" * 100_000)
    key_of("a@" + "\u0301\u0316" * 100_000)
    assert sizes == []


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("sendgrid", '{"event":"bounce","email":"%s"}'),
        ("postmark", '{"RecordType":"Bounce","Type":"HardBounce","Email":"%s"}'),
        ("twilio", "MessageStatus=failed&To=%s"),
    ],
)
def test_an_event_with_a_too_long_address_keeps_the_text(provider: str, body: str) -> None:
    text = "x" * MAX_ADDRESS_CHARACTERS + "@example.com"
    (event,) = ADAPTERS[provider]((body % text).encode(), SourcePosition("t", 0, 0, 1_780_000_000_000_000), ()).events
    assert event.address == email_key(text)
    assert text in event.extra
