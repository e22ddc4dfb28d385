"""The exit guard, on its own in a process: the stops that need it have tests with a broker (`test_pitfalls.py`)."""

import asyncio
import os
import sys
from typing import Final

import pytest

from tests.local.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.process

HANGS: Final = """
import threading
from processors.engine.run import _guard
_guard(4, 0.1)
threading.Event().wait()
"""


async def test_it_ends_a_process_whose_stderr_nobody_reads() -> None:
    """As in `sendledger rebuild 2>&1 | head`: the guard once ended there before it had ended the process."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", HANGS, stderr=writer)
    finally:
        os.close(writer)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 4
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
