"""Twilio's signature: the vendor's published vectors are accepted; anything else is SignatureInvalid."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.signatures.twilio import MAX_FIELDS, SIGNATURE_HEADER, load_auth_tokens, verify
from schemas.errors import ConfigError, SignatureInvalid

# The vendor's vectors: github.com/twilio/twilio-python, tests/unit/test_request_validator.py, 306691e7 (2026-11-25).
VENDOR_TOKEN = "12345"
VENDOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VENDOR_FIELDS = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
VENDOR_FORM = urlencode(VENDOR_FIELDS).encode()
VENDOR_SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
VENDOR_REPEATS = b"Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234"
VENDOR_JSON = b'{"property": "value", "boolean": true}'
VENDOR_JSON_URL = f"{VENDOR_URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
VENDOR_JSON_SIGNATURE = "a9nBmqA0ju/hNViExpshrM61xv4="

URL = "https://hooks.example.com/webhooks/twilio?sl_account=salon-anna&sl_message=01a20cc2-7402-7473-9e3a-265e16eee03f"
TOKEN = "0123456789abcdef0123456789abcdef"
FORM = b"MessageSid=SM1&MessageStatus=delivered&To=%2B14155550123"


def sign(url: str, said: str = "MessageSidSM1MessageStatusdeliveredTo+14155550123", token: str = TOKEN) -> str:
    """A signature as Twilio makes it; `said` are the fields, as they are signed."""
    return b64encode(hmac.digest(token.encode(), (url + said).encode(), "sha1")).decode()


def check(body: bytes, signature: str | Mapping[str, str], url: str = URL, tokens: str = TOKEN) -> None:
    headers = {SIGNATURE_HEADER: signature} if isinstance(signature, str) else signature
    verify(body, headers, url, load_auth_tokens(tokens))


def refused(body: bytes, signature: str | Mapping[str, str], url: str = URL, tokens: str = TOKEN) -> SignatureInvalid:
    with pytest.raises(SignatureInvalid) as caught:
        check(body, signature, url, tokens)
    return caught.value


@pytest.mark.parametrize(
    ("url", "body", "signature"),
    [
        pytest.param(VENDOR_URL, VENDOR_FORM, VENDOR_SIGNATURE, id="a form"),
        pytest.param(VENDOR_URL, VENDOR_REPEATS, "IK+Dwps556ElfBT0I3Rgjkr1wJU=", id="fields given twice"),
        pytest.param(
            VENDOR_URL.replace(".com", ".com:1234"), VENDOR_FORM, VENDOR_SIGNATURE, id="https, called with a port"
        ),
        pytest.param(
            VENDOR_URL.replace("https", "http").replace(".com", ".com:1234"),
            VENDOR_FORM,
            "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
            id="http, signed with a port",
        ),
        pytest.param(VENDOR_URL, VENDOR_FORM, "kvajT1Ptam85bY51eRf/AJRuM3w=", id="https, signed with its own port"),
        pytest.param(
            VENDOR_URL.replace("https", "http"),
            VENDOR_FORM,
            "0ZXoZLH/DfblKGATFgpif+LLRf4=",
            id="http, signed with its own port",
        ),
        pytest.param(VENDOR_JSON_URL, VENDOR_JSON, VENDOR_JSON_SIGNATURE, id="JSON"),
    ],
)
def test_the_vendors_vector_is_accepted(url: str, body: bytes, signature: str) -> None:
    check(body, signature, url, VENDOR_TOKEN)
    refused(body, signature, url, VENDOR_TOKEN + "6")
    refused(body + b"&x=1", signature, url, VENDOR_TOKEN)


@pytest.mark.parametrize(
    ("body", "signature", "url", "tokens"),
    [
        pytest.param(FORM, sign(URL), URL, "another", id="another token"),
        pytest.param(FORM, sign(URL), URL, "", id="no token at all"),
        pytest.param(FORM, {}, URL, TOKEN, id="no header"),
        pytest.param(FORM, " ", URL, TOKEN, id="a blank signature"),
        pytest.param(FORM, "MEUC*", URL, TOKEN, id="no base64"),
        pytest.param(FORM, "grün", URL, TOKEN, id="no ASCII"),
        pytest.param(FORM, sign(URL)[:-1], URL, TOKEN, id="a signature cut off"),
        pytest.param(FORM, sign(URL).swapcase(), URL, TOKEN, id="another signature"),
        pytest.param(FORM, VENDOR_SIGNATURE, URL, TOKEN, id="a signature of something else"),
        pytest.param(FORM.replace(b"delivered", b"failed"), sign(URL), URL, TOKEN, id="another status"),
        pytest.param(FORM.replace(b"To", b"to"), sign(URL), URL, TOKEN, id="another case of a name"),
        pytest.param(FORM + b"&From=", sign(URL), URL, TOKEN, id="an empty field more"),
        pytest.param(b"", sign(URL), URL, TOKEN, id="an empty body"),
        pytest.param(FORM, sign(URL), URL.replace("anna", "bert"), TOKEN, id="another account in the URL"),
        pytest.param(FORM, sign(URL), URL + "&a=b", TOKEN, id="a longer query"),
        pytest.param(FORM, sign(URL), URL.partition("?")[0], TOKEN, id="no query"),
        pytest.param(FORM, sign(URL), URL.replace("twilio", "sendgrid"), TOKEN, id="another path"),
        pytest.param(FORM, sign(URL), URL.replace("hooks.", "staging."), TOKEN, id="another host"),
        pytest.param(FORM, sign(URL + "#rc=3"), URL, TOKEN, id="a fragment that was signed"),
    ],
)
def test_anything_else_is_refused(body: bytes, signature: str | dict[str, str], url: str, tokens: str) -> None:
    refused(body, signature, url, tokens)


@pytest.mark.parametrize("called", ["https://a.example/w?x=1", "http://a.example/w?x=1"])
@pytest.mark.parametrize(
    "signed",
    [
        "https://a.example/w?x=1",
        "https://a.example:443/w?x=1",
        "http://a.example/w?x=1",
        "http://a.example:80/w?x=1",
    ],
)
def test_a_proxy_may_change_the_scheme_and_twilio_may_write_the_port(called: str, signed: str) -> None:
    check(FORM, sign(signed), called)
    check(FORM, sign(signed), called.replace(".example", ".example:8080"))


@pytest.mark.parametrize(
    ("signed", "called"),
    [
        pytest.param("http://a.example:8080/w", "http://a.example:8080/w", id="a port of its own"),
        pytest.param("https://a.example:8080/w", "http://a.example:8080/w", id="behind the end of TLS"),
        pytest.param("https://a.example/w", "http://a.example:80/w", id="a port that the proxy added"),
        pytest.param("https://a.example/w", "https://user:pass@word@a.example/w", id="Twilio leaves a password out"),
        pytest.param("https://[2001:db8::1]/w", "http://[2001:db8::1]:8480/w", id="an address of version 6"),
        pytest.param(
            "https://A.Example/W?b=2&a=%c3%a4+%20", "https://A.Example/W?b=2&a=%c3%a4+%20", id="as it was spelled"
        ),
        pytest.param("https://a.example", "https://a.example:443", id="no path"),
        pytest.param("https://a.example?x=a:b/c@d", "http://a.example?x=a:b/c@d", id="a query that looks like a host"),
    ],
)
def test_equivalent_urls_are_accepted(signed: str, called: str) -> None:
    check(FORM, sign(signed), called)


@pytest.mark.parametrize(
    ("signed", "called"),
    [
        pytest.param("https://a.example:8443/w", "https://a.example/w", id="a port that nobody called"),
        pytest.param("https://a.example:80/w", "https://a.example/w", id="the other scheme's port"),
        pytest.param("ftp://a.example/w", "https://a.example/w", id="another scheme"),
        pytest.param("https://a.example/w?b&a", "https://a.example/w?a&b", id="another order"),
        pytest.param("https://a.example/w?a=%20", "https://a.example/w?a=+", id="another spelling"),
        pytest.param("https://a.example/W", "https://a.example/w", id="another case"),
        pytest.param("https://b.example/w", "https://b.example:x@a.example/w", id="a host that is a password"),
    ],
)
def test_different_urls_are_refused(signed: str, called: str) -> None:
    refused(FORM, sign(signed), called)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"b=2&a=1", "a1b2", id="in the order of the names"),
        pytest.param(b"b=1&B=1&a=1", "B1a1b1", id="capitals first"),
        pytest.param(b"a=2&a=1&a=2&a=", "aa1a2", id="each value once, in order"),
        pytest.param(b"a=&b&c=1", "abc1", id="empty values"),
        pytest.param(b"", "", id="no field"),
        pytest.param(b"a=x+y%2Bz%26%3D", "ax y+z&=", id="decoded"),
        pytest.param("a=%C3%A4&ä=%F0%9F%98%80".encode(), "aää\U0001f600", id="no ASCII"),
        pytest.param(b"a=%FC", "a\ufffd", id="no UTF-8"),
        pytest.param(b"Body=line%0D%0Aline&NumMedia=0", "Bodyline\r\nlineNumMedia0", id="lines"),
    ],
)
def test_which_fields_of_a_form_are_signed(body: bytes, said: str) -> None:
    check(body, sign(URL, said))


def with_hash(body: bytes, spell: Callable[[str], str] = str) -> str:
    return f"{URL}&bodySHA256={spell(hashlib.sha256(body).hexdigest())}"


@pytest.mark.parametrize(
    ("body", "url"),
    [
        pytest.param(VENDOR_JSON, with_hash(VENDOR_JSON), id="JSON"),
        pytest.param(VENDOR_JSON, with_hash(VENDOR_JSON, str.upper), id="in capitals"),
        pytest.param(b"", with_hash(b""), id="nothing"),
        pytest.param(b"\xff\r\n", with_hash(b"\xff\r\n"), id="any bytes"),
        pytest.param(FORM, with_hash(FORM), id="a form"),
    ],
)
def test_a_body_may_be_signed_by_its_hash_in_the_url(body: bytes, url: str) -> None:
    check(body, sign(url, ""), url)
    check(body, sign(url.replace("https", "http"), ""), url)
    refused(body + b" ", sign(url, ""), url)
    refused(body, sign(URL, ""), url)
    refused(body, sign(url, ""), URL)


@pytest.mark.parametrize("hashed", ["", "00", "x" * 64, "ä", hashlib.sha256(b"another").hexdigest()])
def test_another_hash_signs_nothing(hashed: str) -> None:
    url = f"{URL}&bodySHA256={hashed}"
    refused(VENDOR_JSON, sign(url, ""), url)


def test_a_form_is_signed_whatever_hash_its_url_has() -> None:
    url = f"{URL}&bodySHA256=00"
    check(FORM, sign(url), url)


def test_a_url_without_a_hash_signs_no_body() -> None:
    refused(VENDOR_JSON, sign(URL, ""))


@pytest.mark.parametrize("respell", [str.lower, str.upper, str.title], ids=["lower", "upper", "title"])
def test_header_names_are_case_insensitive(respell: Callable[[str], str]) -> None:
    check(FORM, {respell(SIGNATURE_HEADER): f" {sign(URL)} "})


def test_any_of_several_valid_tokens_is_accepted() -> None:
    check(FORM, sign(URL), tokens=f"another, {TOKEN} ,")
    check(FORM, sign(URL, token="another"), tokens=f"another,{TOKEN}")


def test_a_form_with_too_many_fields_is_refused() -> None:
    check(b"&" * MAX_FIELDS, sign(URL, ""))
    refused(b"&" * (MAX_FIELDS + 1), sign(URL, ""))


def test_an_error_shows_neither_signature_nor_body_nor_token() -> None:
    shown = str(refused(b"Body=secret", VENDOR_SIGNATURE))
    assert not any(text in shown for text in ("secret", VENDOR_SIGNATURE, TOKEN, sign(URL, "Bodysecret")))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_what_twilio_would_sign_is_accepted(pairs: list[tuple[str, str]]) -> None:
    said = "".join(name + value for name, value in sorted(set(pairs)))
    check(urlencode(pairs).encode(), sign(URL, said))


@given(body=st.binary(max_size=50), signature=st.text(max_size=40), url=st.text(max_size=40) | st.just(URL))
def test_random_input_is_refused_and_raises_nothing_else(body: bytes, signature: str, url: str) -> None:
    refused(body, signature, url)
    refused(body, sign(URL), url + "?bodySHA256=" + signature)


def test_an_empty_setting_has_no_tokens() -> None:
    assert load_auth_tokens(" , ") == ()


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("AC0123456789abcdef0123456789abcdef", id="the id of an account"),
        pytest.param("SK0123456789abcdef0123456789abcdef", id="the id of a key"),
        pytest.param("0123 4567", id="blanks"),
        pytest.param("0123\n4567", id="a comma forgotten"),
        pytest.param("0123\x004567", id="no text"),
    ],
)
def test_an_invalid_token_is_a_config_error_that_gives_its_position_and_not_the_token(token: str) -> None:
    with pytest.raises(ConfigError, match="token 2 ") as caught:
        load_auth_tokens(f"{TOKEN},{token}")
    assert token not in str(caught.value)
    assert TOKEN not in str(caught.value)


@given(st.text(max_size=60))
def test_a_setting_is_tokens_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        load_auth_tokens(text)


SHARED_KEY = b"the shared key of a webhook rule"


def sign_by_rule(url: str, said: str, key: bytes = SHARED_KEY) -> dict[str, str]:
    return {SIGNATURE_HEADER: b64encode(hmac.digest(key, (url + said).encode(), "sha256")).decode()}


def test_a_webhook_rule_signs_with_its_shared_key_and_sha_256() -> None:
    headers = sign_by_rule(URL, "MessageSidSM1MessageStatusdeliveredTo+14155550123")
    verify(FORM, headers, URL, (), [b"an older key", SHARED_KEY])
    verify(FORM, headers, URL, load_auth_tokens(TOKEN), [SHARED_KEY])


@pytest.mark.parametrize(
    ("headers", "tokens", "shared_keys"),
    [
        pytest.param(sign_by_rule(URL, "MessageSidSM1"), TOKEN, [SHARED_KEY], id="another form"),
        pytest.param(
            sign_by_rule(URL, "MessageSidSM1MessageStatusdeliveredTo+14155550123", TOKEN.encode()),
            TOKEN,
            [SHARED_KEY],
            id="the token is no shared key",
        ),
        pytest.param(
            {SIGNATURE_HEADER: sign(URL, token=SHARED_KEY.decode())}, TOKEN, [SHARED_KEY], id="the key is no token"
        ),
        pytest.param(
            sign_by_rule(URL, "MessageSidSM1MessageStatusdeliveredTo+14155550123"), TOKEN, [], id="no shared key is set"
        ),
    ],
)
def test_a_key_counts_for_its_own_algorithm_alone(
    headers: dict[str, str], tokens: str, shared_keys: list[bytes]
) -> None:
    with pytest.raises(SignatureInvalid):
        verify(FORM, headers, URL, load_auth_tokens(tokens), shared_keys)
