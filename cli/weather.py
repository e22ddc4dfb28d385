"""The work of `weather`: reads it, and prints it in 80 columns."""

import asyncio
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
import typer

from application.weather import Weather, read_weather
from cli.output import Column, show, shown
from gateway.refusals import read_refusals
from projections.store import Store
from schemas.errors import StoreDenied, StoreError
from schemas.settings import WeatherSettings

__all__ = ["follow_weather", "show_weather", "weather_now"]

_EVERY_SECONDS: Final = 10.0
_WIDTH: Final = 80
_COLUMNS: Final = (
    Column("provider"),
    Column("type", cut=True),
    Column("received"),
    Column("day_before", title="before"),
    Column("copies"),
    Column("out_of_order", title="disorder"),
    Column("p50"),
    Column("p95"),
    Column("orphans"),
    Column("last_received_at", title="last"),
)
_LIKELY: Final = {
    "provider": "more likely at the provider",
    "sendledger": "more likely on our side",
    "unclear": "unclear on whose side",
}


async def weather_now(settings: WeatherSettings, store: Store, minutes: int) -> Weather:
    """Return the weather of the last minutes. Raises StoreError and StoreRefused."""
    urls = [url for text in settings.gateway_metrics.split(",") if (url := text.strip())]
    return await read_weather(
        asyncio.to_thread,
        store,
        bootstrap=settings.kafka,
        consumer_group=settings.consumer_group,
        minutes=minutes,
        now_us=time.time_ns() // 1000,
        refusals=await read_refusals(urls),
    )


def show_weather(found: Weather, *, as_json: bool) -> None:
    """Print one JSON object; or what is silent, and a table of what arrived."""
    answer = found.as_json()
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
        return
    for silence in answer["silences"]:
        for line in _lines(silence):
            typer.echo(line, err=not sys.stdout.isatty())
    show([*map(_row, answer["items"])], as_json=False, columns=_COLUMNS, none="Nothing has arrived within a day.")
    for one in answer["providers"]:
        typer.echo(_provider(one), err=not sys.stdout.isatty())


def _wait_for_next_read() -> bool:
    time.sleep(_EVERY_SECONDS)
    return True


def follow_weather(
    read: Callable[[], Weather],
    show_one: Callable[[Weather], None],
    wait: Callable[[], bool] = _wait_for_next_read,
) -> None:
    """Show the weather again and again, until `wait` returns False or Ctrl-C. Raises StoreDenied."""
    with suppress(KeyboardInterrupt):
        while True:
            try:
                show_one(read())
                sys.stdout.flush()  # a pipe would wait for more
            except StoreDenied:
                raise
            except StoreError as error:
                typer.echo(f"{error.what} ({error.where}); trying again", err=True)
            if not wait():
                return


def _lines(silence: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a silence: what is silent, who is likely at fault and why, and what to do."""
    for head, text in (
        ("SILENT  ", silence["what"]),
        ("        ", f"{_LIKELY[silence['likely']]}: {silence['because']}"),
        ("  next: ", silence["next_step"]),
    ):
        yield from textwrap.wrap(
            shown(text), _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
        )


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    measures = item["now"]
    share, factor = measures["out_of_order_share"], measures["duplicate_factor"]
    return {
        "provider": item["provider"],
        "type": item["type"],
        "received": measures["received"],
        "day_before": item["day_before"]["received"],
        "copies": None if factor is None else f"{factor:.2f}",
        "out_of_order": None if share is None else f"{share:.1%}",
        "p50": _seconds(measures["delay_p50_seconds"]),
        "p95": _seconds(measures["delay_p95_seconds"]),
        "orphans": measures["orphans"],
        "last_received_at": item["last_received_at"][11:19] if sys.stdout.isatty() else item["last_received_at"],
    }


def _seconds(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f}{unit}"
    return f"{seconds:.1f}s"


def _provider(one: Mapping[str, Any]) -> str:
    names = {"unread": "not read yet", "dead_letters": "dead letters", "signature_failures": "refused signatures"}
    counts = (f"{text} {'unknown' if one[name] is None else f'{one[name]:,}'}" for name, text in names.items())
    return f"{one['provider']}: {', '.join(counts)}"
