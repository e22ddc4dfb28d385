"""Our own records: what is valid, and that the published models and the decoders accept the same records and values."""

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.decoding.ids import uuid7
from schemas.decoding.sends import (
    decode_content,
    decode_decision,
    decode_dispatch,
    decode_erasure,
    decode_request,
    event_of,
)
from schemas.decoding.times import DAY_US, rfc3339
from schemas.errors import RecordInvalid
from schemas.events import SourcePosition
from schemas.providers import ADAPTERS
from schemas.providers.provider_ids import sendgrid_id_key, sendgrid_id_of_event
from schemas.records import ContentErased, Record, SendDecision, SendDispatched, SendRequest

NOW_US = 1_780_000_000_000_000
SOURCE = SourcePosition("sends.requested", 0, 7, NOW_US)
REQUEST: dict[str, Any] = {
    "message_id": uuid7(NOW_US, b"0123456789"),
    "account_id": "acme",
    "channel": "email",
    "template": {"id": "t1", "name": "Reminder", "kind": "transactional"},
    "recipient": {"kind": "client", "id": "c1"},
    "to": "Ann@Example.com",
    "requested_at": rfc3339(NOW_US),
}
FULL = REQUEST | {
    "template": REQUEST["template"] | {"unsubscribe_group": "7"},
    "recipient": REQUEST["recipient"] | {"name": "Ann"},
    "cc": ["bob@example.com"],
    "from": "shop@example.com",
    "subject": "Tomorrow",
    "appointment_id": "a1",
    "metadata": {"k": "v"},
}
DECISION: dict[str, Any] = {
    "message_id": REQUEST["message_id"],
    "account_id": "acme",
    "outcome": "declined",
    "reason": "template_declined",
    "detail": "The client wants no reminders",
    "evidence": ["p1"],
    "decided_at": rfc3339(NOW_US),
    "channel": "email",
    "to": "Ann@Example.com",
    "request": FULL,
}
DISPATCHED: dict[str, Any] = {
    "message_id": REQUEST["message_id"],
    "account_id": "acme",
    "provider": "sendgrid",
    "provider_message_id": "abc.filter0001",
    "dispatched_at": rfc3339(NOW_US),
}
ERASED: dict[str, Any] = {
    "erasure_id": "e1",
    "message_id": REQUEST["message_id"],
    "account_id": "acme",
    "reason": "request 4711",
    "actor": "cli:ann",
    "at": rfc3339(NOW_US),
}


def decode(record: object, source: SourcePosition = SOURCE) -> Any:
    return decode_request(orjson.dumps(record), source, decision_days=30)


def without(record: dict[str, Any], path: str) -> dict[str, Any]:
    copied = copy.deepcopy(record)
    inner = copied
    *above, last = path.split(".")
    for name in above:
        inner = inner[name]
    del inner[last]
    return copied


