"""Whose fault an error of aiokafka is: waiting mends it, one record is to blame, or only a new producer helps.

aiokafka says of an error whether it is `retriable`, and retries those itself. That is not the question that is left
when an error comes out of it. A batch that an idempotent producer gave up was numbered already: the broker waits for
that number, and refuses every later batch of the partition with OUT_OF_ORDER_SEQUENCE_NUMBER, for ever (read in
aiokafka 0.14.0, producer/message_accumulator.py `_pop_batch` and producer/sender.py `_can_retry`). So an error that is
"retriable" by name may have broken its producer, and repeating the call with it never succeeds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from aiokafka import errors


class Family(StrEnum):
    """What helps."""

    WAIT = "wait"
    """Time: Kafka is away or busy, and this producer is fine. The same call may succeed later."""
    RECORD = "record"
    """Nothing: Kafka refuses this record whatever is tried. Its producer is broken by it, and must be renewed."""
    RENEW = "renew"
    """A new producer: its numbering is ahead of the broker's, or its sender has died."""
    DENIED = "denied"
    """An operator: Kafka forbids it, or does not know how. Neither time nor a new producer helps."""


_RECORD: Final = (
    errors.MessageSizeTooLargeError,
    errors.RecordTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidTimestampError,
)

_DENIED: Final = (
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.InvalidTopicError,
    errors.InvalidRequiredAcksError,
    errors.UnsupportedVersionError,
    errors.IncompatibleBrokerVersion,
    errors.UnsupportedForMessageFormatError,
    errors.PolicyViolationError,
    errors.SecurityDisabled,
)

_EXPIRED: Final = (errors.LeaderNotAvailableError, errors.NotLeaderForPartitionError)
"""What a batch is given up with whose partition had no leader for the request timeout: numbered, and never sent."""


def family(error: BaseException) -> Family:
    """Return what helps against an error that came out of a producer's call."""
    if isinstance(error, _RECORD):
        return Family.RECORD
    if isinstance(error, _DENIED):
        return Family.DENIED
    if isinstance(error, _EXPIRED):
        return Family.RENEW
    if isinstance(error, errors.KafkaTimeoutError | TimeoutError | ConnectionError):
        return Family.WAIT  # nothing was numbered: there was no room for it, or nobody to ask
    if isinstance(error, errors.KafkaError) and error.retriable:
        return Family.WAIT
    return Family.RENEW
