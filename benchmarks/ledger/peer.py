"""The peer: a stock Faust worker whose `take` agent does the ledger's job, with the ledger's own fold and inserts.

In:  one provider's webhooks. Out: rows in a database of its own.
Stock: transport, acknowledgement and supervision are Faust's; so are all settings that are not named here. Same as the
ledger's: `max_poll_records`, the size and the wait of a write, reading from the start, threads for decoding and
inserting (without them the peer would do worse: its consumer would stand still meanwhile).
`take_events` is `take` that keeps the record: the place of an event in the log is a part of its row.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import faust

from processors.ledger.decode import read_records
from processors.ledger.write import tables_of
from projections.store import Store, generations

__all__ = ["PeerSettings", "argv"]


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """The options of the peer."""

    bootstrap: str
    clickhouse_url: str
    database: str
    group: str
    folder: str
    take: int
    within: float
    topic: str
    max_poll_records: int = 5_000


def argv(settings: PeerSettings) -> list[str]:
    """Return the command that runs the peer."""
    return [sys.executable, "-m", "benchmarks.ledger.peer", json.dumps(asdict(settings))]


def make_app(settings: PeerSettings) -> Any:
    """Return the peer's app."""
    store = Store(settings.clickhouse_url, database=settings.database, generation=generations.FIRST)
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.bootstrap}",
        datadir=settings.folder,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=settings.max_poll_records,
    )
    topic = app.topic(settings.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(topic)  # type: ignore[untyped-decorator]  # faust is untyped
    async def ledger(stream: Any) -> None:
        async for events in stream.take_events(settings.take, within=settings.within):
            await asyncio.to_thread(write, store, [event.message for event in events])

    @app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]  # faust is untyped
    async def announce(*_: object, **__: object) -> None:
        print(f"event=peer.assigned timestamp={datetime.now(UTC).isoformat()}", flush=True)

    return app


def write(store: Store, records: Sequence[Any]) -> None:
    """Store the rows of some records, as `LedgerWriter` does."""
    tables, _ = tables_of(read_records(records, decision_days=30))
    for table, rows in tables.items():
        store.insert(table, rows)


def main() -> None:
    """Run the peer until it is killed."""
    settings = PeerSettings(**json.loads(sys.argv[1]))
    faust.Worker(make_app(settings), loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
