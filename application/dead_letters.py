"""Lists dead letters, shows one, and sends letters back or discards them: what an operator may do, within limits.

In:  which letters, as JSON fields; the actor and the time; where Kafka is.
Out: `Letter`s, and what was done about each; or FieldsInvalid, RequestError (`no-such-letter`, `another-operator`),
TimedOut and BrokerError.

Dead letters are of any account, and their bytes come from outside: callers let only operators of all accounts do this.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import Field, ValidationError

from application import deadlines
from application.bulk_causes import text_problem
from application.errors import FieldsInvalid, ValidationFault
from application.fields import faults_of, unknown_faults
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
from processors.dead_letters.handling import (
    Action,
    AnotherOperator,
    HandlingLimits,
    HandlingResult,
    handle,
)
from processors.kafka.read_topic import AtOffset, AtTime
from schemas.errors import BrokerError, RequestError, TimedOut
from schemas.kafka_connection import KafkaAddress
from schemas.records import Record
from schemas.suppressions import MAX_REASON_CHARACTERS

__all__ = [
    "ID_PATTERN",
    "MAX_LETTERS",
    "DiscardRequest",
    "LetterFilter",
    "LetterKey",
    "LetterSelection",
    "LetterState",
    "RedriveRequest",
    "ShownLetter",
    "handle_letters",
    "handled_by",
    "key_of",
    "letter_id",
    "list_letters",
    "outcome_rows",
    "show_letter",
    "valid_discard",
    "valid_redrive",
]

MAX_LETTERS: Final = 100
"""The most letters that one request handles."""
ID_PATTERN: Final = "^[0-9]{1,19}:[0-9]{1,19}$"
_SECONDS: Final = 60.0
"""The most that is waited for Kafka: the deadline of a request is shorter."""
_MAX_NOW_CHARACTERS: Final = 2_000
"""A post of 4 MiB may have many rejected elements."""

LetterState = Literal["open", "redriven", "discarded", "any"]
R = TypeVar("R", bound="RedriveRequest")


class RedriveRequest(Record):
    """Which letters to send back: by their ids, by their properties, or all that are open."""

    ids: list[Annotated[str, Field(pattern=ID_PATTERN)]] | None = Field(
        None, min_length=1, max_length=MAX_LETTERS, description="Ids of letters"
    )
    with_reason: str | None = Field(None, min_length=1, max_length=100, description="Only letters with this reason")
    topic: str | None = Field(None, min_length=1, max_length=249, description="Only letters of this topic")
    every: bool = Field(False, alias="all", description="All letters; not together with the other fields")


class DiscardRequest(RedriveRequest):
    """Which letters to discard, and why."""

    reason: str = Field(
        min_length=1, max_length=MAX_REASON_CHARACTERS, pattern=r"\S", description="Why they are discarded"
    )


@dataclass(frozen=True, slots=True)
class LetterSelection:
    """Which letters: those with all of the given properties, and all letters without any."""

    ids: frozenset[LetterId] = frozenset()
    reason: str | None = None
    topic: str | None = None

    def has(self, letter: Letter) -> bool:
        """Whether a letter has all properties."""
        return (
            (not self.ids or letter.id in self.ids)
            and self.reason in (None, letter.reason)
            and self.topic in (None, letter.topic)
        )

    @property
    def window(self) -> HandlingLimits:
        """The part of each partition with these ids: the rest need not be read."""
        offsets = [one.offset for one in self.ids]
        return HandlingLimits(AtOffset(min(offsets)), AtOffset(max(offsets) + 1)) if offsets else HandlingLimits()

    def missing(self, result: HandlingResult) -> list[LetterId]:
        """Return the ids that no letter has, or none with the other properties, or that were not reached."""
        impossible = (one for one, _ in result.impossible)
        seen = {one.id for one in (*result.done, *result.already, *result.copies, *impossible)}
        return sorted(self.ids - seen)


class LetterKey(NamedTuple):
    """The place of a letter in a list, by its time."""

    failed_at: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters a list has. The times are microseconds since 1970, of the arrival of the letter in Kafka."""

    state: LetterState = "open"
    selection: LetterSelection = LetterSelection()
    from_us: int | None = None
    to_us: int | None = None

    def has(self, letter: Letter) -> bool:
        """Whether the list has a letter; its time is checked by Kafka."""
        state = letter.handled.action if letter.handled else "open"
        return self.state in ("any", state) and self.selection.has(letter)


class ShownLetter(NamedTuple):
    """A letter with its bytes."""

    letter: Letter
    value: bytes | None
    """None if it has none, and its source record is gone. Then it can't be sent back."""
    now: str
    """What the current code would do with it, in words."""


def valid_redrive(raw: Mapping[str, Any]) -> LetterSelection:
    """Return the letters that a request names. Raises FieldsInvalid."""
    return _selection(_validated(RedriveRequest, raw))


def valid_discard(raw: Mapping[str, Any]) -> tuple[LetterSelection, str]:
    """Return the letters that a request names, and why they are discarded. Raises FieldsInvalid."""
    request = _validated(DiscardRequest, raw)
    if problem := text_problem(request.reason):
        raise FieldsInvalid([ValidationFault("reason", problem)])
    return _selection(request), request.reason


def letter_id(text: str) -> LetterId:
    """Return the id that a text states, which must match ID_PATTERN."""
    partition, _, offset = text.partition(":")
    return LetterId(int(partition), int(offset))


