"""Caches of texts from outside: however large the texts are, what is remembered stays small."""

import gc
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import schemas
from processors.engine import transactions
from schemas.addresses import email_key, phone_key
from schemas.caching import LONGEST_CACHED, caching_short
from schemas.events import Headers, Place
from schemas.faults import fault_of_enhanced_code
from schemas.form_values import form_pairs
from schemas.identity import account_id_or_blank
from schemas.providers import ADAPTERS

PLACE = Place("webhooks.sendgrid", 0, 0, 1_780_000_000_000_000)
MEBIBYTE = 1 << 20
TEXTS = 12
FORM: Headers = [("content_type", b"application/x-www-form-urlencoded")]


def remembered_bytes(call: Callable[[str], object]) -> int:
    """How much memory is taken for good by a dozen texts of a mebibyte, each unlike the others."""
    call("x" * 100)
    gc.freeze()  # the collection below need not look at what was there before
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(TEXTS):
        call(f"{number}." + "x" * MEBIBYTE)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.unfreeze()
    return after - before


CALLS: dict[str, Callable[[str], object]] = {
    "email_key": email_key,
    "email_key of an address": lambda text: email_key(text + "@example.com"),
    "phone_key": phone_key,
    "account_id_or_blank": account_id_or_blank,
    "fault_of_enhanced_code": lambda text: fault_of_enhanced_code("5.1." + text.replace(".", "")),
    "form_pairs": lambda text: form_pairs(f"a+{text}=b+{text}"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_long_text_is_not_remembered(call: Callable[[str], object]) -> None:
    assert remembered_bytes(call) < MEBIBYTE // 2


def test_a_long_key_of_a_record_is_not_remembered() -> None:
    before = transactions._remembered.cache_info().currsize
    transactions.partition_of(b"k" * 10_000, 4)
    assert transactions._remembered.cache_info().currsize == before


NAMES: dict[str, list[str]] = {
    "sendgrid": ["event", "email", "sl_account", "sl_message", "type", "status", "reason", "bounce_classification"],
    "postmark": ["RecordType", "Type", "Email", "MessageID", "Details", "MessageStream", "ServerID"],
    "twilio": ["MessageStatus", "To", "From", "MessageSid", "ErrorCode"],
}


@pytest.mark.parametrize("provider", ADAPTERS)
def test_an_adapter_remembers_no_long_text(provider: str) -> None:
    def post(text: str) -> None:
        body = dict.fromkeys(NAMES[provider], text) | {"Metadata": {"sl_account": text, "sl_message": text}}
        ADAPTERS[provider](json.dumps(body).encode(), PLACE, ())

    assert remembered_bytes(post) < MEBIBYTE // 2


def test_a_form_of_long_escaped_values_is_not_remembered() -> None:
    to_events = ADAPTERS["twilio"]
    body = "MessageStatus=failed&To=%2B{0}&ErrorCode=+{0}"
    assert remembered_bytes(lambda text: to_events(body.format(text).encode(), PLACE, FORM)) < MEBIBYTE // 2


def test_short_texts_are_worked_out_once_and_long_ones_each_time() -> None:
    asked: list[str] = []

    @caching_short(entries=8)
    def double(text: str) -> str:
        asked.append(text)
        return text + text

    short, long = "x" * LONGEST_CACHED, "x" * (LONGEST_CACHED + 1)
    assert [double(short), double(short), double(long), double(long)] == [short * 2, short * 2, long * 2, long * 2]
    assert asked == [short, long, long]


def test_nothing_that_reads_from_outside_has_another_kind_of_cache() -> None:
    folder = Path(schemas.__file__).parent
    cached = {
        p.name for p in folder.rglob("*.py") if re.search(r"lru_cache|functools import .*\bcache\b", p.read_text())
    }
    assert cached == {"caching.py"}


def test_a_cache_has_no_more_entries_than_it_may() -> None:
    asked: list[str] = []

    @caching_short(entries=3)
    def echo(text: str) -> str:
        asked.append(text)
        return text

    assert [echo(text) for text in "abcabcda"] == list("abcabcda")
    assert asked == list("abcda")  # "d" found the cache full, and emptied it
