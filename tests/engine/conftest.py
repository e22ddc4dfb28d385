"""Kafka for the engine's tests, and worker processes that are killed after their test."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.engine import keyed_worker
from tests.engine.broker import PrivateBroker, private_broker
from tests.engine.counting import Counting
from tests.engine.processes import KeyedWorker, Worker
from tests.engine.topics import Topics
from tests.engine.worker import WorkerConfig

NewWorker = Callable[..., Worker]
NewKeyedWorker = Callable[..., KeyedWorker]


@pytest.fixture
def topics(kafka_bootstrap: str) -> Topics:
    return Topics(kafka_bootstrap)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A unique name for this test's topic and group."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)[:60]}-{uuid4().hex[:8]}"


@pytest.fixture
async def new_worker(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> AsyncIterator[NewWorker]:
    """Create workers of one group that read the test's topic; each has its own oracle file."""
    made: list[Worker] = []
    numbers = count()

    def make(**config: Any) -> Worker:
        number = next(numbers)
        defaults: dict[str, Any] = {
            "group": name,
            "topics": [name],
            "datadir": tmp_path / f"data-{number}",
            "oracle": tmp_path / f"oracle-{number}",
        }
        if "broker" not in config:
            defaults["broker"] = request.getfixturevalue("kafka_bootstrap")
        made.append(Worker(WorkerConfig(**{**defaults, **config})))
        return made[-1]

    yield make
    for worker in made:
        await worker.kill()


@pytest.fixture
def counting(topics: Topics, name: str) -> Counting:
    """A keyed topic with its changelog and its output."""
    return Counting(topics, name)


@pytest.fixture
async def new_keyed_worker(
    tmp_path: Path, name: str, counting: Counting, request: pytest.FixtureRequest
) -> AsyncIterator[NewKeyedWorker]:
    """Create workers of one group that count the records of the test's keyed topic."""
    made: list[KeyedWorker] = []
    numbers = count()

    def make(**config: Any) -> KeyedWorker:
        number = next(numbers)
        defaults: dict[str, Any] = {
            "broker": counting.topics.bootstrap,
            "group": name,
            "stages": [counting.stage],
            "datadir": tmp_path / f"keyed-data-{number}",
            "oracle": tmp_path / f"keyed-oracle-{number}",
        }
        made.append(KeyedWorker(keyed_worker.WorkerConfig(**{**defaults, **config})))
        return made[-1]

    yield make
    for worker in made:
        await worker.kill()
        print(worker.complaints())  # shown if the test fails


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[PrivateBroker]:
    async with private_broker(tmp_path) as broker:
        yield broker
