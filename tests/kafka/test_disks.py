"""The disks of brokers, asked of a real one and shown as metrics."""

import os
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from processors.kafka import disks
from processors.kafka.disks import BrokerDisk, broker_disks, disks_watched
from schemas.errors import BrokerDenied, BrokerError
from schemas.telemetry import Telemetry
from tests.engine.broker import private_broker
from tests.local.ports import free_port_base
from tests.local.waiting import until


def shown(telemetry: Telemetry) -> dict[str, float]:
    lines = generate_latest(telemetry.registry).decode().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}


@pytest.mark.kafka
async def test_a_broker_says_how_full_its_disk_is_until_it_ends(tmp_path: Path) -> None:
    telemetry = Telemetry()
    async with private_broker(tmp_path) as broker:
        (disk,) = await broker_disks(broker.bootstrap)
        machine = os.statvfs(tmp_path)
        assert (disk.broker, disk.total_bytes) == (1, machine.f_blocks * machine.f_frsize)
        assert 0 < disk.free_bytes <= disk.total_bytes
        async with disks_watched(broker.bootstrap, telemetry, every_seconds=0.1):
            await until(lambda: 'sendledger_broker_disk_bytes{broker="1"}' in shown(telemetry), "the metrics")
            assert shown(telemetry)['sendledger_broker_disk_bytes{broker="1"}'] == disk.total_bytes
            assert 'sendledger_broker_disk_free_bytes{broker="1"}' in shown(telemetry)
            await broker.kill()
            await until(lambda: shown(telemetry) == {}, "no value of a broker that does not answer")


async def test_without_kafka_it_is_an_error_that_is_retried() -> None:
    with pytest.raises(BrokerError) as raised:
        await broker_disks(f"127.0.0.1:{free_port_base()}")
    assert not isinstance(raised.value, BrokerDenied)


async def test_an_older_kafka_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(_: object) -> tuple[BrokerDisk, ...]:
        disks._Ask().prepare({35: (0, 3)})  # the versions of Kafka 3.2
        return ()

    monkeypatch.setattr(disks, "_disks", asked)
    with pytest.raises(BrokerDenied, match=r"older than Kafka 3\.3"):
        await broker_disks("kafka:9092")


def answer(error_code: int, *results: tuple[int, int, int]) -> disks._Answer:
    """An answer with log directories, each with an error code, its size and its room."""
    found: list[tuple[object, ...]] = [
        (code, f"/disk{n}", [], total, free, {}) for n, (code, total, free) in enumerate(results)
    ]
    return disks._Answer(0, error_code, found, {})


def test_the_fullest_of_several_disks_counts_but_not_one_that_has_failed() -> None:
    several = answer(0, (0, 100, 40), (0, 1000, 100), (56, -1, -1))
    assert disks._fullest("kafka:9092", 7, several) == [BrokerDisk(7, 1000, 100)]
    assert disks._fullest("kafka:9092", 7, answer(0, (56, -1, -1))) == []


def test_a_refusal_says_which_permission_is_missing() -> None:
    with pytest.raises(BrokerDenied) as raised:
        disks._fullest("kafka:9092", 7, answer(31))
    assert "ClusterAuthorizationFailed" in raised.value.what
    assert "Describe" in raised.value.mend
