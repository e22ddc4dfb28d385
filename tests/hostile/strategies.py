"""Strategies for hostile input, and for records that are valid except for a few fields.

Texts are long, full of combining marks or control characters, or half a surrogate pair; JSON nests thousands deep, and
its numbers are beyond any type; times are before 1970 and after 9999; a record lacks its key, its value or both.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.examples import EXAMPLES
from tests.building import NOW_US, FakeRecord

__all__ = [
    "DEEP",
    "GOOD",
    "bodies",
    "deep",
    "elements",
    "headers",
    "json_values",
    "keys",
    "mutated",
    "raw_records",
    "texts",
    "times",
]

DEEP: Final = (40, 999, 1_100, 5_000, 100_000)
"""Levels of nesting: within the limit of every parser, at Python's recursion limit, and far beyond it."""


def deep(levels: int, *, brackets: bytes = b"[]") -> bytes:
    """Return JSON that nests so many levels deep."""
    opening, closing = (b'{"a":', b"}") if brackets == b"{}" else (b"[", b"]")
    return opening * levels + b"1" + closing * levels


_ODD_TEXTS: Final = (
    "",
    " ",
    "\x00",
    "a\r\nBcc: everybody@example.com",
    "=cmd|' /C calc'!A0",
    "\u202eexample.com@ann",
    "\ufeffann@example.com",
    "ann@" + "a." * 200 + "com",
    "@" * 50,
    "ann@ß.de",
    "ANN@EXAMPLE.COM.",
    "+" + "1" * 400,
    "whatsapp:" * 30 + "+14155550100",
    "sms:tel:rcs:+14155550100",
    "Exim 4.96.2: 550 5.1.1 no such user",
    "5." * 500,
    "e\u0301" * 200,
    "\u0301" * 2_000,
    "%zz%" * 100,
    "<smtp@id@id>",
    "null",
    "__proto__",
)


def texts() -> st.SearchStrategy[str]:
    """Short and long texts that JSON can hold."""
    return st.one_of(
        st.sampled_from(_ODD_TEXTS),
        st.text(max_size=40),
        st.text(st.characters(categories=["Mn", "Cc", "Cf", "So"]), max_size=60),
        st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=4), st.sampled_from([300, 5_000])),
    )


_NUMBERS: Final = (0, -1, 1, 1.5, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1e308, 1e-320)


def times() -> st.SearchStrategy[object]:
    """Times as in records and webhooks: implausible, far away, in another format, or valid."""
    return st.one_of(
        st.sampled_from(
            (
                "0001-01-01T00:00:00Z",
                "1969-12-31T23:59:59Z",
                "2026-02-30T00:00:00Z",
                "2026-11-28T24:00:00Z",
                "2026-11-28T23:59:60Z",
                "2026-11-28T10:00:00+99:99",
                "2262-04-12T00:00:00Z",
                "2299-12-31T23:59:59.999999Z",
                "9999-12-31T23:59:59.999999Z",
                "10000-01-01T00:00:00Z",
                "2026-11-28 10:00:00",
                "now",
            )
        ),
        st.sampled_from(_NUMBERS),
        st.integers(-(10**20), 10**20),
        st.integers(NOW_US - 10**12, NOW_US + 10**12).map(rfc3339),
    )


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value that Python's `json` can encode."""
    numbers = st.one_of(st.sampled_from(_NUMBERS), st.integers(), st.floats())
    leaves = st.one_of(st.none(), st.booleans(), numbers, texts(), times())
    # Only a short value is repeated: lists of such lists would grow without bound.
    many = st.builds(lambda value, count: [value] * count, st.one_of(st.none(), numbers), st.sampled_from([60, 1_200]))
    return st.recursive(
        st.one_of(leaves, many),
        lambda inner: st.one_of(
            st.lists(inner, max_size=5),
            st.dictionaries(texts(), inner, max_size=4),
        ),
        max_leaves=8,
    )


def headers() -> st.SearchStrategy[list[tuple[str, bytes]]]:
    """Headers: ours with odd values, unknown ones, repeated ones, and some without a value."""
    names = st.one_of(
        st.sampled_from(["received_at", "request_url", "content_type", "webhook_id", "dlq.topic", "", "\\xff"]), texts()
    )
    urls = st.sampled_from(
        [
            b"https://hooks.example.com/webhooks/twilio?sl_account=acme&sl_message=x",
            b"?sl_account=" + b"a" * 5_000,
            b"sl_account=%ff%00&sl_message=%zz#?",
        ]
    )
    values = st.one_of(st.binary(max_size=30), urls, st.just(b"9999-99-99T99:99:99.999999Z"), st.none())
    return st.lists(st.tuples(names, values), max_size=4)  # Kafka allows headers without a value


