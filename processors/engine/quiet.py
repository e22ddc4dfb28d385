"""Keep one cause from filling the log: with the broker away, aiokafka logs tens of errors a second."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic


class OncePer(logging.Filter):
    """Lets one record of a kind through per interval, and lets the next one tell how many it stands for.

    A kind is a logger, a level and a message before its arguments are put in: offsets and addresses don't count.
    """

    def __init__(self, seconds: float = 30.0, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._shown: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.levelno, str(record.msg))
        shown_at, hidden = self._shown.get(kind, (float("-inf"), 0))
        now = self._clock()
        if now - shown_at < self._seconds:
            self._shown[kind] = (shown_at, hidden + 1)
            return False
        self._shown[kind] = (now, 0)
        if hidden:
            record.msg = f"{record.msg} (and {hidden} more like it)"
        return True


def quieten(package: str, seconds: float = 30.0) -> None:
    """Rate-limit the warnings and errors of every logger in `package`, once."""
    once = OncePer(seconds)
    # A logger's filters don't see its children's records, so each one gets it.
    names = [package, *(name for name in logging.root.manager.loggerDict if name.startswith(package + "."))]
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(present, OncePer) for present in logger.filters):
            logger.addFilter(once)
