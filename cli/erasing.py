"""Erases what was sent to a person, from the command line."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import typer

from application.erasing import (
    ErasureResult,
    Person,
    PreparedErasures,
    StoreOfGeneration,
    erase,
    prepare,
    stored_content,
)
from application.writing import connected_producer
from cli.actor import actor
from cli.output import show
from cli.progress import waiting_for
from cli.stores import open_store
from projections.store import Store
from schemas.settings import CommandSettings

__all__ = ["erase_contents", "find", "show_result", "would_erase"]


def find(settings: CommandSettings, person: Person, reason: str, now_us: int) -> PreparedErasures:
    """Return the person's messages, and what is to be done with them. Raises RequestError and StoreError."""
    with open_store(settings) as store:
        return prepare(store, person, reason=reason, actor=actor(), now_us=now_us)


def would_erase(settings: CommandSettings, prepared: PreparedErasures) -> ErasureResult:
    """Return what an erasure would do. Raises StoreError."""
    with _stores(settings) as store_of:
        return ErasureResult(len(prepared.erased), len(prepared.records), stored_content(store_of, prepared))


async def erase_contents(settings: CommandSettings, prepared: PreparedErasures) -> ErasureResult:
    """Erase the contents. Raises BrokerError and StoreError."""
    with _stores(settings) as store_of, waiting_for(f"Kafka at {settings.kafka}"):
        async with connected_producer(settings.kafka) as kafka:
            return await erase(kafka, store_of, prepared)


def show_result(result: ErasureResult, *, as_json: bool, dry_run: bool) -> None:
    """Print what was done; on stderr, what to check if there was nothing to do."""
    counts = {"messages": result.messages, "recorded": result.recorded, "with_content": result.with_content}
    show([{**counts, "dry_run": dry_run}], as_json=as_json, upright=True)
    if not result.messages:
        typer.echo(
            "The account has no message to this person, so nothing is erased: check account, id and address",
            err=True,
        )


@contextmanager
def _stores(settings: CommandSettings) -> Iterator[StoreOfGeneration]:
    """A store of each generation that is asked for, while the block runs."""
    with ExitStack() as opened:
        made: dict[int, Store] = {}

        def store_of(number: int) -> Store:
            if number not in made:
                made[number] = Store.of(settings, generation=number, reads_own_writes=True)
                opened.callback(made[number].close)
            return made[number]

        yield store_of
