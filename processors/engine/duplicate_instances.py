"""Detect another worker that runs under this worker's instance name.

Kafka admits the newer of two members with one `group.instance.id` and removes the older one. aiokafka's older member
then joins again, and so on: nothing is lost, but much is done twice and little progress is made. Kafka would report
"fenced" to newer heartbeats than aiokafka sends, so the detector looks at the member id: an instance keeps it through
rebalances and restarts of others, and gets a new one only if its session expired or a duplicate took its place.
"""

from __future__ import annotations

from collections import deque

from processors.engine.clock import Clock
from processors.engine.errors import InstanceTaken


class DuplicateInstanceDetector:
    """Counts how often the member id of one instance changed recently."""

    def __init__(self, instance: str | None, most: int = 3, within_seconds: float = 60.0, *, clock: Clock) -> None:
        self._instance, self._most, self._within, self._clock = instance, most, within_seconds, clock
        self._member: str | None = None
        self._changes: deque[float] = deque()

    def joined_as(self, member: str) -> None:
        """Note the member id of an assignment. Raises InstanceTaken at the third change within a minute."""
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
                f"removed from the group {len(self._changes)} times in {self._within:.0f} s by a member of the same "
                "name",
                where=f"instance {self._instance!r}",
                mend="Another worker runs under this name: give each replica its own name, or stop the other one.",
            )
