"""Memory that workers return to the operating system."""

import subprocess
import sys

import pytest

# 200 MB in blocks that the allocator keeps in its heap, with one in a hundred still in use, as after a large group.
KEEPING = """
import os
from processors.memory_tuning import release_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [bytes(100_000) + b"x" for _ in range(2_000)]
kept = blocks[::100]
del blocks
before = resident()
release_memory()
print(before - resident())
"""


@pytest.mark.process
def test_what_large_records_took_goes_back_to_the_system() -> None:
    said = subprocess.run([sys.executable, "-c", KEEPING], capture_output=True, text=True, check=True, timeout=60)
    assert int(said.stdout) > 150_000_000
