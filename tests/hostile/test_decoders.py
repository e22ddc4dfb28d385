"""Every decoder of our own records: it gives a fact, or raises RecordInvalid. Nothing else, whatever the bytes."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.facts import decode_content, decode_decision, decode_dispatch, decode_request, event_of
from schemas.gate_facts import decode_command, decode_policy, decode_preference
from tests.building import a_place
from tests.hostile.strategies import DEEP, GOOD, bodies, deep, mutated

Decode = Callable[[bytes, Place], object]

DECODERS: Final[Mapping[str, Decode]] = {
    "sends.requested": partial(decode_request, decision_days=30),
    "sends.content": decode_content,
    "sends.decided": decode_decision,
    "sends.dispatched": decode_dispatch,
    "accounts.policies": decode_policy,
    "recipients.preferences": decode_preference,
    "suppressions.commands": decode_command,
}
topics = pytest.mark.parametrize("topic", list(DECODERS))


def decoded(topic: str, value: bytes) -> object:
    """What a decoder gives; None where it refuses."""
    try:
        return DECODERS[topic](value, a_place(topic=topic))
    except RecordInvalid as error:
        refusal = error
    # It goes into a dead letter's headers: it must be text, and not the record over again.
    assert len(refusal.detail.encode()) < 10_000
    return None


@topics
def test_the_good_example_is_taken(topic: str) -> None:
    assert decoded(topic, orjson.dumps(GOOD[topic])) is not None


@topics
@given(value=bodies())
def test_any_bytes_are_taken_or_refused(topic: str, value: bytes) -> None:
    decoded(topic, value)


@topics
@given(data=st.data())
def test_a_record_with_hostile_fields_is_taken_or_refused(topic: str, data: st.DataObject) -> None:
    fact = decoded(topic, data.draw(mutated(GOOD[topic])))
    if fact is not None and topic in ("sends.requested", "sends.decided", "sends.dispatched"):
        event = event_of(fact)  # type: ignore[arg-type]  # these three topics' facts have events
        orjson.dumps([*event])


@pytest.mark.parametrize(
    ("topic", "field"),
    [("recipients.preferences", "recipient_kind"), ("sends.decided", "outcome"), ("suppressions.commands", "action")],
)
def test_a_refusal_names_the_field_and_does_not_repeat_a_long_value(topic: str, field: str) -> None:
    value = orjson.dumps({**GOOD[topic], field: "x" * 20_000})
    with pytest.raises(RecordInvalid) as refused:
        DECODERS[topic](value, a_place(topic=topic))
    assert field in refused.value.detail
    assert len(refused.value.detail) < 1_100


@topics
@pytest.mark.parametrize("levels", DEEP)
@pytest.mark.parametrize("brackets", [b"[]", b"{}"])
def test_an_unknown_field_may_nest_as_deep_as_it_likes(topic: str, levels: int, brackets: bytes) -> None:
    """2 KB of brackets in a field that nobody reads once stopped the gate for ever (C1)."""
    value = orjson.dumps(GOOD[topic])
    decoded(topic, b'{"unknown":' + deep(levels, brackets=brackets) + b"," + value[1:])
