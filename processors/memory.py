"""How a worker uses memory: it makes millions of short-lived objects and no cycles, and now and then large ones."""

import ctypes
import gc
import sys
from typing import Final

import pyarrow as pa

__all__ = ["prepare_memory"]

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_LARGE_BYTES: Final = 128 * 1024
_ARENAS: Final = 2


def prepare_memory() -> None:
    """Make memory fit for a worker that is about to begin; for the whole process.

    Python's collector of cycles is kept quiet. Left alone it walks all that the worker remembers every few seconds:
    60 ms each time for a gate that remembers nothing yet, in which nobody is answered.

    What large records took goes back to the system. By default the allocators of glibc and Arrow keep it: after 20,000
    requests of 300 KB a ledger kept 1.1 GB, and keeps 0.4 GB so. Records of a usual size cost as much as before.
    https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # musl has none, and keeps little
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)  # stated, it grows no more with what was freed
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
