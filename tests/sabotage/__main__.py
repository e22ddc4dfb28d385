"""`python -m tests.sabotage`: print each sabotage and its first difference, as a table for the docs."""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.local.stack import local_stack
from tests.local.ports import free_port_base
from tests.sabotage.pipeline import differences, make_workload
from tests.sabotage.sabotages import ACKNOWLEDGED_FIRST, SABOTAGES
from tests.sabotage.test_sabotage import MESSAGES, SEED


async def main() -> None:
    """Print the table."""
    workload = make_workload(MESSAGES, SEED)
    with TemporaryDirectory() as folder:
        async with local_stack(Path(folder), free_port_base()) as stack:
            for name, sabotage in SABOTAGES.items():
                with pytest.MonkeyPatch.context() as patch:
                    sabotage(patch)
                    found = await asyncio.to_thread(
                        differences, stack.clickhouse_url, workload, acknowledged_first=name == ACKNOWLEDGED_FIRST
                    )
                first = found[0]
                description = f"{first.of}, `{first.name}`: expected `{first.expected}`, found `{first.found}`"
                sys.stdout.write(f"| {name} | {len(found):,} | {description} |\n")


asyncio.run(main())
