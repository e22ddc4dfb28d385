"""Limit repeated log lines: while the broker is unavailable, aiokafka logs tens of errors per second."""

from __future__ import annotations

import logging
from time import monotonic

from processors.engine.clock import Clock


class RepeatFilter(logging.Filter):
    """Passes one log record of a kind per interval; the next one says how many were suppressed.

    A kind is a logger, a level and a message before its arguments are formatted: offsets and addresses don't matter.
    """

    def __init__(self, seconds: float = 30.0, clock: Clock = monotonic) -> None:
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


def limit_repeated_logs(package: str, seconds: float = 30.0) -> None:
    """Rate-limit the warnings and errors of every logger in `package`, once."""
    limit = RepeatFilter(seconds)
    # The filters of a logger are not applied to records of its children, so each logger gets the filter.
    names = [package, *(name for name in logging.root.manager.loggerDict if name.startswith(package + "."))]
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(present, RepeatFilter) for present in logger.filters):
            logger.addFilter(limit)
