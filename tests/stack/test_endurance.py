"""All three providers over signed posts, with workers that die, join and leave; then the oracle."""

from pathlib import Path

import pytest

from deploy.local.stack import local_stack
from tests.local.ports import free_port_base
from tests.stack.endurance import endure

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]


async def test_the_results_are_what_the_oracle_expects(tmp_path: Path) -> None:
    # A stack of its own: the lag of topics that other tests fill would never end.
    async with local_stack(tmp_path, free_port_base()) as stack:
        report = await endure(stack, tmp_path, messages=2_000, seed=1, via="http", kills=4)
    assert report.differences == []
    assert (report.kills, report.left_with) == (4, (0, 0))
    assert report.rows >= 2_000
