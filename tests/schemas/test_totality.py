"""For any bytes a decoder returns a fact or raises RecordInvalid, and an adapter raises nothing."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoding import json_text
from schemas.decoding.checks import MAX_NESTING
from schemas.decoding.decoders import decoders
from schemas.decoding.json_text import elements_of, nests_deeper_than
from schemas.errors import RecordInvalid
from schemas.events import Headers, SourcePosition
from schemas.providers import ADAPTERS, sendgrid
from schemas.topics import ALL_TOPICS, DEAD_LETTERS, DEAD_LETTERS_HANDLED, WEBHOOKS
from tests.schemas.test_gate_inputs import COMMAND, POLICY, PREFERENCE
from tests.schemas.test_sends import DECISION, DISPATCHED, ERASED, FULL, NOW_US, SOURCE

Decode = Callable[[bytes, SourcePosition], Any]
STATE: dict[str, Any] = {
    "channel": "email",
    "address": "ann@example.com",
    "scopes": [],
    "opt_outs": [],
    "version": 1,
    "changed_at": "2026-05-28T10:00:00Z",
}


def of_topic(name: str) -> Decode:
    """Return the decoder of a topic of our own records, which needs no headers."""
    return lambda value, source: decoders(decision_days=30)[name](value, source, ())


DECODERS: dict[str, tuple[dict[str, Any], Decode]] = {
    topic: (record, of_topic(topic))
    for topic, record in {
        "sends.requested": FULL,
        "sends.decided": DECISION,
        "sends.dispatched": DISPATCHED,
        "sends.content": {"message_id": FULL["message_id"], "account_id": "acme", "text": "Hi"},
        "sends.erased": ERASED,
        "accounts.policies": POLICY,
        "recipients.preferences": PREFERENCE,
        "suppressions.commands": COMMAND,
        "suppressions.changed": STATE,
    }.items()
}
every_decoder = pytest.mark.parametrize(("record", "decode"), DECODERS.values(), ids=list(DECODERS))

FORM: Headers = [("content_type", b"application/x-www-form-urlencoded"), ("request_url", b"https://x/?sl_account=\xff")]
JSON: Headers = [("content_type", b"application/json")]


def test_each_topic_has_a_decoder() -> None:
    assert decoders(decision_days=30).keys() == {topic.name for topic in ALL_TOPICS} - {
        DEAD_LETTERS.name,
        DEAD_LETTERS_HANDLED.name,
    }
    assert DECODERS.keys() == decoders(decision_days=30).keys() - {topic.name for topic in WEBHOOKS.values()}


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def with_field(record: dict[str, Any], name: str, value: bytes) -> bytes:
    """Return the JSON of a record with one field added or replaced by the given JSON."""
    others = orjson.dumps({n: v for n, v in record.items() if n != name})
    return others[:-1] + b"," + orjson.dumps(name) + b":" + value + b"}"


def fails(decode: Decode, value: bytes) -> RecordInvalid:
    with pytest.raises(RecordInvalid) as caught:
        decode(value, SOURCE)
    return caught.value


@every_decoder
@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 980, 1_100, 50_000])
def test_a_field_that_nests_too_deep_makes_the_record_invalid(
    record: dict[str, Any], decode: Decode, levels: int
) -> None:
    error = fails(decode, with_field(record, "unknown", deep(levels)))
    assert (error.reason, error.detail) == ("record_invalid", f"the JSON nests deeper than {MAX_NESTING} levels")


@every_decoder
def test_an_unknown_field_may_nest_as_deep_as_any_record(record: dict[str, Any], decode: Decode) -> None:
    assert decode(with_field(record, "unknown", deep(MAX_NESTING - 1)), SOURCE) == decode(orjson.dumps(record), SOURCE)


@every_decoder
def test_brackets_in_a_string_do_not_count_as_nesting(record: dict[str, Any], decode: Decode) -> None:
    value = orjson.dumps(record | {"unknown": '"[{' * 5_000})
    assert decode(value, SOURCE) == decode(orjson.dumps(record), SOURCE)


ODD = {
    "half a surrogate pair": b'"\\ud800"',
    "half a surrogate pair, in UTF-8": b'"\xed\xa0\x80"',
    "a byte that is not UTF-8": b'"\xff"',
    "a number beyond every float": b"1e999",
    "a number of 5,000 digits": b"1" * 5_000,
    "not a number": b"NaN",
    "NUL": b'"\\u0000"',
}


@every_decoder
@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_an_odd_value_in_any_field_raises_nothing_else(record: dict[str, Any], decode: Decode, odd: bytes) -> None:
    for name in [*record, "unknown"]:
        for value in (odd, b"[" + odd + b"]", b'{"id":' + odd + b"}"):
            with suppress(RecordInvalid):
                decode(with_field(record, name, value), SOURCE)


@every_decoder
@given(st.data())
def test_any_bytes_raise_nothing_else(record: dict[str, Any], decode: Decode, data: st.DataObject) -> None:
    whole = orjson.dumps(record)
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
    middle = data.draw(st.binary(max_size=20) | st.sampled_from(list(ODD.values())))
    for value in (middle, whole[:start] + middle + whole[end:]):
        with suppress(RecordInvalid):
            decode(value, SOURCE)


def called_deep_down(frames: int, call: Callable[[], Any]) -> Any:
    """Call with that many more Python frames on the stack, as in a worker inside frameworks."""
    return call() if frames == 0 else called_deep_down(frames - 1, call)


@every_decoder
def test_the_depth_of_the_call_stack_changes_nothing(record: dict[str, Any], decode: Decode) -> None:
    value = with_field(record, "unknown", deep(MAX_NESTING - 1))
    assert called_deep_down(600, lambda: decode(value, SOURCE)) == decode(value, SOURCE)


@pytest.mark.parametrize("provider", ADAPTERS)
@pytest.mark.parametrize("headers", [(), FORM, JSON], ids=["no headers", "form", "json"])
@pytest.mark.parametrize("levels", [200, 254, 300, 980, 1_023, 1_100, 50_000])
@pytest.mark.parametrize("around", [b"%s", b'{"event":"open","RecordType":"Open","MessageStatus":"sent","x":%s}'])
def test_an_adapter_handles_any_depth(provider: str, headers: Headers, levels: int, around: bytes) -> None:
    body = around % deep(levels)
    parsed = ADAPTERS[provider](body, SOURCE, headers)
    assert parsed.events or parsed.rejections


@pytest.mark.parametrize("provider", ADAPTERS)
@given(st.binary(max_size=60) | st.sampled_from(list(ODD.values())), st.sampled_from([(), FORM, JSON]))
def test_an_adapter_handles_any_bytes(provider: str, middle: bytes, headers: Headers) -> None:
    for body in (middle, b'{"event":%s,"RecordType":"Bounce"}' % middle, b'[{"event":"open","email":%s}]' % middle):
        ADAPTERS[provider](body, SOURCE, headers)


# Lists: a bad element does not affect the others


GOOD = {"event": "delivered", "email": "ann@example.com", "timestamp": NOW_US // 1_000_000}


@pytest.mark.parametrize("levels", [255, 980, 1_024, 1_100, 50_000])
@pytest.mark.parametrize("blanks", [b"", b" \r\n"])
def test_an_element_beyond_the_recursion_limit_does_not_affect_the_others(levels: int, blanks: bytes) -> None:
    too_deep = b'{"event":"open","x":%s}' % deep(levels)
    body = b"[%s]" % (blanks + b",").join([orjson.dumps(GOOD), blanks + too_deep, orjson.dumps(GOOD)])
    parsed = sendgrid.to_events(body, SOURCE)
    assert [event.position for event in parsed.events] == [0, 2]
    assert [(rejection.position, rejection.value) for rejection in parsed.rejections] == [(1, too_deep)]


def test_a_redriven_element_is_read_as_a_list_of_one() -> None:
    body = b"[7, %s]" % orjson.dumps(GOOD)
    lone = sendgrid.to_events(elements_of(body)[1], SOURCE)
    assert lone.rejections == []
    assert lone.events == [e._replace(position=0) for e in sendgrid.to_events(body, SOURCE).events]


def test_a_list_of_bad_elements_is_split_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splitting or decoding reads the whole body, and once per element would take quadratic time."""
    readings: list[int] = []

    def counted(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def reading(body: bytes) -> Any:
            readings.append(len(body))
            return read(body)

        return reading

    monkeypatch.setattr(sendgrid, "elements_of", counted(elements_of))
    monkeypatch.setattr(sendgrid, "decode_list", counted(json_text.decode_list))
    bad = b'7,{"event":null},{"event":"open","x":%s}' % deep(300)
    parsed = sendgrid.to_events(b"[%s]" % b",".join([bad] * 50), SOURCE)
    assert len(parsed.rejections) == 150
    assert len(readings) == 2


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('a"\\,[]{}ü\x00'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\,[]{}'), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_a_list_is_split_into_its_elements(values: list[object], indent: int | None, escaped: bool) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=escaped).encode()
    assert [json.loads(value) for value in elements_of(body)] == values


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b"[1]]", b"[1],[2]", b"1]", b"[[1]"])
def test_a_body_that_is_not_a_whole_list_raises_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="list"):
        elements_of(body)


@given(JSON_VALUES)
def test_the_nesting_depth_of_a_text_is_that_of_its_value(value: object) -> None:
    def levels(part: object) -> int:
        if isinstance(part, list):
            return 1 + max(map(levels, part), default=0)
        return 1 + max(map(levels, part.values()), default=0) if isinstance(part, dict) else 0

    text = json.dumps(value).encode()
    assert not nests_deeper_than(levels(value), text)
    assert levels(value) == 0 or nests_deeper_than(levels(value) - 1, text)


@pytest.mark.parametrize("body", [b'[["\\', b'[["' + b'\\"[' * 200_000, b'[["' + b"[" * 200_000])
def test_a_string_without_an_end_is_read_once(body: bytes) -> None:
    """Quadratic work would take minutes here, and exceed the time limit of the test."""
    assert not nests_deeper_than(2, body)
