"""The number into which a request or decision is packed: it unpacks to the same values, and its order is right."""

from hypothesis import given
from hypothesis import strategies as st

from projections.messages.arrow_types import INVERSE, address_hash
from projections.messages.intents import CHANNELS, KINDS, intent, read_intent
from projections.messages.outcomes import OUTCOMES
from schemas.decoding.sends import Request
from tests.building import a_request

_hashes = st.integers(0, (1 << 64) - 1)
_times = st.integers(0, INVERSE)
_requests = st.builds(
    a_request,
    channel=st.sampled_from(CHANNELS[1:]),
    recipient_kind=st.sampled_from(KINDS),
    to=st.sampled_from(["ann@example.com", "+15550000001"]),
)


@given(st.sampled_from([1, 2]), _times, _hashes, _requests, st.sampled_from([0, *OUTCOMES.values()]))
def test_it_unpacks_to_what_was_packed(
    known: int, inverse_at: int, inverse_hash: int, request: Request, outcome: int
) -> None:
    unpacked = read_intent(int.from_bytes(intent(known, inverse_at, inverse_hash, request, outcome), "little"))
    to_hash = 0 if request.channel == "sms" else address_hash(request.to_key)
    assert unpacked == (known, inverse_at, outcome, request.channel, request.recipient_kind, to_hash)


@given(*[st.tuples(st.sampled_from([1, 2]), _times, _hashes)] * 2, _requests, _requests)
def test_it_is_ordered_by_kind_of_record_then_time_then_hash(
    one: tuple[int, int, int], other: tuple[int, int, int], mine: Request, yours: Request
) -> None:
    if one != other:
        first, second = (
            int.from_bytes(intent(*order, request, 1), "little") for order, request in ((one, mine), (other, yours))
        )
        assert (first > second) == (one > other)
