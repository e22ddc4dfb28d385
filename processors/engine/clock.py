"""The clock that everything in the engine is given, so that a test or a simulation can own the time.

An app has one (`MicroBatchApp(clock=)`), and its consumer, writers and agents read that one. Waiting is asyncio's: a
simulation that owns the clock owns the event loop too.
"""

from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds from any start, and never goes back: `time.monotonic`."""
