"""The search box: which filter a text becomes."""

import pytest

from gateway.console.search import SEARCHED, Search, read_search
from schemas.decoding.ids import uuid7
from tests.building import NOW_US

EMAIL_ID = uuid7(NOW_US, b"0123456789")


@pytest.mark.parametrize(
    ("typed", "parameter", "value"),
    [
        ("ann@example.com", "address", "ann@example.com"),
        ("  Ann@Example.com ", "address", "Ann@Example.com"),
        ("Ann Lee <ann@example.com>", "address", "ann@example.com"),
        ("mailto:ann@example.com", "address", "ann@example.com"),
        ("ann@example.com,", "address", "ann@example.com"),
        ("ann.lee@", "address_prefix", "ann.lee@"),
        ("@example.com", "domain", "example.com"),
        ("@Example.COM", "domain", "example.com"),
        ("+1 415 555 0100", "address", "+14155550100"),
        ("+1 (415) 555-0100", "address", "+14155550100"),
        ("0049 30 901820", "address", "+4930901820"),
        ("(415) 555-0100", "address", "+14155550100"),
        ("14155550100", "address", "+14155550100"),
        ("tel:+14155550100", "address", "+14155550100"),
        (EMAIL_ID, "email_id", EMAIL_ID),
        (EMAIL_ID.upper(), "email_id", EMAIL_ID),
        ("550", "code", "550"),
        ("5.1.1", "code", "5.1.1"),
        ("30003", "code", "30003"),
        ("SM0123456789abcdef0123456789abcdef", "provider_message_id", "SM0123456789abcdef0123456789abcdef"),
        ("883953f4-6105-42a2-a16a-77a8eac79483", "provider_message_id", "883953f4-6105-42a2-a16a-77a8eac79483"),
        ("14c5d75ce93.dfd.64b469", "subject", "14c5d75ce93.dfd.64b469"),
        ("Rh9CqT1mQ3yvD0pXk2sKLw.filter0001.x", "provider_message_id", "Rh9CqT1mQ3yvD0pXk2sKLw.filter0001.x"),
        ("Your appointment", "subject", "Your appointment"),
        ("Reminder", "subject", "Reminder"),
        ("Rechnung 2026-11", "subject", "Rechnung 2026-11"),
        ("a@b@c", "subject", "a@b@c"),
        ("x'; DROP TABLE events; --", "subject", "x'; DROP TABLE events; --"),
    ],
)
def test_a_text_becomes_a_filter_by_its_form(typed: str, parameter: str, value: str) -> None:
    assert read_search(typed) == Search(parameter, value)


@pytest.mark.parametrize("typed", ["", "  ", "\n\t"])
def test_a_blank_text_is_no_filter(typed: str) -> None:
    assert read_search(typed) is None


def test_line_breaks_become_spaces_and_long_texts_are_cut() -> None:
    assert read_search("your\nappointment") == Search("subject", "your appointment")
    read = read_search("long " * 5_000)
    assert read is not None
    assert len(read.value) <= 1_000


@pytest.mark.parametrize("typed", ["ann@example.com", "@example.com", EMAIL_ID, "550", "Reminder", "ann@"])
def test_the_value_of_a_filter_is_read_as_the_same_filter(typed: str) -> None:
    first = read_search(typed)
    assert first is not None
    assert first.parameter in SEARCHED
    assert read_search(first.value if first.parameter != "domain" else f"@{first.value}") == first