@pytest.mark.parametrize(
    "path", [*REQUEST, "template.id", "template.name", "template.kind", "recipient.kind", "recipient.id"]
)
def test_a_missing_field_makes_a_request_invalid(path: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        decode(without(REQUEST, path))
    assert caught.value.reason == "record_invalid"
    assert path.rpartition(".")[2] in caught.value.detail


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"message_id": "no uuid"}, "message_id", id="malformed id"),
        pytest.param({"message_id": "018bcfe5-6800-4fff-bfff-ffffffffffff"}, "message_id", id="another version"),
        pytest.param({"message_id": uuid7(1_500_000_000_000_000, b"0" * 10)}, "message_id", id="before 2020"),
        pytest.param(
            {"message_id": uuid7(NOW_US + DAY_US + 1000, b"0" * 10)}, "message_id", id="more than a day ahead"
        ),
        pytest.param(
            {"message_id": uuid7(NOW_US - 30 * DAY_US - 1000, b"0" * 10)}, "message_id", id="older than 30 days"
        ),
        pytest.param({"account_id": "a b"}, "account_id", id="an invalid account id"),
        pytest.param({"account_id": ""}, "account_id", id="blank account id"),
        pytest.param({"channel": "fax"}, "channel", id="unknown channel"),
        pytest.param({"to": "  "}, "to", id="blank To"),
        pytest.param({"requested_at": "yesterday"}, "requested_at", id="no time"),
        pytest.param({"requested_at": rfc3339(NOW_US + DAY_US + 1)}, "requested_at", id="a time more than a day ahead"),
        pytest.param({"cc": "bob@example.com"}, "cc", id="a CC that is not a list"),
        pytest.param({"metadata": {"k": 1}}, "metadata", id="metadata that is not a string"),
    ],
)
def test_a_wrong_value_makes_a_request_invalid(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        decode(REQUEST | change)
    assert field in caught.value.detail


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"{", "record_not_json"), (b"", "record_not_json"), (b"[]", "record_invalid"), (b'"\xff"', "record_not_json")],
)
def test_a_value_that_is_not_an_object_is_rejected_with_its_reason(value: bytes, reason: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        decode_request(value, SOURCE, decision_days=30)
    assert caught.value.reason == reason


def test_a_request_of_more_than_256_kib_is_too_large() -> None:
    with pytest.raises(RecordInvalid) as caught:
        decode(REQUEST | {"subject": "x" * 256 * 1024})
    assert caught.value.reason == "record_too_large"


def test_unknown_fields_are_ignored_and_do_not_change_the_content_hash() -> None:
    assert decode(REQUEST | {"colour": "red"}).content_hash == decode(REQUEST).content_hash


def test_a_message_id_in_capitals_is_the_same_message() -> None:
    assert decode(REQUEST | {"message_id": REQUEST["message_id"].upper()}) == decode(REQUEST)


def test_absent_and_null_options_have_the_same_content_hash() -> None:
    assert decode(REQUEST | {"cc": None, "subject": None}).content_hash == decode(REQUEST).content_hash


@pytest.mark.parametrize("name", ["subject", "from", "appointment_id", "cc", "metadata", "requested_at", "to"])
def test_every_field_is_part_of_the_content_hash(name: str) -> None:
    other = {"cc": ["x@example.com"], "metadata": {"k": "w"}, "requested_at": rfc3339(NOW_US - 1)}.get(
        name, "other@example.com"
    )
    assert decode(FULL | {name: other}).content_hash != decode(FULL).content_hash


def test_a_decision_has_the_content_hash_of_its_request() -> None:
    assert decode_decision(orjson.dumps(DECISION), SOURCE).request.content_hash == decode(FULL).content_hash


def test_a_decision_about_another_message_is_invalid() -> None:
    with pytest.raises(RecordInvalid):
        decode_decision(orjson.dumps(DECISION | {"account_id": "other"}), SOURCE)


@pytest.mark.parametrize(
    ("provider", "given_id", "body"),
    [
        ("sendgrid", "abc", b'[{"event":"delivered","sg_message_id":"abc.recvd-1.0"}]'),
        ("sendgrid", "abc.filter0001", b'[{"event":"delivered","sg_message_id":"abc.recvd-1.0"}]'),
        ("sendgrid", " <abc@ismtpd-5.example> ", b'[{"event":"bounce","smtp-id":"<abc@geopod-7>"}]'),
        ("sendgrid", "abc@ismtpd-5.example", b'[{"event":"delivered","sg_message_id":"abc.stfilter-1.0"}]'),
        ("twilio", " SM1 ", b"MessageSid=SM1&MessageStatus=sent"),
        (
            "postmark",
            "883953F4-6105-42A2-A16A-77A8EAC79483 ",
            b'{"RecordType":"Open","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483"}',
        ),
    ],
)
def test_a_dispatch_matches_its_events_whatever_form_its_id_has(provider: str, given_id: str, body: bytes) -> None:
    record = DISPATCHED | {"provider": provider, "provider_message_id": given_id}
    dispatch = decode_dispatch(orjson.dumps(record), SOURCE)
    (event,) = ADAPTERS[provider](body, SOURCE, ()).events
    assert dispatch.provider_message_id == event.provider_message_id != ""


@pytest.mark.parametrize(
    ("provider", "given_id"),
    [("sendgrid", "<@geopod>"), ("sendgrid", ".recvd-1"), ("postmark", "00000000-0000-0000-0000-000000000000")],
)
def test_a_dispatch_with_an_invalid_id_is_rejected(provider: str, given_id: str) -> None:
    """A blank id would match every event without a message."""
    record = DISPATCHED | {"provider": provider, "provider_message_id": given_id}
    assert not model_accepts(SendDispatched, record)
    with pytest.raises(RecordInvalid, match="provider_message_id: "):
        decode_dispatch(orjson.dumps(record), SOURCE)


def test_the_event_of_a_decision_has_the_reason() -> None:
    event = event_of(decode_decision(orjson.dumps(DECISION), SOURCE))
    assert (event.type, event.code, event.classification) == ("decided", "template_declined", "declined")
    assert orjson.loads(event.extra)["evidence"] == ["p1"]


_numbers: list[Any] = [0, 1, -1, 4711.0, 1.5, -0.0, 1e22, 1e-7, 2**63, 2**64 - 1]
_odd = st.sampled_from(
    [
        None,
        "",
        " ",
        "x",
        True,
        [],
        ["x"],
        [1],
        [1.0, "1"],
        [True],
        {},
        {"k": "v"},
        {"k": None},
        "a@example.com",
        *_numbers,
    ]
)


@st.composite
def _nearly(draw: st.DrawFn, record: dict[str, Any]) -> dict[str, Any]:
    """Draw the record with some fields replaced by odd values, or left out."""
    made = copy.deepcopy(record)
    places = [(made, name) for name in made]
    for name in ("template", "recipient", "request"):
        if isinstance(made.get(name), dict):
            places += [(made[name], inner) for inner in made[name]]
    for holder, name in draw(st.lists(st.sampled_from(places), max_size=3)):
        if draw(st.booleans()):
            holder[name] = draw(_odd)
        else:
            holder.pop(name, None)
    return made


def model_accepts(model: Any, record: object) -> bool:
    try:
        model.model_validate_json(orjson.dumps(record))
    except ValidationError:
        return False
    return True


def decoder_accepts(decoder: Any, record: object) -> bool:
    try:
        decoder(orjson.dumps(record))
    except RecordInvalid:
        return False
    return True


@given(_nearly(FULL))
def test_model_and_decoder_accept_the_same_requests(record: dict[str, Any]) -> None:
    assert model_accepts(SendRequest, record) == decoder_accepts(
        lambda value: decode_request(value, SOURCE, decision_days=30), record
    )


@given(_nearly(DECISION))
def test_model_and_decoder_accept_the_same_decisions(record: dict[str, Any]) -> None:
    request = record.get("request")
    same = isinstance(request, dict) and all(request.get(n) == record.get(n) for n in ("account_id", "message_id"))
    accepted = decoder_accepts(lambda value: decode_decision(value, SOURCE), record)
    # The models check single fields; only the decoder checks that the request is about the same message.
    assert accepted == (model_accepts(SendDecision, record) and same)


@given(_nearly(DISPATCHED))
def test_model_and_decoder_accept_the_same_dispatches(record: dict[str, Any]) -> None:
    accepted = decoder_accepts(lambda value: decode_dispatch(value, SOURCE), record)
    assert accepted == model_accepts(SendDispatched, record)


@given(_nearly(ERASED))
def test_model_and_decoder_accept_the_same_erasures(record: dict[str, Any]) -> None:
    accepted = decoder_accepts(lambda value: decode_erasure(value, SOURCE), record)
    assert accepted == model_accepts(ContentErased, record)


@given(_nearly(FULL))
def test_model_and_decoder_read_the_same_values(record: dict[str, Any]) -> None:
    if not model_accepts(SendRequest, record):
        return
    model = SendRequest.model_validate_json(orjson.dumps(record))
    again = decode(orjson.loads(model.model_dump_json(by_alias=True)))
    assert again == decode(record)


@given(_nearly(DECISION) | _nearly(DISPATCHED))
def test_model_and_decoder_read_the_same_values_of_a_decision_and_a_dispatch(record: dict[str, Any]) -> None:
    kind: type[Record] = SendDispatched if "dispatched_at" in record else SendDecision
    read: Callable[[bytes, SourcePosition], Any] = decode_dispatch if kind is SendDispatched else decode_decision
    value = orjson.dumps(record)
    if decoder_accepts(lambda v: read(v, SOURCE), record):
        assert read(kind.model_validate_json(value).model_dump_json(by_alias=True).encode(), SOURCE) == read(
            value, SOURCE
        )


@pytest.mark.parametrize(("number", "text"), [(4711, "4711"), (4711.0, "4711"), (0, "0"), (-5, "-5"), (1.5, "1.5")])
def test_a_numeric_id_is_converted_to_a_string(number: float, text: str) -> None:
    def with_ids(given_id: object) -> dict[str, Any]:
        return FULL | {
            "account_id": given_id,
            "template": FULL["template"] | {"id": given_id, "unsubscribe_group": given_id},
            "recipient": FULL["recipient"] | {"id": given_id},
            "appointment_id": given_id,
        }

    request = decode(with_ids(number))
    ids = (request.account_id, request.template_id, request.unsubscribe_group, request.recipient_id)
    assert (*ids, request.appointment_id) == (text,) * 5
    assert request == decode(with_ids(text))


def test_an_id_of_a_dispatch_or_a_decision_may_be_a_number() -> None:
    dispatch = DISPATCHED | {"provider": "twilio", "provider_message_id": 4711}
    assert decode_dispatch(orjson.dumps(dispatch), SOURCE).provider_message_id == "4711"
    assert decode_decision(orjson.dumps(DECISION | {"evidence": [7, "p1"]}), SOURCE).evidence == ("7", "p1")


@pytest.mark.parametrize("path", ["template.id", "template.unsubscribe_group", "recipient.id", "appointment_id"])
def test_a_boolean_is_not_an_id(path: str) -> None:
    record = copy.deepcopy(FULL)
    *above, last = path.split(".")
    holder = record[above[0]] if above else record
    holder[last] = True
    assert not model_accepts(SendRequest, record)
    with pytest.raises(RecordInvalid):
        decode(record)


@pytest.mark.parametrize(
    ("offset_us", "valid"), [(-DAY_US, True), (DAY_US, True), (-DAY_US - 1, False), (-40 * 365 * DAY_US, False)]
)
def test_a_request_is_made_within_a_day_of_its_id(offset_us: int, valid: bool) -> None:
    """Otherwise it could evade a block since yesterday, or the end of a trial."""
    requested_at = rfc3339(NOW_US + offset_us)
    told = orjson.dumps(DECISION | {"request": FULL | {"requested_at": requested_at}})
    if valid:
        assert decode(REQUEST | {"requested_at": requested_at}).requested_us == NOW_US + offset_us
        assert decode_decision(told, SOURCE).request.requested_us == NOW_US + offset_us
        return
    for read in (lambda: decode(REQUEST | {"requested_at": requested_at}), lambda: decode_decision(told, SOURCE)):
        with pytest.raises(RecordInvalid) as caught:
            read()
        assert caught.value.detail == "requested_at: is more than a day from the time of the message_id"


@pytest.mark.parametrize(
    ("record", "read"),
    [
        pytest.param(DECISION, decode_decision, id="decision"),
        pytest.param(DISPATCHED, decode_dispatch, id="dispatch"),
        pytest.param(ERASED, decode_erasure, id="erasure"),
        pytest.param({"text": "Hi"}, decode_content, id="content"),
    ],
)
def test_the_time_in_an_id_is_no_more_than_a_day_ahead_in_any_record(
    record: dict[str, Any], read: Callable[[bytes, SourcePosition], Any]
) -> None:
    at_us = NOW_US - 2 * DAY_US
    late = SOURCE._replace(received_us=at_us)
    said = {"message_id": REQUEST["message_id"], "account_id": "acme"} | record
    said |= {name: rfc3339(at_us) for name in ("decided_at", "dispatched_at", "at") if name in said}
    with pytest.raises(RecordInvalid, match="ahead"):
        read(orjson.dumps(said), late)


ID_PARTS = st.lists(
    st.sampled_from(["<", ">", "@", ".filter", ".recvd-1", ".stfilter", "filter", "recvd", "a", "b.c", " ", "."]),
    max_size=6,
).map("".join)


@given(ID_PARTS, ID_PARTS)
def test_the_id_of_an_event_has_the_same_form_as_in_a_dispatch(sg_message_id: str, smtp_id: str) -> None:
    key = sendgrid_id_of_event(sg_message_id, smtp_id)
    assert key in {sendgrid_id_key(sg_message_id), sendgrid_id_key(smtp_id)}
    assert sendgrid_id_of_event(sg_message_id, "") == sendgrid_id_key(sg_message_id)
    local = sendgrid_id_key(smtp_id)
    if local and sg_message_id.strip().startswith(local):
        assert key == local
