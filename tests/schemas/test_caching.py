"""Caches of texts from outside: they stay small however large the texts are."""

import gc
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import schemas
from processors.engine import transactions
from schemas.decoding.addresses import email_key, phone_key
from schemas.decoding.caching import LONGEST_CACHED, cache_short_texts
from schemas.decoding.forms import form_pairs
from schemas.decoding.ids import account_id_or_blank
from schemas.events import Headers, SourcePosition
from schemas.providers import ADAPTERS
from schemas.providers.delivery_faults import fault_of_enhanced_code

SOURCE = SourcePosition("webhooks.sendgrid", 0, 0, 1_780_000_000_000_000)
MEBIBYTE = 1 << 20
TEXTS = 12
FORM: Headers = [("content_type", b"application/x-www-form-urlencoded")]


def remembered_bytes(call: Callable[[str], object]) -> int:
    """Return the bytes of memory that stay in use after a dozen different texts of 1 MiB each."""
    call("x" * 100)
    gc.freeze()  # the collection below can skip older objects
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
def test_a_long_text_is_not_cached(call: Callable[[str], object]) -> None:
    assert remembered_bytes(call) < MEBIBYTE // 2


def test_a_long_record_key_is_not_cached() -> None:
    before = transactions._remembered.cache_info().currsize
    transactions.partition_of(b"k" * 10_000, 4)
    assert transactions._remembered.cache_info().currsize == before


NAMES: dict[str, list[str]] = {
    "sendgrid": ["event", "email", "sl_account", "sl_message", "type", "status", "reason", "bounce_classification"],
    "postmark": ["RecordType", "Type", "Email", "MessageID", "Details", "MessageStream", "ServerID"],
    "twilio": ["MessageStatus", "To", "From", "MessageSid", "ErrorCode"],
}


@pytest.mark.parametrize("provider", ADAPTERS)
def test_an_adapter_caches_no_long_text(provider: str) -> None:
    def post(text: str) -> None:
        body = dict.fromkeys(NAMES[provider], text) | {"Metadata": {"sl_account": text, "sl_message": text}}
        ADAPTERS[provider](json.dumps(body).encode(), SOURCE, ())

    assert remembered_bytes(post) < MEBIBYTE // 2


def test_long_escaped_form_values_are_not_cached() -> None:
    to_events = ADAPTERS["twilio"]
    body = "MessageStatus=failed&To=%2B{0}&ErrorCode=+{0}"
    assert remembered_bytes(lambda text: to_events(body.format(text).encode(), SOURCE, FORM)) < MEBIBYTE // 2


def test_short_texts_are_computed_once_and_long_ones_each_time() -> None:
    asked: list[str] = []

    @cache_short_texts(entries=8)
    def double(text: str) -> str:
        asked.append(text)
        return text + text

    short, long = "x" * LONGEST_CACHED, "x" * (LONGEST_CACHED + 1)
    assert [double(short), double(short), double(long), double(long)] == [short * 2, short * 2, long * 2, long * 2]
    assert asked == [short, long, long]


def test_code_that_reads_outside_input_uses_no_other_kind_of_cache() -> None:
    folder = Path(schemas.__file__).parent
    cached = {
        p.name for p in folder.rglob("*.py") if re.search(r"lru_cache|functools import .*\bcache\b", p.read_text())
    }
    assert cached == {"caching.py"}


def test_a_cache_has_a_maximum_number_of_entries() -> None:
    asked: list[str] = []

    @cache_short_texts(entries=3)
    def echo(text: str) -> str:
        asked.append(text)
        return text

    assert [echo(text) for text in "abcabcda"] == list("abcabcda")
    assert asked == list("abcda")  # the cache was full before "d", and was emptied
