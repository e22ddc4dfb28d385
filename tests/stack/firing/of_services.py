"""Exercises with Kafka and ClickHouse: stopped, frozen, limited, filled."""

import asyncio
import signal
from typing import Final

import orjson

from schemas.topics import WEBHOOKS
from tests.stack.firing.acts import deliveries, looks
from tests.stack.firing.exercise import Exercise, NotHere
from tests.stack.firing.runbooks import page
from tests.stack.firing.stand import Stand
from tests.stack.firing.topic_settings import change_topic
from tests.stack.firing.traffic import delivered, requests, usual

__all__ = ["FROZEN_OR_STOPPED", "LIMITED_OR_FULL"]

_FREEZE_SECONDS: Final = 35.0
"""Over the 30 seconds from which a delay counts as high."""
_BROKER_FREEZE_SECONDS: Final = 4.0
_MANY_RECORDS: Final = 12_000
_PARTS: Final = 320
_SENDGRID: Final = WEBHOOKS["sendgrid"].name
_POST: Final = deliveries(5)
_LOOK_AT_CLICKHOUSE: Final = looks("when-clickhouse-is-down", 0)
_LOOK_AT_KAFKA: Final = looks("when-kafka-lost-a-broker", 0)
_LOOK_AT_LAG: Final = looks("when-the-lag-grows", 0, 1)


# -- ClickHouse is killed


async def _kill_clickhouse(stand: Stand) -> None:
    await usual(stand)
    await stand.clickhouse.end(signal.SIGKILL)


async def _start_clickhouse(stand: Stand) -> None:
    await _LOOK_AT_CLICKHOUSE(stand)
    lines = [line for line in stand.log_of("ledger").splitlines() if "attempt.retried" in line]
    assert any("can't be reached" in line for line in lines), "the line of the log by which one acts"
    await stand.clickhouse.start()


async def _clickhouse_is_back(stand: Stand) -> None:
    await stand.caught_up()
    printed = await stand.shell.follow("when-clickhouse-is-down", 2)
    assert "0 differences" in printed


# -- ClickHouse is frozen again and again


async def _freeze_clickhouse(stand: Stand) -> None:
    """Every insert takes as long as the freeze: a server that swaps, or whose disk is slow."""
    stand.clickhouse.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(_FREEZE_SECONDS):
            while True:
                await _POST(stand)
                await asyncio.sleep(1)  # the rate of the traffic
    except TimeoutError:
        pass
    finally:
        stand.clickhouse.send(signal.SIGCONT)


# -- the only broker is killed


async def _kill_broker(stand: Stand) -> None:
    await usual(stand)
    assert await stand.ask(requests(200)) == 202
    await stand.kafka.kill()


async def _ask_in_vain(stand: Stand) -> None:
    statuses = await asyncio.gather(stand.webhook(delivered(1)), stand.ask(requests(1)))
    assert set(statuses) <= {429, 503}, statuses


async def _start_broker(stand: Stand) -> None:
    await _LOOK_AT_KAFKA(stand)
    await stand.kafka.start()
    await stand.revive()


async def _broker_is_back(stand: Stand) -> None:
    await stand.caught_up()
    printed = await stand.shell.follow("when-kafka-lost-a-broker", 1)
    assert "0 differences" in printed
    await stand.shell.follow("when-kafka-lost-a-broker", 2, strict=False)


# -- many records wait


async def _many_records(stand: Stand) -> None:
    await usual(stand)
    await stand.caught_up()
    await stand.clickhouse.end(signal.SIGKILL)
    await stand.publish(_SENDGRID, *(orjson.dumps(delivered(1)) for _ in range(_MANY_RECORDS)))


async def _start_clickhouse_for_lag(stand: Stand) -> None:
    await _LOOK_AT_LAG(stand)
    await _start_clickhouse(stand)


async def _lag_is_gone(stand: Stand) -> None:
    await stand.caught_up()
    assert "total 0" in await stand.shell.follow("when-the-lag-grows", 2)


