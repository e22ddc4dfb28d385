"""Whatever the bytes are, a decoder returns a fact or raises RecordInvalid, and an adapter raises nothing at all."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.ledger.reading import read_records
from schemas import json_values
from schemas.decoding import MAX_NESTING
from schemas.errors import RecordInvalid
from schemas.events import Headers, Place
from schemas.facts import decode_content, decode_decision, decode_dispatch, decode_request
from schemas.gate_facts import decode_command, decode_policy, decode_preference
from schemas.json_values import elements_of, nests_deeper_than
from schemas.providers import ADAPTERS, sendgrid
from schemas.suppressions import SuppressionState
from schemas.topics import SUPPRESSIONS_CHANGED
from tests.building import FakeRecord
from tests.schemas.test_facts import DECISION, DISPATCHED, FULL, NOW_US, PLACE
from tests.schemas.test_gate_facts import COMMAND, POLICY, PREFERENCE

Decode = Callable[[bytes, Place], Any]
STATE: dict[str, Any] = {
    "channel": "email",
    "address": "ann@example.com",
    "scopes": [],
    "opt_outs": [],
    "version": 1,
    "changed_at": "2026-05-28T10:00:00Z",
}


def read_state(value: bytes, place: Place) -> SuppressionState:
    """What the ledger makes of a record of `suppressions.changed`."""
    sheet = read_records([FakeRecord(SUPPRESSIONS_CHANGED.name, value)], decision_days=30)
    for letter in sheet.letters:
        raise RecordInvalid(letter.bad.reason, letter.bad.detail, place)
    return sheet.suppressions[0]


DECODERS: dict[str, tuple[dict[str, Any], Decode]] = {
    "sends.requested": (FULL, partial(decode_request, decision_days=30)),
    "sends.decided": (DECISION, decode_decision),
    "sends.dispatched": (DISPATCHED, decode_dispatch),
    "sends.content": ({"message_id": FULL["message_id"], "account_id": "acme", "text": "Hi"}, decode_content),
    "accounts.policies": (POLICY, decode_policy),
    "recipients.preferences": (PREFERENCE, decode_preference),
    "suppressions.commands": (COMMAND, decode_command),
    "suppressions.changed": (STATE, read_state),
}
every_decoder = pytest.mark.parametrize(("record", "decode"), DECODERS.values(), ids=list(DECODERS))

FORM: Headers = [("content_type", b"application/x-www-form-urlencoded"), ("request_url", b"https://x/?sl_account=\xff")]
JSON: Headers = [("content_type", b"application/json")]


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def with_field(record: dict[str, Any], name: str, value: bytes) -> bytes:
    """The JSON of a record with one more field, or another value of one, whose JSON is given."""
    others = orjson.dumps({n: v for n, v in record.items() if n != name})
    return others[:-1] + b"," + orjson.dumps(name) + b":" + value + b"}"


def fails(decode: Decode, value: bytes) -> RecordInvalid:
    with pytest.raises(RecordInvalid) as caught:
        decode(value, PLACE)
    return caught.value


@every_decoder
@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 980, 1_100, 50_000])
def test_a_field_that_nests_too_deep_makes_the_record_invalid(
    record: dict[str, Any], decode: Decode, levels: int
) -> None:
    error = fails(decode, with_field(record, "unknown", deep(levels)))
    assert (error.reason, error.detail) == ("record_invalid", f"it nests deeper than {MAX_NESTING} levels")


@every_decoder
def test_an_unknown_field_may_nest_as_deep_as_any_record(record: dict[str, Any], decode: Decode) -> None:
    assert decode(with_field(record, "unknown", deep(MAX_NESTING - 1)), PLACE) == decode(orjson.dumps(record), PLACE)


@every_decoder
def test_brackets_in_a_text_are_no_nesting(record: dict[str, Any], decode: Decode) -> None:
    value = orjson.dumps(record | {"unknown": '"[{' * 5_000})
    assert decode(value, PLACE) == decode(orjson.dumps(record), PLACE)


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
                decode(with_field(record, name, value), PLACE)


@every_decoder
@given(st.data())
def test_any_bytes_raise_nothing_else(record: dict[str, Any], decode: Decode, data: st.DataObject) -> None:
    whole = orjson.dumps(record)
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
    middle = data.draw(st.binary(max_size=20) | st.sampled_from(list(ODD.values())))
    for value in (middle, whole[:start] + middle + whole[end:]):
        with suppress(RecordInvalid):
            decode(value, PLACE)


def called_deep_down(frames: int, call: Callable[[], Any]) -> Any:
    """Call with that many frames of Python below it, as a worker inside of frameworks does."""
    return call() if frames == 0 else called_deep_down(frames - 1, call)


@every_decoder
def test_how_deep_the_caller_stands_changes_nothing(record: dict[str, Any], decode: Decode) -> None:
    value = with_field(record, "unknown", deep(MAX_NESTING - 1))
    assert called_deep_down(600, lambda: decode(value, PLACE)) == decode(value, PLACE)


@pytest.mark.parametrize("provider", ADAPTERS)
@pytest.mark.parametrize("headers", [(), FORM, JSON], ids=["no headers", "form", "json"])
@pytest.mark.parametrize("levels", [200, 254, 300, 980, 1_023, 1_100, 50_000])
@pytest.mark.parametrize("around", [b"%s", b'{"event":"open","RecordType":"Open","MessageStatus":"sent","x":%s}'])
def test_an_adapter_takes_any_depth(provider: str, headers: Headers, levels: int, around: bytes) -> None:
    body = around % deep(levels)
    parsed = ADAPTERS[provider](body, PLACE, headers)
    assert parsed.events or parsed.bad


@pytest.mark.parametrize("provider", ADAPTERS)
@given(st.binary(max_size=60) | st.sampled_from(list(ODD.values())), st.sampled_from([(), FORM, JSON]))
def test_an_adapter_takes_any_bytes(provider: str, middle: bytes, headers: Headers) -> None:
    for body in (middle, b'{"event":%s,"RecordType":"Bounce"}' % middle, b'[{"event":"open","email":%s}]' % middle):
        ADAPTERS[provider](body, PLACE, headers)


# Lists: a bad element costs only itself


GOOD = {"event": "delivered", "email": "ann@example.com", "timestamp": NOW_US // 1_000_000}


@pytest.mark.parametrize("levels", [255, 980, 1_024, 1_100, 50_000])
@pytest.mark.parametrize("blanks", [b"", b" \r\n"])
def test_an_element_that_nests_too_deep_costs_itself_alone(levels: int, blanks: bytes) -> None:
    too_deep = b'{"event":"open","x":%s}' % deep(levels)
    body = b"[%s]" % (blanks + b",").join([orjson.dumps(GOOD), blanks + too_deep, orjson.dumps(GOOD)])
    parsed = sendgrid.to_events(body, PLACE)
    assert [event.position for event in parsed.events] == [0, 2]
    assert [(bad.position, bad.value) for bad in parsed.bad] == [(1, too_deep)]


def test_a_redriven_element_is_read_as_a_list_of_one() -> None:
    body = b"[7, %s]" % orjson.dumps(GOOD)
    lone = sendgrid.to_events(elements_of(body)[1], PLACE)
    assert lone.bad == []
    assert lone.events == [e._replace(position=0) for e in sendgrid.to_events(body, PLACE).events]


def test_a_list_of_bad_elements_is_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cut, and each decoding anew, reads the whole body: once an element would be quadratic."""
    readings: list[int] = []

    def counted(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def reading(body: bytes) -> Any:
            readings.append(len(body))
            return read(body)

        return reading

    monkeypatch.setattr(sendgrid, "elements_of", counted(elements_of))
    monkeypatch.setattr(sendgrid, "decode_list", counted(json_values.decode_list))
    bad = b'7,{"event":null},{"event":"open","x":%s}' % deep(300)
    parsed = sendgrid.to_events(b"[%s]" % b",".join([bad] * 50), PLACE)
    assert len(parsed.bad) == 150
    assert len(readings) == 2


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('a"\\,[]{}ü\x00'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\,[]{}'), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_a_list_are_cut_where_they_end(values: list[object], indent: int | None, escaped: bool) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=escaped).encode()
    assert [json.loads(value) for value in elements_of(body)] == values


@pytest.mark.parametrize("body", [b"", b"{}", b"[1", b"[1]]", b"[1],[2]", b"1]", b"[[1]"])
def test_what_is_no_whole_list_has_no_elements(body: bytes) -> None:
    with pytest.raises(ValueError, match="list"):
        elements_of(body)


@given(JSON_VALUES)
def test_the_nesting_of_a_text_is_that_of_its_value(value: object) -> None:
    def levels(part: object) -> int:
        if isinstance(part, list):
            return 1 + max(map(levels, part), default=0)
        return 1 + max(map(levels, part.values()), default=0) if isinstance(part, dict) else 0

    text = json.dumps(value).encode()
    assert not nests_deeper_than(levels(value), text)
    assert levels(value) == 0 or nests_deeper_than(levels(value) - 1, text)


@pytest.mark.parametrize("body", [b'[["\\', b'[["' + b'\\"[' * 200_000, b'[["' + b"[" * 200_000])
def test_a_text_without_an_end_is_read_once(body: bytes) -> None:
    """Quadratic work would take minutes here, and the test's own time limit would end it."""
    assert not nests_deeper_than(2, body)
