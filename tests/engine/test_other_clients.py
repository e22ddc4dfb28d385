"""Records written by librdkafka, on which clients in C, Go, .NET, PHP, Ruby and Rust are based."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from confluent_kafka import KafkaError, Message, Producer

from processors.kafka.read_topic import read_topic
from schemas.errors import SendledgerError
from tests.engine.broker import PrivateBroker
from tests.engine.conftest import NewWorker
from tests.engine.processes import Record
from tests.engine.topics import Topics
from tests.engine.wire import a_batch, a_record

pytestmark = pytest.mark.kafka

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SMALL, LARGE = {"linger.ms": 0, "batch.num.messages": 1}, {"linger.ms": 200, "batch.num.messages": 10_000}
Ending = Literal["commit", "abort", "leave open"]


class Librdkafka:
    """A producer of librdkafka. Its calls block, so they run in a thread."""

    def __init__(self, bootstrap: str, **settings: Any) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "log_level": 0, **settings})
        self.written: set[Record] = set()

    async def write(self, topic: str, values: Sequence[bytes | None], **more: Any) -> None:
        await asyncio.to_thread(self._write, topic, values, more)

    async def transaction(self, topic: str, values: Sequence[bytes | None], ending: Ending, **more: Any) -> None:
        await asyncio.to_thread(self._transaction, topic, values, ending, more)

    def _write(self, topic: str, values: Sequence[bytes | None], more: Mapping[str, Any]) -> None:
        for number, value in enumerate(values):
            self._producer.produce(topic, value, **{"partition": number % 4, **more}, on_delivery=self._note)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def _transaction(self, topic: str, values: Sequence[bytes | None], ending: Ending, more: Mapping[str, Any]) -> None:
        self._producer.init_transactions(60)
        self._producer.begin_transaction()
        self._write(topic, values, more)
        if ending == "commit":
            self._producer.commit_transaction(60)
        elif ending == "abort":
            self._producer.abort_transaction(60)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        self.written.add((topic, partition, offset))


@pytest.mark.parametrize("codec", CODECS)
async def test_every_codec_is_read_in_small_and_in_large_batches(
    topics: Topics, name: str, new_worker: NewWorker, codec: str
) -> None:
    await topics.make(name)
    bodies = [b"%d " % number * 200 for number in range(400)]
    wanted: set[Record] = set()
    for batches in (SMALL, LARGE):
        client = Librdkafka(topics.bootstrap, **{"compression.type": codec, **batches})
        await client.write(name, bodies)
        wanted |= client.written
    worker = await new_worker().start()
    await worker.has(wanted)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await worker.terminate() == 0
    assert Counter([r.value async for r in read_topic(topics.bootstrap, name)]) == Counter(2 * bodies)


@pytest.mark.parametrize("codec", CODECS)
async def test_only_committed_transactions_are_read(
    topics: Topics, name: str, new_worker: NewWorker, codec: str
) -> None:
    await topics.make(name)
    bodies = [b"%d " % number * 200 for number in range(40)]

    def client() -> Librdkafka:
        return Librdkafka(topics.bootstrap, **{"compression.type": codec, "transactional.id": name, **LARGE})

    committed, aborted, left_open, last = client(), client(), client(), client()
    await committed.transaction(name, bodies, "commit")
    await aborted.transaction(name, bodies, "abort")
    await left_open.transaction(name, bodies, "leave open")
    worker = await new_worker().start()
    await worker.has(committed.written)
    assert set(worker.processed()) == committed.written
    await last.transaction(name, bodies, "commit")  # which also aborts the open transaction
    await worker.has(committed.written | last.written)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert set(worker.processed()) == committed.written | last.written
    assert await worker.terminate() == 0


async def test_unusual_keys_values_and_headers_are_read(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name)
    client = Librdkafka(topics.bootstrap)
    odd: list[dict[str, Any]] = [
        {"key": None},
        {"key": b""},
        {"key": b"\x00\xff\xfe"},
        {"headers": [("", b"x")]},
        {"headers": [("name", None)]},
        {"headers": [("name", b"\xff"), ("name", b"again")]},
    ]
    for more in odd:
        for value in (b"x", b"", b"\xff\x00", None):
            await client.write(name, [value], partition=1, **more)
    worker = await new_worker().start()
    await worker.has(client.written)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await worker.terminate() == 0
    read = [r async for r in read_topic(topics.bootstrap, name)]
    assert {r.headers for r in read} == {(), *(tuple(more["headers"]) for more in odd if "headers" in more)}
    assert {(r.key, r.value) for r in read} >= {(None, None), (b"", b""), (b"\x00\xff\xfe", None)}


async def test_a_header_whose_name_is_not_utf_8_is_read(topics: Topics, name: str, new_worker: NewWorker) -> None:
    """librdkafka accepts it, its Python wrapper does not. A regression: it stopped every worker."""
    await topics.make(name)
    wanted = await topics.fill_n(name, 10)
    odd = a_batch(0, [a_record(n, b"k", b"odd", [(b"na\xffme", b"x")]) for n in range(3)])
    wanted |= await topics.fill_raw(name, 1, odd, 3)
    wanted |= await topics.fill_n(name, 10)
    worker = await new_worker().start()
    await worker.has(wanted)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await worker.terminate() == 0
    read = [r async for r in read_topic(topics.bootstrap, name)]
    assert [r.headers for r in read if r.value == b"odd"] == [(("na\\xffme", b"x"),)] * 3


async def test_a_damaged_batch_ends_the_worker_which_reports_it_and_skips_nothing(
    broker: PrivateBroker, name: str, new_worker: NewWorker
) -> None:
    topics = Topics(broker.bootstrap)
    await topics.make(name, 1)
    sound = await topics.fill_n(name, 10, 1)
    await topics.fill(name, [b"a body to be found"], 1)
    await topics.fill_n(name, 10, 1)
    _damage(broker, name, b"a body to be found")
    for _life in range(2):
        worker = await new_worker(broker=broker.bootstrap).start()
        assert await worker.ended() == 1
        assert f"topic {name}, partition 0, offsets 10 to 10" in worker.complaints()
        assert set(worker.processed()) <= sound
    with pytest.raises(SendledgerError, match=f"topic {name}, partition 0, offsets 10 to 10"):
        [r async for r in read_topic(topics.bootstrap, name)]
    await topics.commit(name, name, 1, 11)  # the fix that the error names
    mended = await new_worker(broker=broker.bootstrap).start()
    await mended.has({(name, 0, offset) for offset in range(11, 21)})
    assert await mended.terminate() == 0


def _damage(broker: PrivateBroker, topic: str, text: bytes) -> None:
    """Change a byte of a record on the broker's disk."""
    (segment,) = [path for path in broker.directory.rglob(f"{topic}-0/*.log") if text in path.read_bytes()]
    with segment.open("r+b") as file:
        file.seek(segment.read_bytes().index(text))
        file.write(b"A")
