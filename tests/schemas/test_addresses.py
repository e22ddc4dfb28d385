"""The key of an address: what meets under one key, what does not, and that a key is its own key."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.addresses import address_key, domain_of, email_key, phone_key

LOCAL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABEL = st.text(st.sampled_from("abcXYZ019-äßöüéğıİσςΣıñ中文日本الБб"), min_size=1, max_size=8)
DOMAIN = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
EMAIL = st.builds("{}@{}".format, LOCAL, DOMAIN)
ANY_TEXT = st.text(max_size=30) | EMAIL


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("foo@x.com", "foo@x.com", id="already a key"),
        pytest.param("Foo@X.com", "foo@x.com", id="capitals"),
        pytest.param("  foo@x.com\r\n", "foo@x.com", id="blanks around it"),
        pytest.param("foo+tag@x.com", "foo+tag@x.com", id="a plus-address is an address of its own"),
        pytest.param("f.oo@gmail.com", "f.oo@gmail.com", id="dots stay, whatever Gmail makes of them"),
        pytest.param("anna@bücher.example", "anna@xn--bcher-kva.example", id="an international domain"),
        pytest.param("anna@BÜCHER.example", "anna@xn--bcher-kva.example", id="an international domain in capitals"),
        pytest.param("anna@xn--bcher-kva.example", "anna@xn--bcher-kva.example", id="the same in IDNA form"),
        pytest.param("JOSE\u0301@x.com", "jos\u00e9@x.com", id="a composed letter and its parts are one"),
        pytest.param("stra\u00dfe@x.com", "strasse@x.com", id="case-folded, not only lowered"),
        pytest.param("a@b@x.com", "a@b@x.com", id="two signs: the last one parts"),
        pytest.param("no address", "no address", id="text that is no address has a key, too"),
        pytest.param("anna@\u2603.\u2603\u200d", "anna@\u2603.\u2603\u200d", id="a domain that IDNA refuses stays"),
        pytest.param("", "", id="blank"),
    ],
)
def test_email_key(text: str, key: str) -> None:
    assert email_key(text) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("+14155550100", "+14155550100", id="already E.164"),
        pytest.param("+1 (415) 555-0100", "+14155550100", id="written for people"),
        pytest.param("+1\u00a0415.555.0100", "+14155550100", id="dots, and a blank that does not break"),
        pytest.param("whatsapp:+14155550100", "whatsapp:+14155550100", id="a channel's prefix is kept"),
        pytest.param("WhatsApp:+1 415 555 0100", "whatsapp:+14155550100", id="the prefix in lower case"),
        pytest.param("SalonAnna", "salonanna", id="a sender of letters"),
        pytest.param("24-7 Taxi", "24-7 taxi", id="a sender of letters keeps its dash"),
        pytest.param("", "", id="blank"),
    ],
)
def test_phone_key(text: str, key: str) -> None:
    assert phone_key(text) == key


def test_whatsapp_and_sms_of_one_number_are_two_addresses() -> None:
    assert phone_key("whatsapp:+14155550100") != phone_key("+14155550100")


def test_the_channel_says_which_key() -> None:
    assert address_key("+1 415", "sms") == "+1415"
    assert address_key("+1 415", "email") == "+1 415"


@given(ANY_TEXT)
@example("a@\uff20.com")
@example("a@x\u0345\u0301.com")
def test_an_email_key_is_its_own_key(text: str) -> None:
    assert email_key(email_key(text)) == email_key(text)


@given(ANY_TEXT)
@example("+1-")
@example("sms: +1")
def test_a_phone_key_is_its_own_key(text: str) -> None:
    assert phone_key(phone_key(text)) == phone_key(text)


@given(st.text(st.characters(codec="ascii"), max_size=20))
def test_case_and_blanks_around_it_never_matter_in_ascii(text: str) -> None:
    assert email_key(f" {text.upper()} ") == email_key(text.lower())
    assert phone_key(f" {text.upper()} ") == phone_key(text.lower())


@pytest.mark.parametrize(("key", "domain"), [("a@x.com", "x.com"), ("a@b@x.com", "x.com"), ("+1415", ""), ("", "")])
def test_domain_of(key: str, domain: str) -> None:
    assert domain_of(key) == domain
