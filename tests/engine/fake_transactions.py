"""Transactions without a broker. `test_transactions.py` runs the same tests on real ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from processors.engine import TP, Output, TransientDependencyError
from processors.engine.errors import Fenced


@dataclass
class Log:
    """What `read_committed` readers see, and who owns which transactional id."""

    visible: dict[str, list[Output]] = field(default_factory=lambda: defaultdict(list))
    offsets: dict[TP, int] = field(default_factory=dict)
    owners: dict[str, object] = field(default_factory=dict)


class FakeTransactions:
    """Transactions over a `Log`. `errors` are raised by the next writes, one each."""

    def __init__(self, log: Log, transactional_id: str = "id") -> None:
        self._log, self._id = log, transactional_id
        self._open: tuple[list[Output], TP | None, int] | None = None
        self.errors: list[Exception] = []
        self.attempts = 0
        self.closed = False

    async def start(self) -> None:
        self._log.owners[self._id] = self

    async def write(self, outputs: Sequence[Output], source: TP | None = None, offset: int = 0) -> None:
        self.attempts += 1
        self._still_owner()
        if self.errors:
            raise self.errors.pop(0)
        self._open = (list(outputs), source, offset)

    async def commit(self) -> None:
        self._still_owner()
        assert self._open is not None
        outputs, source, offset = self._open
        for output in outputs:
            self._log.visible[output.topic].append(output)
        if source is not None:
            self._log.offsets[source] = offset
        self._open = None

    async def close(self) -> None:
        self._open = None
        self.closed = True

    def _still_owner(self) -> None:
        if self._log.owners.get(self._id) is not self:
            raise Fenced("fenced", where=self._id, mend="")


UNAVAILABLE = TransientDependencyError("the broker is unavailable")
