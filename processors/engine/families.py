"""Classify errors of aiokafka producers by what helps: waiting, dropping a record, or a new producer.

aiokafka marks errors as `retriable` and retries those itself, so the flag says little about an error that reaches the
caller. A batch that an idempotent producer gave up already has a sequence number: the broker waits for that number and
refuses every later batch of the partition with OUT_OF_ORDER_SEQUENCE_NUMBER, forever (read in aiokafka 0.14.0,
producer/message_accumulator.py `_pop_batch` and producer/sender.py `_can_retry`). So a "retriable" error may have
broken its producer, and then repeating the call with that producer never succeeds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from aiokafka import errors


class ErrorFamily(StrEnum):
    """What helps."""

    WAIT = "wait"
    """Waiting: Kafka is unavailable or busy, and this producer is fine. The same call may succeed later."""
    RECORD = "record"
    """Nothing: Kafka always refuses this record. Its producer is broken by it and must be replaced."""
    RENEW = "renew"
    """A new producer: the sequence numbers are ahead of the broker's, or the sender task has died."""
    DENIED = "denied"
    """An operator: Kafka forbids it or does not support it. Neither waiting nor a new producer helps."""


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
"""Raised for a batch whose partition had no leader for the request timeout: it has a number and was never sent."""


def error_family(error: BaseException) -> ErrorFamily:
    """Return what helps against an error that a producer's call raised."""
    if isinstance(error, _RECORD):
        return ErrorFamily.RECORD
    if isinstance(error, _DENIED):
        return ErrorFamily.DENIED
    if isinstance(error, _EXPIRED):
        return ErrorFamily.RENEW
    if isinstance(error, errors.KafkaTimeoutError | TimeoutError | ConnectionError):
        return ErrorFamily.WAIT  # no sequence number was used: the buffer was full, or no broker was reachable
    if isinstance(error, errors.KafkaError) and error.retriable:
        return ErrorFamily.WAIT
    return ErrorFamily.RENEW