# -- ClickHouse refuses every row


async def _refuse_rows(stand: Stand) -> None:
    await usual(stand)
    await stand.caught_up()
    sql = "ALTER TABLE events ADD CONSTRAINT by_mistake CHECK provider = ''"
    stand.store.command(sql, database=stand.store.tables)


async def _accept_rows(stand: Stand) -> None:
    await _LOOK_AT_LAG(stand)
    line = next(line for line in stand.log_of("ledger").splitlines() if "EveryRecordFails" in line)
    assert "Check what the error names" in line, "the mend by which one acts"
    stand.store.command("ALTER TABLE events DROP CONSTRAINT by_mistake", database=stand.store.tables)


# -- Kafka refuses records for their size


async def _lower_the_limit(stand: Stand) -> None:
    await usual(stand)
    await change_topic(stand.kafka.bootstrap, _SENDGRID, "max.message.bytes", "300")


async def _large_posts(stand: Stand) -> None:
    for _ in range(4):
        assert await stand.webhook(delivered(5)) == 503


async def _raise_the_limit(stand: Stand) -> None:
    await _LOOK_AT_KAFKA(stand)
    assert "producer.renewed" in stand.log_of("gateway")
    usual_limit = WEBHOOKS["sendgrid"].configuration()["max.message.bytes"]
    await change_topic(stand.kafka.bootstrap, _SENDGRID, "max.message.bytes", usual_limit)


# -- Kafka is frozen for seconds


async def _freeze_broker(stand: Stand) -> None:
    stand.kafka.send(signal.SIGSTOP)
    try:
        posts = asyncio.gather(*(stand.webhook(delivered(1)) for _ in range(10)))
        await asyncio.sleep(_BROKER_FREEZE_SECONDS)  # the fault itself, not a wait for something
    finally:
        stand.kafka.send(signal.SIGCONT)
    assert set(await posts) == {204}


# -- disks, parts and memory


async def _fill_disk_of_broker(stand: Stand) -> None:
    if not stand.kafka_disk.is_mounted:
        raise NotHere("no small disk can be mounted here: that needs root")
    await asyncio.to_thread(stand.kafka_disk.fill, 0.1)


async def _room_for_broker(stand: Stand) -> None:
    await _LOOK_AT_KAFKA(stand)
    stand.kafka_disk.clear()


async def _fill_disk_of_clickhouse(stand: Stand) -> None:
    if not stand.clickhouse_disk.is_mounted:
        raise NotHere("no small disk can be mounted here: that needs root")
    await usual(stand)
    await asyncio.to_thread(stand.clickhouse_disk.fill, 0.03)


async def _room_for_clickhouse(stand: Stand) -> None:
    await _LOOK_AT_CLICKHOUSE(stand)
    disks, sizes = page("when-clickhouse-is-down", "sql")
    assert stand.store.tuples(disks)
    assert stand.store.tuples(sizes)
    stand.clickhouse_disk.clear()


async def _many_parts(stand: Stand) -> None:
    await usual(stand)
    await stand.caught_up()
    stand.store.command(f"SYSTEM STOP MERGES {stand.store.tables}.events")
    for _ in range(_PARTS):
        copy = "INSERT INTO events SELECT * FROM events ORDER BY message_id LIMIT 1"
        stand.store.command(copy, database=stand.store.tables)


async def _few_parts(stand: Stand) -> None:
    printed = await stand.shell.follow("when-clickhouse-is-down", 0, strict=False)
    assert "parts" in printed
    stand.store.command(f"SYSTEM START MERGES {stand.store.tables}.events")
    stand.store.command("OPTIMIZE TABLE events FINAL", database=stand.store.tables)


async def _memory_of_clickhouse(_: Stand) -> None:
    raise NotHere(
        "the engine has no limit of its own here, so it would have to take 85 % of the machine's memory; promtool only"
    )


