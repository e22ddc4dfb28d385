"""How a worker uses memory: it makes millions of short-lived objects and no cycles, and now and then large ones."""

import ctypes
import gc
import sys

__all__ = ["calm_collector", "give_back"]


def calm_collector() -> None:
    """Leave what there is now out of account, and look for cycles seldom. For a worker about to begin.

    Left alone Python's collector walks all that the worker remembers every few seconds: 60 ms each time for a gate that
    remembers nothing yet, in which nobody is answered.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def give_back() -> None:
    """Return freed memory to the operating system; takes some milliseconds. For a worker that processed large records.

    glibc keeps freed memory for later: a ledger kept 1.1 GB after 20,000 requests of 300 KB. Limits of the allocator
    (mallopt) would mend that too, but cost 9 % of the worker's time for ordinary records.
    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # musl has none, and keeps little
        libc.malloc_trim(0)
