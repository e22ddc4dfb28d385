"""The decoder of each topic: the one table from a topic's name to the function that reads its records.

In:  the value, the source position and the headers of a record.
Out: what the record says, as one of the types of `Decoded`; or `RecordInvalid`, whose record becomes a dead letter.

Ledger and gate choose by the type of the result what to do with it. So a new topic is one line here, and the type
checker names every reader that does not handle its type yet.
"""

from collections.abc import Callable, Mapping
from functools import partial

from pydantic import ValidationError

from schemas.decoding.checks import decoder
from schemas.decoding.gate_inputs import (
    Command,
    Policy,
    Preference,
    decode_command,
    decode_policy,
    decode_preference,
)
from schemas.decoding.sends import (
    Content,
    Decision,
    Dispatch,
    Erasure,
    Request,
    decode_content,
    decode_decision,
    decode_dispatch,
    decode_erasure,
    decode_request,
)
from schemas.errors import RecordInvalid
from schemas.events import Headers, Parsed, SourcePosition
from schemas.providers import ADAPTERS
from schemas.records import problems
from schemas.suppressions import SuppressionState
from schemas.topics import (
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SENDS_ERASED,
    SENDS_REQUESTED,
    SUPPRESSIONS_CHANGED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)

__all__ = ["Decode", "Decoded", "OwnRecord", "decoders"]

OwnRecord = Request | Decision | Dispatch | Content | Erasure | SuppressionState | Command | Policy | Preference
Decoded = Parsed | OwnRecord
"""What a record says. `Parsed` is a webhook's: it has its own rejections, since some of its elements may be invalid."""

Decode = Callable[[bytes, SourcePosition, Headers], Decoded]


def decoders(*, decision_days: int) -> Mapping[str, Decode]:
    """Return the decoder of each topic, by name. All topics have one, except for those of dead letters.

    A request is invalid if its message id is older than `decision_days`.
    """
    return {
        SENDS_REQUESTED.name: _by_value(partial(decode_request, decision_days=decision_days)),
        SENDS_CONTENT.name: _by_value(decode_content),
        SENDS_DECIDED.name: _by_value(decode_decision),
        SENDS_DISPATCHED.name: _by_value(decode_dispatch),
        SENDS_ERASED.name: _by_value(decode_erasure),
        ACCOUNTS_POLICIES.name: _by_value(decode_policy),
        RECIPIENTS_PREFERENCES.name: _by_value(decode_preference),
        SUPPRESSIONS_COMMANDS.name: _by_value(decode_command),
        SUPPRESSIONS_CHANGED.name: _by_value(_decode_suppression_state),
        **{WEBHOOKS[provider].name: to_events for provider, to_events in ADAPTERS.items()},
    }


def _by_value(decode: Callable[[bytes, SourcePosition], Decoded]) -> Decode:
    """Only webhooks need their headers: our own records say everything in their value."""
    return lambda value, source, _headers: decode(value, source)


@decoder
def _decode_suppression_state(value: bytes, source: SourcePosition) -> SuppressionState:
    """Return the state of one record of `suppressions.changed`. Raises RecordInvalid."""
    try:
        return SuppressionState.model_validate_json(value)
    except ValidationError as error:
        raise RecordInvalid("record_invalid", problems(error), source) from None  # the cause would contain the value