def keys() -> st.SearchStrategy[bytes | None]:
    """Keys of records."""
    return st.one_of(st.none(), st.just(b""), st.binary(max_size=20), st.just(b"k" * 40_000))


def elements() -> st.SearchStrategy[bytes]:
    """JSON as bytes, most of it unexpected by a decoder."""
    return st.one_of(
        json_values().map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
        st.builds(deep, st.sampled_from(DEEP), brackets=st.sampled_from([b"[]", b"{}"])),
        st.sampled_from(
            [
                b"",
                b"null",
                b'"\\ud800"',
                b'{"a":"\\udc00\\ud800"}',
                b"NaN",
                b"-Infinity",
                b"1" * 5_000,
                b"1e999999",
                b"\xef\xbb\xbf{}",
                b'{"a":1,"a":2}',
                b"\xff\xfe{\x00}\x00",
            ]
        ),
    )


def bodies() -> st.SearchStrategy[bytes]:
    """Whole bodies: bytes, JSON, lists of elements, forms; truncated, or with bytes changed."""
    lists = st.lists(elements(), max_size=4).map(lambda parts: b"[" + b",".join(parts) + b"]")
    forms = st.lists(st.tuples(texts(), texts()), max_size=6).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "surrogatepass")
    )
    whole = st.one_of(st.binary(max_size=200), elements(), lists, forms)
    return st.one_of(whole, st.builds(_spoilt, whole, st.integers(0, 2**16), st.binary(max_size=3)))


def _spoilt(body: bytes, place: int, inserted: bytes) -> bytes:
    at = place % (len(body) + 1)
    return body[:at] + inserted + (body[at:] if inserted else b"")


def _fresh(record: dict[str, Any]) -> dict[str, Any]:
    """Return an example with the ids and times of NOW_US, so that it is valid for a record of that time."""
    message_id, at = uuid7(NOW_US, b"0123456789"), rfc3339(NOW_US)
    new = {"message_id": message_id, "requested_at": at, "decided_at": at, "dispatched_at": at, "at": at}
    new |= {"updated_at": at, "changed_at": at}
    return {name: new.get(name, _fresh(value) if name == "request" else value) for name, value in record.items()}


GOOD: Final[Mapping[str, dict[str, Any]]] = {
    topic: _fresh(EXAMPLES[name].payload)
    for topic, name in {
        "sends.requested": "SendRequest",
        "sends.content": "SendContent",
        "sends.decided": "SendDecision",
        "sends.dispatched": "SendDispatched",
        "sends.erased": "ContentErased",
        "accounts.policies": "AccountPolicy",
        "recipients.preferences": "RecipientPreference",
        "suppressions.commands": "SuppressionCommand",
        "suppressions.changed": "SuppressionState",
    }.items()
}
"""A valid record for each of our own topics."""


@st.composite
def mutated(draw: st.DrawFn, good: Mapping[str, Any]) -> bytes:
    """A record that is valid except for a few fields: hostile values, missing fields, deeply nested unknown fields."""
    record = dict(good)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(record) or ["a"]))
        match draw(st.sampled_from(["value", "inner", "missing", "unknown"])):
            case "value":
                record[name] = draw(st.one_of(json_values(), texts(), times()))
            case "inner" if isinstance(record[name], dict) and record[name]:
                inner = draw(st.sampled_from(sorted(record[name])))
                record[name] = {**record[name], inner: draw(json_values())}
            case "missing":
                record.pop(name)
            case _:
                record[draw(texts())] = draw(json_values())
    value = json.dumps(record).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        nested = deep(draw(st.sampled_from(DEEP)), brackets=draw(st.sampled_from([b"[]", b"{}"])))
        value = b'{"unknown":' + nested + b"," + value[1:] if value != b"{}" else b'{"unknown":' + nested + b"}"
    return value


def raw_records(topics: Sequence[str]) -> st.SearchStrategy[FakeRecord]:
    """Records of these topics: tombstones, hostile bodies, and records that are valid except for a few fields."""
    return st.sampled_from(list(topics)).flatmap(
        lambda topic: st.builds(
            FakeRecord,
            st.just(topic),
            st.one_of(st.none(), bodies(), mutated(GOOD[topic]) if topic in GOOD else bodies()),
            keys(),
            headers(),
            offset=st.integers(0, 2**40),
        )
    )
