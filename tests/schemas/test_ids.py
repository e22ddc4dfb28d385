"""Ids: those of other systems, and those that we make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoding.ids import account_id_or_blank, fact_id, message_id_or_blank, sent_at_us, uuid7

UUID7 = "019ab1c2-d3e4-7f56-8a9b-0c1d2e3f4a5b"


@pytest.mark.parametrize("text", ["a", "acme", "A.b_c-9", "x" * 64])
def test_a_valid_account_id_is_unchanged(text: str) -> None:
    assert account_id_or_blank(text) == text


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", " a", "a\n", "ä", "a/b", "*", "٣"])
def test_an_invalid_account_id_is_blank(text: str) -> None:
    assert account_id_or_blank(text) == ""


@pytest.mark.parametrize("text", [UUID7, UUID7.upper()])
def test_a_message_id_is_lower_cased(text: str) -> None:
    assert message_id_or_blank(text) == UUID7


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="blank"),
        pytest.param(UUID7.replace("-", ""), id="without dashes"),
        pytest.param("{" + UUID7 + "}", id="in braces"),
        pytest.param(UUID7 + "\n", id="a line feed"),
        pytest.param(UUID7.replace("-7f56", "-4f56"), id="version 4"),
        pytest.param(UUID7.replace("-8a9b", "-ca9b"), id="another variant"),
        pytest.param(UUID7.replace("0", "٠"), id="digits of another script"),
        pytest.param("\u212a" + UUID7[1:], id="a letter whose lower case is ASCII"),
    ],
)
def test_an_invalid_message_id_is_blank(text: str) -> None:
    assert message_id_or_blank(text) == ""


YEAR_2200_MS = 7_258_118_400_000


@given(st.integers(0, YEAR_2200_MS - 1), st.binary(min_size=10, max_size=16))
def test_a_generated_message_id_is_valid_and_has_its_time(milliseconds: int, entropy: bytes) -> None:
    made = uuid7(milliseconds * 1000, entropy)
    assert message_id_or_blank(made) == made
    assert sent_at_us(made) == milliseconds * 1000


@given(st.integers(YEAR_2200_MS, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_of_2200_or_later_is_invalid(milliseconds: int, entropy: bytes) -> None:
    assert message_id_or_blank(uuid7(milliseconds * 1000, entropy)) == ""


@given(st.lists(st.integers(0, 2**48 - 1), min_size=2, max_size=2), st.binary(min_size=10, max_size=10))
def test_message_ids_sort_by_time(times: list[int], entropy: bytes) -> None:
    first, second = sorted(times)
    assert uuid7(first * 1000, entropy) <= uuid7(second * 1000, entropy)


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_different_keys_have_different_fact_ids(one: list[str], other: list[str]) -> None:
    assert (fact_id(one) == fact_id(other)) == (one == other)


def test_text_in_a_part_is_never_mistaken_for_a_separator() -> None:
    assert fact_id(["a", "b"]) != fact_id(['a","b'])
    assert fact_id(["ab", ""]) != fact_id(["a", "b"])


def test_a_fact_id_is_128_bits_in_hexadecimal() -> None:
    assert fact_id(["sendgrid"]) == "76396720c4c0722c96bac41f9602f68d"  # printf '["sendgrid"]' | b2sum -l 128