FROZEN_OR_STOPPED: Final = (
    Exercise(
        alerts=("ClickHouseUnavailable", "LagNotRead"),
        cause="ClickHouse is killed while webhooks arrive",
        factor=6,
        begin=_kill_clickhouse,
        goes_on=_POST,
        ended_by="ClickHouse is started",
        mend=_start_clickhouse,
        over=_clickhouse_is_back,
    ),
    Exercise(
        alerts=("DelayHigh", "InsertsSlow"),
        cause="ClickHouse is frozen for 35 s, again and again",
        factor=10,
        begin=usual,
        goes_on=_freeze_clickhouse,
        ended_by="it is not frozen any more",
        mend=_LOOK_AT_CLICKHOUSE,
        usual=usual,
        over=_clickhouse_is_back,
        also=frozenset({"LagNotRead"}),
        within_seconds=900,
    ),
    Exercise(
        alerts=("KafkaUnavailable", "PartitionsUnread", "GatewayWithoutKafka"),
        cause="the only broker is killed",
        factor=6,
        begin=_kill_broker,
        goes_on=_ask_in_vain,
        ended_by="the broker is started",
        mend=_start_broker,
        over=_broker_is_back,
        also=frozenset({"WebhooksSlow", "GateStuck", "LagNotRead", "ErrorRate"}),
        within_seconds=900,
    ),
)
"""What takes its time, because workers retry with pauses: with durations divided by less, and so the first ones."""

LIMITED_OR_FULL: Final = (
    Exercise(
        alerts=("LagHigh",),
        cause=f"ClickHouse is killed, and {_MANY_RECORDS:,} webhooks arrive",
        begin=_many_records,
        ended_by="ClickHouse is started",
        mend=_start_clickhouse_for_lag,
        over=_lag_is_gone,
        also=frozenset({"LagNotRead", "ClickHouseUnavailable"}),
    ),
    Exercise(
        alerts=("WorkerNeedsOperator",),
        cause="a constraint on a table refuses every row",
        begin=_refuse_rows,
        goes_on=_POST,
        ended_by="the constraint is dropped, as the log line's mend says",
        mend=_accept_rows,
        over=_lag_is_gone,
        also=frozenset({"LagNotRead"}),
    ),
    Exercise(
        alerts=("ProducersRenewed", "GatewayWithoutKafka"),
        cause="max.message.bytes of a topic is lowered to 300",
        begin=_lower_the_limit,
        goes_on=_large_posts,
        ended_by="the setting is corrected, as doctor says",
        mend=_raise_the_limit,
        over=_broker_is_back,
        also=frozenset({"ErrorRate"}),
    ),
    Exercise(
        alerts=("WebhooksSlow",),
        cause="the broker is frozen for 4 s, again and again",
        begin=usual,
        goes_on=_freeze_broker,
        ended_by="it is not frozen any more",
        mend=_LOOK_AT_KAFKA,
        over=_broker_is_back,
    ),
    Exercise(
        alerts=("KafkaDiskLow",),
        cause="another program fills the broker's disk (a tmpfs of 512 MiB)",
        begin=_fill_disk_of_broker,
        ended_by="its file is deleted",
        mend=_room_for_broker,
        over=_broker_is_back,
    ),
    Exercise(
        alerts=("ClickHouseDiskLow", "ClickHouseDiskFull"),
        cause="another program fills ClickHouse's disk (a tmpfs of 512 MiB)",
        begin=_fill_disk_of_clickhouse,
        ended_by="its file is deleted",
        mend=_room_for_clickhouse,
        over=_clickhouse_is_back,
    ),
    Exercise(
        alerts=("ClickHouseParts",),
        cause=f"merges are stopped, and {_PARTS} inserts make as many parts",
        begin=_many_parts,
        ended_by="merges are started",
        mend=_few_parts,
        over=_clickhouse_is_back,
    ),
    Exercise(
        alerts=("ClickHouseMemoryHigh",),
        cause="ClickHouse uses nearly all memory",
        begin=_memory_of_clickhouse,
        ended_by="",
        mend=usual,
    ),
)
