"""A table that is restored from its changelog rows equals the table that wrote them."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import TP, keyed_topics
from processors.engine.changelog import POSITION_KEY, Table, changelog_config, rows_of
from processors.engine.errors import StateUnreadable
from processors.engine.transactions import partition_of
from tests.engine.building import StubRecord
from tests.engine.keyed_worker import COUNTS

P2 = TP("events", 2)
keys = st.sampled_from([b"", b"ann", b"bob", b"\x00", b"\xff"])
changes = st.dictionaries(keys, st.one_of(st.none(), st.integers(0, 9)))


@given(st.lists(changes, max_size=8))
def test_a_restored_table_equals_the_applied_one(batches: list[dict[bytes, int | None]]) -> None:
    live, restored = Table[int](P2), Table[int](P2)
    for position, changed in enumerate(batches, start=1):
        rows = rows_of(changed, COUNTS, changelog="log", source=P2, position=position, partitions=4)
        live.apply(changed, position)
        for row in rows:
            restored.take(StubRecord(0, key=row.key, value=row.value), COUNTS)
    assert (restored.rows, restored.position) == (live.rows, live.position)


@given(st.lists(changes, min_size=1, max_size=8))
def test_compaction_changes_nothing(batches: list[dict[bytes, int | None]]) -> None:
    live, restored = Table[int](P2), Table[int](P2)
    latest: dict[bytes | None, bytes | None] = {}
    for position, changed in enumerate(batches, start=1):
        live.apply(changed, position)
        for row in rows_of(changed, COUNTS, changelog="log", source=P2, position=position, partitions=4):
            latest.pop(row.key, None)
            latest[row.key] = row.value
    for key, value in latest.items():
        restored.take(StubRecord(0, key=key, value=value), COUNTS)
    assert (restored.rows, restored.position) == (live.rows, live.position)


def test_every_row_goes_to_the_partition_of_its_source() -> None:
    rows = rows_of({b"ann": 1, b"bob": None}, COUNTS, changelog="log", source=P2, position=7, partitions=4)
    assert [(row.topic, row.key, row.value, row.partition) for row in rows] == [
        ("log", b"ann", b"1", 2),
        ("log", b"bob", None, 2),
        ("log", POSITION_KEY, b'{"offset": 7, "partitions": 4}', 2),
    ]


def test_the_initial_partition_count_is_kept() -> None:
    table = Table[int](P2)
    for row in rows_of({}, COUNTS, changelog="log", source=P2, position=0, partitions=4):
        table.take(StubRecord(0, key=row.key, value=row.value), COUNTS)
    assert table.initial_partitions == 4


def test_a_reset_table_is_empty() -> None:
    table = Table[int](P2, {b"ann": 1}, position=7, initial_partitions=4)
    table.reset()
    assert table == Table[int](P2)


def test_a_row_that_cannot_be_decoded_is_reported_with_its_position() -> None:
    with pytest.raises(StateUnreadable, match="topic log, partition 2, offset 5"):
        Table[int](P2).take(StubRecord(5, "log", 2, key=b"ann", value=b"many"), COUNTS)


def test_a_changelog_keeps_the_latest_of_each_key_and_nothing_by_age() -> None:
    source, changelog = keyed_topics("events", "events.log", 6, source_config={"retention.ms": "86400000"})
    assert (source.name, source.partitions, source.config) == ("events", 6, {"retention.ms": "86400000"})
    assert (changelog.name, changelog.partitions, changelog.config) == ("events.log", 6, changelog_config())
    assert changelog.config["cleanup.policy"] == "compact"


@given(st.binary(max_size=40), st.integers(1, 50))
def test_a_key_gets_the_same_partition_as_in_other_clients(key: bytes, partitions: int) -> None:
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)


def test_without_a_key_a_record_stays_in_its_partition() -> None:
    assert partition_of(None, 4, default_partition=6) == 2