async def list_letters(
    bootstrap: KafkaAddress, wanted: LetterFilter, *, limit: int, before: LetterKey | None = None
) -> list[Letter]:
    """Return letters without their bytes, the newest first: up to `limit`, and only those behind `before` in the list.

    Raises BrokerError, and TimedOut if the topic can't be read to its end in time.
    """
    newest = NewestLetters(limit)
    since = None if wanted.from_us is None else AtTime(max(0, wanted.from_us // 1000))
    until = None if wanted.to_us is None else AtTime(max(0, wanted.to_us // 1000))
    try:
        async with asyncio.timeout(deadlines.within(_SECONDS)):
            handled = await read_handled(bootstrap)
            async with aclosing(read_letters(bootstrap, handled, since=since, until=until)) as letters:
                async for letter in letters:
                    if wanted.has(letter) and (before is None or key_of(letter) < before):
                        newest.add(letter)
    except TimeoutError as error:
        raise TimedOut(
            "The dead letters could not be read in time: there are too many, or Kafka is slow",
            str(bootstrap),
            "Give a later `from`, and an earlier `to`",
        ) from error
    return newest.oldest_first()[::-1]


def key_of(letter: Letter) -> LetterKey:
    """Return the place of a letter in a list."""
    return LetterKey(letter.failed_at, *letter.id)


async def show_letter(bootstrap: KafkaAddress, id_: LetterId, *, decision_days: int, now_us: int) -> ShownLetter:
    """Return a letter with its bytes, and what would become of it. Raises RequestError, BrokerError and TimedOut."""
    try:
        async with asyncio.timeout(deadlines.within(_SECONDS)):
            letter = await read_letter(bootstrap, id_, await read_handled(bootstrap))
            if letter is None:
                raise RequestError("No such letter", "the id", "Take an id from the list", code="no-such-letter")
            whole = await with_value(bootstrap, letter)
    except TimeoutError as error:
        raise TimedOut("The letter could not be read in time", str(bootstrap), "Try again") from error
    if whole is None:
        return ShownLetter(letter, None, "it can't be sent back: it has no value, and neither has its source")
    # A post of 4 MiB takes a while to decode: not in the event loop.
    now = await asyncio.to_thread(would_do, whole, decision_days=decision_days, now_us=now_us)
    return ShownLetter(whole, whole.value, now[:_MAX_NOW_CHARACTERS])


async def handle_letters(
    bootstrap: KafkaAddress,
    selection: LetterSelection,
    action: Action,
    *,
    actor: str,
    reason: str,
    at: str,
    dry_run: bool,
) -> HandlingResult:
    """Redrive or discard up to MAX_LETTERS open letters; the result says how many are left.

    Raises RequestError (`another-operator`) and BrokerError. What was done before stays done: it may be repeated.
    """
    # The other half of the time is for the transaction.
    limits = selection.window._replace(letters=MAX_LETTERS, seconds=deadlines.at_most_half(_SECONDS))

    def wanted(letter: Letter) -> bool:
        # Of a condition, what was handled before is no news.
        return selection.has(letter) and (bool(selection.ids) or letter.handled is None)

    try:
        async with asyncio.timeout(deadlines.within(_SECONDS)):
            return await handle(
                bootstrap, wanted, action, actor=actor, reason=reason, at=at, dry_run=dry_run, limits=limits
            )
    except AnotherOperator as error:
        raise RequestError(
            "Another operator has begun to handle dead letters meanwhile, and this request was stopped. What it had"
            " done stays done, and nothing is done twice: see what is left, and repeat it",
            error.where,
            error.mend,
            code="another-operator",
        ) from error
    except TimeoutError as error:
        raise BrokerError(
            "The dead letters were not handled in time", str(bootstrap), "Repeat it: nothing is done twice"
        ) from error


def outcome_rows(result: HandlingResult, missing: Sequence[LetterId], verb: str) -> list[dict[str, str]]:
    """Return what was done about each letter, and why something was not done. `verb`: like `redriven`."""
    return [dict(zip(("letter", "result", "why"), row, strict=True)) for row in _outcomes(result, missing, verb)]


def handled_by(letter: Letter) -> str:
    """Return in words what was done about a letter, by whom, when and why; blank if nothing was."""
    done = letter.handled
    if done is None:
        return ""
    return f"{done.action} by {done.actor} at {done.at}" + (f": {done.reason}" if done.reason else "")


def _outcomes(result: HandlingResult, missing: Sequence[LetterId], verb: str) -> Iterator[tuple[str, str, str]]:
    yield from ((str(one.id), verb, "") for one in result.done)
    yield from ((str(one.id), "unchanged", handled_by(one)) for one in result.already)
    yield from ((str(one.id), verb, "a copy of another letter") for one in result.copies)
    yield from ((str(one.id), "impossible", why) for one, why in result.impossible)
    yield from ((str(id_), "not_found" if result.complete else "not_read", "") for id_ in missing)


def _validated(kind: type[R], raw: Mapping[str, Any]) -> R:
    if faults := unknown_faults(kind, raw):
        raise FieldsInvalid(faults)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise FieldsInvalid(faults_of(error)) from None


def _selection(request: RedriveRequest) -> LetterSelection:
    selection = LetterSelection(frozenset(map(letter_id, request.ids or ())), request.with_reason, request.topic)
    if request.every == (selection != LetterSelection()):
        raise FieldsInvalid([ValidationFault("", "give `ids`, `with_reason` or `topic`; or `all` alone")])
    return selection
