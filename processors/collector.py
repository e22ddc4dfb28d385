"""Python's collector of cycles, kept quiet: a worker makes millions of short-lived objects and no cycles.

Left alone it walks all that the worker remembers every few seconds: 60 ms each time for a gate that remembers nothing
yet, in which nobody is answered.
"""

import gc

__all__ = ["calm_collector"]


def calm_collector() -> None:
    """Leave what there is now out of account, and look for cycles seldom. For a worker about to begin."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
