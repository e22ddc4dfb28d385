"""The work of `dead-letters`: which letters, and what is printed of them."""

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import typer

from application.dead_letters import LetterSelection, handled_by, outcome_rows
from cli.actor import actor
from cli.output import Column, show
from processors.dead_letters.browsing import (
    Letter,
    LetterId,
    NewestLetters,
    read_handled,
    read_letter,
    read_letters,
    with_value,
    would_do,
)
from processors.dead_letters.handling import Action, HandlingResult, handle
from schemas.decoding.times import rfc3339
from schemas.errors import RequestError
from schemas.settings import DeadLetterSettings

__all__ = ["LetterOptions", "handle_letters", "list_letters", "show_handled", "show_letter", "show_letters"]

_COLUMNS: Final = (
    Column("letter"),
    Column("failed_at"),
    Column("topic", cut=True),
    Column("reason"),
    Column("detail", cut=True),
    Column("handled", optional=True),
)


@dataclass(frozen=True, slots=True)
class LetterOptions:
    """Which letters: those with all of the given properties."""

    ids: Sequence[str] = ()
    reason: str | None = None
    topic: str | None = None
    every: bool = False

    @property
    def selects(self) -> bool:
        """Whether letters are selected by their properties, not named by their ids."""
        return not self.ids

    def missing(self, result: HandlingResult) -> list[LetterId]:
        """Return the given ids that no letter has, or none with the other properties."""
        return self.selection().missing(result)

    def selection(self) -> LetterSelection:
        """Return the condition. Raises RequestError if nothing is given, or if an id is invalid."""
        if not (self.ids or self.reason or self.topic or self.every):
            raise RequestError("No letters are named", "the arguments", "Give ids, --with-reason, --topic, or --all")
        return LetterSelection(frozenset(map(_id_of, self.ids)), self.reason, self.topic)


async def list_letters(
    settings: DeadLetterSettings, options: LetterOptions, limit: int, *, handled_too: bool
) -> tuple[list[Letter], int]:
    """Return the newest `limit` letters, the oldest of them first, and the number of all. Raises BrokerError."""
    selection, newest = options.selection(), NewestLetters(limit)
    handled = await read_handled(settings.kafka)
    async with aclosing(read_letters(settings.kafka, handled)) as letters:
        async for letter in letters:
            if selection.has(letter) and (handled_too or letter.handled is None):
                newest.add(letter)
    return newest.oldest_first(), newest.number


def show_letters(letters: Sequence[Letter], number: int, *, as_json: bool) -> None:
    """Print letters, of `number` in all."""
    show([_row(one) for one in letters], as_json=as_json, none="No dead letters.", columns=_COLUMNS)
    if number > len(letters):
        typer.echo(f"{number - len(letters):,} older letters are not shown: --limit", err=True)


async def show_letter(settings: DeadLetterSettings, id_: str, *, as_json: bool) -> bool:
    """Print a letter, and how the current code would process it. False if there is none.

    Raises RequestError and BrokerError.
    """
    wanted = _id_of(id_)
    letter = await read_letter(settings.kafka, wanted, await read_handled(settings.kafka))
    if letter is None:
        show([], as_json=False, none="No such letter.")
        return False
    whole = await with_value(settings.kafka, letter)
    now = "it can't be sent back: it has no value, and neither has its source"
    if whole:
        now = would_do(whole, decision_days=settings.decision_days, now_us=time.time_ns() // 1000)
    row = _row(letter) | {
        "processor": letter.processor,
        "redriven_from": letter.redriven_from,
        "key": _text(letter.key or b""),
        "value": _text(letter.value),
        "headers": [f"{name}: {_text(value)}" for name, value in letter.headers],
        "now": now,
    }
    show([row], as_json=as_json, upright=True)
    return True


async def handle_letters(
    settings: DeadLetterSettings, options: LetterOptions, action: Action, *, reason: str, dry_run: bool
) -> HandlingResult:
    """Redrive or discard letters. Raises RequestError, BrokerError and SendledgerError."""
    selection = options.selection()
    return await handle(
        settings.kafka,
        selection.has,
        action,
        actor=actor(),
        reason=reason,
        at=rfc3339(time.time_ns() // 1000),
        dry_run=dry_run,
        limits=selection.window,
    )


def show_handled(
    result: HandlingResult, missing: Sequence[LetterId], action: Action, *, dry_run: bool, as_json: bool
) -> bool:
    """Print each letter with what was done about it, and why something was not done. False if anything could not be."""
    rows = outcome_rows(result, missing, f"would be {action}" if dry_run else action)
    show(rows, as_json=as_json, none="No such letters.")
    return not result.impossible and not missing


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "letter": str(letter.id),
        "failed_at": letter.failed_at,
        "topic": letter.topic,
        "source": str(letter.source or ""),
        "reason": letter.reason,
        "detail": letter.detail,
        "handled": handled_by(letter),
    }


def _id_of(text: str) -> LetterId:
    found = LetterId.of(text)
    if found is None:
        raise RequestError(f"{text!r:.60} is not the id of a letter", "the arguments", "An id is like 3:17")
    return found


def _text(value: bytes) -> str:
    """Return bytes as text, or in hexadecimal digits if they are not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"hex {value.hex()}"
