"""The work of `explain --raw`: what the providers sent for the events of a message, as text or JSON."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import typer

from application.raw_events import RawEvent, RawEvents, is_from_provider
from application.signatures.keys import load_keys
from cli.output import shown
from cli.process import run
from cli.progress import waiting_for
from processors.kafka.read_topic import read_record
from schemas.errors import RequestError
from schemas.settings import RawEventSettings

__all__ = ["raw_event_as_json", "raw_event_lines", "read_raw_events"]

_MAX_READ: Final = 200
"""The most events whose bytes are read: each is a request to Kafka."""
_MAX_CHARACTERS: Final = 2_000

Event = Mapping[str, Any]
Found = tuple[Event, RawEvent | RequestError]
"""A row of the timeline, and what its provider sent or why that can't be shown."""


def read_raw_events(settings: RawEventSettings, events: Sequence[Event]) -> list[Found]:
    """Return what the providers sent for the first _MAX_READ events of theirs. Raises BrokerError, and ConfigError."""
    read_one = partial(read_record, settings.kafka)
    wanted = [event for event in events if is_from_provider(event)]
    keys = load_keys(settings)
    if len(wanted) > _MAX_READ:
        typer.echo(f"{len(wanted) - _MAX_READ:,} later events are not read from Kafka", err=True)

    async def read() -> list[Found]:
        raw_events = RawEvents(read_one, keys)
        return [(event, await _raw_or_reason(raw_events, event)) for event in wanted[:_MAX_READ]]

    with waiting_for(f"Kafka at {settings.kafka}"):
        return run(read())


async def _raw_or_reason(raw_events: RawEvents, event: Event) -> RawEvent | RequestError:
    try:
        return await raw_events.read(event)
    except RequestError as error:  # one record that is gone does not hide the others
        return error


def raw_event_as_json(event: Event, found: RawEvent | RequestError) -> dict[str, Any]:
    """Return what `--json` prints of an event: the whole body, since the command line sees all accounts."""
    if isinstance(found, RawEvent):
        return found.as_json(with_body=True)
    return {"event_id": event["event_id"], "source": event["source"], "problem": found.what}


def raw_event_lines(event: Event, found: RawEvent | RequestError) -> Iterator[str]:
    """Yield the lines for people. Every character that a terminal might obey is escaped."""
    yield f"Sent by {shown(event['provider'])}: {shown(event['type'])}  {event['event_id']}  {shown(event['source'])}"
    if isinstance(found, RequestError):
        yield f"  {found.what}"
        return
    yield f"  signature  {found.signature.result}: {found.signature.because}"
    for name, value in found.headers.items():
        if value:
            yield f"  {shown(name)}  {shown(value)}"
    text = found.element.decode("utf-8", "backslashreplace")
    yield f"  {shown(text[:_MAX_CHARACTERS])}"
    if len(text) > _MAX_CHARACTERS:
        yield f"  … {len(text) - _MAX_CHARACTERS:,} more characters: --json prints them"
    if len(found.element) < len(found.body):
        yield f"  It is one element of a body of {len(found.body):,} bytes: --json prints the body"
