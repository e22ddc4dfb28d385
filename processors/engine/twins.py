"""Notice that another worker runs under this worker's instance name.

Kafka lets the newer of two members with one `group.instance.id` in and puts the older out; aiokafka's older one then
joins again, and so on for ever: nothing is lost, much is done twice, little gets done. Kafka would say "fenced" to
newer heartbeats than aiokafka sends, so the sign to go by is the member id: an instance keeps it through rebalances and
restarts of others, and gets a new one only when its session ran out or a twin took its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from processors.engine.errors import InstanceTaken


class Twins:
    """Counts the member ids that one instance was given lately."""

    def __init__(
        self, instance: str | None, most: int = 3, within_seconds: float = 60.0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._instance, self._most, self._within, self._clock = instance, most, within_seconds, clock
        self._member: str | None = None
        self._changes: deque[float] = deque()

    def joined_as(self, member: str) -> None:
        """Take in the member id of an assignment. Raises InstanceTaken at the third change within a minute."""
        if self._instance is None or member == self._member:
            return
        first, self._member = self._member is None, member
        if first:
            return
        now = self._clock()
        self._changes.append(now)
        while now - self._changes[0] > self._within:
            self._changes.popleft()
        if len(self._changes) >= self._most:
            raise InstanceTaken(
                f"put out of the group {len(self._changes)} times in {self._within:.0f} s by a member of the same name",
                where=f"instance {self._instance!r}",
                mend="Another worker runs under this name: give each replica its own, or end the other one.",
            )
