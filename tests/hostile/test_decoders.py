"""Decoders of our own records: for any bytes they return a fact or raise RecordInvalid, and nothing else."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoding.gate_inputs import decode_command, decode_policy, decode_preference
from schemas.decoding.sends import (
    decode_content,
    decode_decision,
    decode_dispatch,
    decode_erasure,
    decode_request,
    event_of,
)
from schemas.errors import RecordInvalid
from schemas.events import SourcePosition
from tests.building import a_source_position
from tests.hostile.strategies import DEEP, GOOD, bodies, deep, mutated

Decode = Callable[[bytes, SourcePosition], object]

DECODERS: Final[Mapping[str, Decode]] = {
    "sends.requested": partial(decode_request, decision_days=30),
    "sends.content": decode_content,
    "sends.decided": decode_decision,
    "sends.dispatched": decode_dispatch,
    "sends.erased": decode_erasure,
    "accounts.policies": decode_policy,
    "recipients.preferences": decode_preference,
    "suppressions.commands": decode_command,
}
topics = pytest.mark.parametrize("topic", list(DECODERS))


def decoded(topic: str, value: bytes) -> object:
    """Return the fact that a decoder returns; None if it raises RecordInvalid."""
    try:
        return DECODERS[topic](value, a_source_position(topic=topic))
    except RecordInvalid as error:
        refusal = error
    # The detail goes into a dead letter's headers: it must be text, and much shorter than the record.
    assert len(refusal.detail.encode()) < 10_000
    return None


@topics
def test_the_valid_example_is_decoded(topic: str) -> None:
    assert decoded(topic, orjson.dumps(GOOD[topic])) is not None


@topics
@given(value=bodies())
def test_any_bytes_are_decoded_or_rejected(topic: str, value: bytes) -> None:
    decoded(topic, value)


@topics
@given(data=st.data())
def test_a_record_with_hostile_fields_is_decoded_or_rejected(topic: str, data: st.DataObject) -> None:
    fact = decoded(topic, data.draw(mutated(GOOD[topic])))
    if fact is not None and topic in ("sends.requested", "sends.decided", "sends.dispatched"):
        event = event_of(fact)  # type: ignore[arg-type]  # these three topics' facts have events
        orjson.dumps([*event])


@pytest.mark.parametrize(
    ("topic", "field"),
    [("recipients.preferences", "recipient_kind"), ("sends.decided", "outcome"), ("suppressions.commands", "action")],
)
def test_an_error_names_the_field_and_does_not_repeat_a_long_value(topic: str, field: str) -> None:
    value = orjson.dumps({**GOOD[topic], field: "x" * 20_000})
    with pytest.raises(RecordInvalid) as refused:
        DECODERS[topic](value, a_source_position(topic=topic))
    assert field in refused.value.detail
    assert len(refused.value.detail) < 1_100


@topics
@pytest.mark.parametrize("levels", DEEP)
@pytest.mark.parametrize("brackets", [b"[]", b"{}"])
def test_an_unknown_field_may_nest_at_any_depth(topic: str, levels: int, brackets: bytes) -> None:
    """2 KB of brackets in an unknown field once stopped the gate permanently."""
    value = orjson.dumps(GOOD[topic])
    decoded(topic, b'{"unknown":' + deep(levels, brackets=brackets) + b"," + value[1:])
