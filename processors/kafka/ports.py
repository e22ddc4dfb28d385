"""What our programs need of a Kafka producer. `Producer` is the real one. It and the fake pass the same contract tests
(tests/contracts/test_record_producer.py).

The port of transactional producers is `processors.engine.Transactions`.
"""

from collections.abc import Sequence
from typing import Protocol

from processors.engine import Output

__all__ = ["RecordProducer"]


class RecordProducer(Protocol):
    """Writes records. When a call returns, its records are on all in-sync replicas."""

    @property
    def healthy(self) -> bool:
        """Whether it can write, as far as it knows."""

    async def start(self) -> None:
        """Connect. Raises BrokerError."""

    async def stop(self) -> None:
        """Close. Never raises."""

    async def metadata(self) -> frozenset[str]:
        """Ask Kafka for its topics. Raises BrokerError."""

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write a few records.

        Raises RecordRefused with the indexes of the records that Kafka will never take: all others are written. Raises
        BrokerError where the call may succeed later: then each record may be written or not.
        """

    async def send_batches(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write many records. Raises what `send_all` raises."""
