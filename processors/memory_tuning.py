"""Tune memory use of a worker: it creates millions of short-lived objects without cycles, and sometimes large ones."""

import ctypes
import gc
import sys

__all__ = ["release_memory", "tune_gc"]


def tune_gc() -> None:
    """Exclude all current objects from garbage collection, and run it rarely. Call it when a worker is about to start.

    By default, Python's collector visits all objects of the worker every few seconds. That takes 60 ms for a gate
    without state, and nothing else runs meanwhile.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def release_memory() -> None:
    """Return freed memory to the operating system; takes some milliseconds. Call it after large records.

    glibc keeps freed memory for reuse: a ledger kept 1.1 GB after 20,000 requests of 300 KB. Allocator limits (mallopt)
    would help too, but cost 9 % of the worker's time for ordinary records.
    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    # musl has no malloc_trim, and keeps little.
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
