"""Postmark's credentials: the vectors of RFC 7617 are accepted; anything else is refused without an exception."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.signatures.postmark import (
    AUTHORIZATION_HEADER,
    Credentials,
    load_credentials,
    load_header_secrets,
    verify,
)
from schemas.errors import ConfigError, SignatureInvalid

# RFC 7617, section 2: the user "Aladdin" with the password "open sesame".
RFC_SETTING = "Aladdin:open sesame"
RFC_HEADER = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
# RFC 7617, section 2.1: the user "test" with the password "123£", in UTF-8.
RFC_UTF_8_SETTING = "test:123£"
RFC_UTF_8_HEADER = "Basic dGVzdDoxMjPCow=="


def basic(said: str | bytes) -> dict[str, str]:
    raw = said.encode() if isinstance(said, str) else said
    return {AUTHORIZATION_HEADER: f"Basic {b64encode(raw).decode()}"}


def refused(headers: Mapping[str, str], setting: str = RFC_SETTING) -> SignatureInvalid:
    with pytest.raises(SignatureInvalid) as caught:
        verify(headers, load_credentials(setting))
    return caught.value


@pytest.mark.parametrize(
    ("setting", "header"),
    [
        pytest.param(RFC_SETTING, RFC_HEADER, id="RFC 7617"),
        pytest.param(RFC_UTF_8_SETTING, RFC_UTF_8_HEADER, id="RFC 7617, UTF-8"),
        pytest.param(RFC_SETTING, RFC_HEADER.replace("Basic", "basic"), id="the scheme in lower case"),
        pytest.param(RFC_SETTING, RFC_HEADER.replace("Basic", "BASIC"), id="the scheme in capitals"),
        pytest.param(RFC_SETTING, f"  {RFC_HEADER.replace(' ', '   ')} ", id="more blanks"),
        pytest.param("a:b:c", basic("a:b:c")["Authorization"], id="a colon in the password"),
        pytest.param(f" {RFC_SETTING}\n", RFC_HEADER, id="blanks around the setting"),
    ],
)
def test_the_right_user_and_password_are_accepted(setting: str, header: str) -> None:
    verify({AUTHORIZATION_HEADER: header}, load_credentials(setting))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no headers"),
        pytest.param({AUTHORIZATION_HEADER: ""}, id="a blank header"),
        pytest.param({"X-Authorization": RFC_HEADER}, id="another header"),
        pytest.param({AUTHORIZATION_HEADER: "Basic"}, id="nothing but the scheme"),
        pytest.param({AUTHORIZATION_HEADER: "Basic "}, id="nothing after the scheme"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER.replace("Basic ", "")}, id="no scheme"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER.replace(" ", "")}, id="no blank"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER.replace("Basic", "Bearer")}, id="another scheme"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER.replace("Basic", "Digest")}, id="the scheme Digest"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER.replace("Basic", "Ba\u017fic")}, id="a letter like an s"),
        pytest.param({AUTHORIZATION_HEADER: f"Basic {RFC_SETTING}"}, id="no base64"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER[:-1]}, id="base64 cut off"),
        pytest.param({AUTHORIZATION_HEADER: RFC_HEADER + "!"}, id="base64 and more"),
        pytest.param({AUTHORIZATION_HEADER: "Basic grün"}, id="no ASCII"),
        pytest.param({AUTHORIZATION_HEADER: f"{RFC_HEADER}, {RFC_HEADER}"}, id="two in one header"),
        pytest.param(basic("Aladdin"), id="no colon"),
        pytest.param(basic(""), id="nothing"),
        pytest.param(basic(":"), id="neither user nor password"),
        pytest.param(basic("Aladdin:"), id="no password"),
        pytest.param(basic(":open sesame"), id="no user"),
        pytest.param(basic("aladdin:open sesame"), id="the user in other letters"),
        pytest.param(basic("Aladdin:Open sesame"), id="the password in other letters"),
        pytest.param(basic("Aladdin:open sesame "), id="a blank more"),
        pytest.param(basic("Aladdin:open sesam"), id="a letter less"),
        pytest.param(basic("Aladdin:open sesame\x00"), id="a null more"),
        pytest.param(basic("Aladdin:open%20sesame"), id="percent-encoded"),
        pytest.param(basic("open sesame:Aladdin"), id="the wrong way round"),
        pytest.param(basic(b"\xff\xfe:\xff"), id="no UTF-8"),
        pytest.param(basic("x" * 100_000 + ":y"), id="long"),
    ],
)
def test_anything_else_is_refused(headers: Mapping[str, str]) -> None:
    refused(headers)


def test_another_encoding_of_the_password_is_another_password() -> None:
    refused(basic(RFC_UTF_8_SETTING.encode("latin-1")), RFC_UTF_8_SETTING)


@pytest.mark.parametrize("setting", ["", " ", ",", " , ,"], ids=repr)
def test_without_credentials_everything_is_refused(setting: str) -> None:
    assert load_credentials(setting) == ()
    refused({AUTHORIZATION_HEADER: RFC_HEADER}, setting)
    refused(basic(":"), setting)


@pytest.mark.parametrize("respell", [str.lower, str.upper, str.title], ids=["lower", "upper", "title"])
def test_header_names_are_case_insensitive(respell: Callable[[str], str]) -> None:
    verify({respell(AUTHORIZATION_HEADER): RFC_HEADER}, load_credentials(RFC_SETTING))


@pytest.mark.parametrize("said", ["old:1", "new:2", "Aladdin:open sesame"])
def test_any_of_several_valid_credentials_is_accepted(said: str) -> None:
    verify(basic(said), load_credentials(f"old:1, new:2,{RFC_SETTING},"))


@pytest.mark.parametrize("said", ["old:2", "new:1", "old:1,new:2", "old:1, new", "old:"])
def test_user_and_password_belong_together(said: str) -> None:
    refused(basic(said), "old:1,new:2")


@pytest.mark.parametrize("said", ["first:1", "second:2", "third:3", "nobody:0"])
def test_every_credential_is_compared_wherever_the_right_one_is(said: str) -> None:
    looked_at: list[Credentials] = []

    class Watched(tuple[Credentials, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Credentials]:
            for one in super().__iter__():
                looked_at.append(one)
                yield one

    live = load_credentials("first:1,second:2,third:3")
    with suppress(SignatureInvalid):
        verify(basic(said), Watched(live))
    assert looked_at == list(live)


def test_an_error_shows_neither_user_nor_password() -> None:
    shown = str(refused(basic("someone:secret")))
    for text in ("someone", "secret", "Aladdin", "open sesame", basic("someone:secret")["Authorization"]):
        assert text not in shown


def test_credentials_show_nothing_of_themselves() -> None:
    (one,) = load_credentials(RFC_SETTING)
    assert repr(one) == "Credentials()"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("hunter2", id="no colon"),
        pytest.param(":hunter2", id="no user"),
        pytest.param("hunter2:", id="no password"),
        pytest.param("hunter2:two\nlines", id="a line break"),
        pytest.param("hunter2:\x00", id="a null"),
        pytest.param("hunter2:\udcff", id="a byte that is no UTF-8, as the environment gives it"),
    ],
)
def test_an_invalid_credential_is_a_config_error_that_gives_its_position_and_not_itself(bad: str) -> None:
    with pytest.raises(ConfigError, match="credential 2 ") as caught:
        load_credentials(f"{RFC_SETTING},{bad}")
    assert "hunter2" not in str(caught.value)
    assert "SENDLEDGER_POSTMARK_BASIC_AUTH" in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=100))
def test_a_setting_is_credentials_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        load_credentials(text)


PRINTABLE = st.characters(exclude_categories=["C", "Z"], exclude_characters=",:")


@given(st.text(PRINTABLE, min_size=1), st.text(PRINTABLE, min_size=1), st.text(PRINTABLE, min_size=1))
def test_configured_credentials_are_accepted_and_others_are_refused(user: str, password: str, other: str) -> None:
    setting = f"{user}:{password}"
    verify(basic(setting), load_credentials(setting))
    if other != password:
        refused(basic(f"{user}:{other}"), setting)


BASE64_LIKE = st.binary(max_size=40).map(lambda raw: f"Basic {b64encode(raw).decode()}")


@given(st.text(max_size=50) | BASE64_LIKE)
def test_random_input_is_refused_and_raises_nothing_else(header: str) -> None:
    refused({AUTHORIZATION_HEADER: header})


@given(position=st.integers(0, len(RFC_SETTING) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_is_noticed(position: int, bit: int) -> None:
    said = bytearray(RFC_SETTING.encode())
    said[position] ^= 1 << bit
    refused(basic(bytes(said)))


SECRET = "a secret that nobody guesses"


@pytest.mark.parametrize(
    ("setting", "headers"),
    [
        pytest.param(f"X-Secret: {SECRET}", {"x-secret": SECRET}, id="a header of its own"),
        pytest.param(f"Authorization: Bearer {SECRET}", {"Authorization": f"Bearer {SECRET}"}, id="a bearer"),
        pytest.param(f"X-Old: {SECRET * 2},X-Secret: {SECRET}", {"X-Secret": f" {SECRET} "}, id="one of several"),
    ],
)
def test_a_custom_header_is_accepted(setting: str, headers: dict[str, str]) -> None:
    verify(headers, (), load_header_secrets(setting))
    verify(headers, load_credentials(RFC_SETTING), load_header_secrets(setting))


@pytest.mark.parametrize("headers", [{}, {"X-Secret": "another, as long"}, {"X-Secret": ""}, {"X-Other": SECRET}])
def test_another_value_of_the_header_does_not(headers: dict[str, str]) -> None:
    secrets = load_header_secrets(f"X-Secret: {SECRET}")
    with pytest.raises(SignatureInvalid) as caught:
        verify(headers, (), secrets)
    assert SECRET not in str(caught.value)
    verify(basic(RFC_SETTING), load_credentials(RFC_SETTING), secrets)  # a password still does


@pytest.mark.parametrize("setting", [SECRET, "X-Secret: short", "X Secret: " + SECRET, ": " + SECRET])
def test_an_invalid_header_secret_is_a_config_error(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_header_secrets(setting)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(load_header_secrets(f"X-Secret: {SECRET}"))
