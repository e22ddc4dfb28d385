"""The lag of a worker, as it reports it itself."""

from __future__ import annotations

import re

import pytest

from processors.kafka.cluster import describe_cluster
from tests.engine.conftest import NewWorker
from tests.engine.topics import Topics
from tests.local.waiting import until

pytestmark = pytest.mark.kafka


async def test_a_worker_knows_its_lag(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name, partitions=1)
    wanted = await topics.fill_n(name, 2_000, partitions=1)
    worker = await new_worker(records=200, max_poll_records=100, within=0.01).start()
    await worker.has(wanted)
    assert await worker.terminate() == 0
    written, known = 0, []
    for line in worker.lines():
        if match := re.fullmatch(r"# lag (\d+)", line):
            # Written records may not be acknowledged yet; acknowledged ones are written.
            assert len(wanted) - written <= int(match[1]) <= len(wanted)
            known.append(int(match[1]))
        written += not line.startswith("#")
    assert known[0] == len(wanted)
    assert known[-1] < len(wanted)
    assert known == sorted(known, reverse=True)


async def test_what_arrives_while_a_partition_is_full_counts(topics: Topics, name: str, new_worker: NewWorker) -> None:
    """A full partition is not fetched: with a store that is away, the lag would stay as it was."""
    await topics.make(name, partitions=1)
    await topics.fill(name, [b"x" * 20_000] * 300, partitions=1)  # small records would not fill it
    worker = await new_worker(records=20, max_poll_records=20, within=0.01, store_away=True).start()
    await until(lambda: "# begun" in worker.lines(), "the first write")
    await topics.fill_n(name, 3_000, partitions=1)
    await until(lambda: "# lag 3300" in worker.lines(), "a lag with what came later")


async def test_before_its_start_a_worker_has_no_lag(topics: Topics, name: str) -> None:
    from processors.engine import MicroBatchApp

    app = MicroBatchApp(name, broker=f"kafka://{topics.bootstrap}", datadir="unused")
    assert app.lag() == {}


async def test_a_group_description_has_the_assigned_partitions(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name, partitions=3)
    before = (await describe_cluster(topics.bootstrap, [], [name])).groups[name]
    assert (before.members, before.assigned) == (0, None)
    worker = await new_worker().start()
    await worker.ready()
    found = (await describe_cluster(topics.bootstrap, [], [name])).groups[name]
    assert (found.members, found.assigned) == (1, frozenset((name, partition) for partition in range(3)))
