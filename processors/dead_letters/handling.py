"""Send dead letters back to their topics, or discard them. What was done is written to `dead-letters.handled`.

Each letter is handled at most once, whatever dies and however many operators act. The record that is sent back and the
note about it are written in one transaction, and all operators use the same transactional id. When a producer with that
id starts, Kafka ends the transaction of the earlier one and refuses everything that the earlier one sends from then on.
So the last operator to start reads everything that was handled before, and is the only one who handles letters then.

A record that fails again becomes a new letter, which names the one before (`dlq.redriven_from`).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from aiokafka.errors import KafkaError

from processors.dead_letters.browsing import (
    REDRIVEN_FROM,
    TOPICS_OF_THE_GATE,
    Letter,
    body_of,
    read_handled,
    read_letters,
    with_value,
)
from processors.engine import EngineError, Output, TransientDependencyError
from processors.engine.errors import Fenced
from processors.engine.transactions import KafkaTransactions
from processors.kafka import size_of
from processors.kafka.diagnosis import connection_error
from processors.kafka.read_topic import Bound
from schemas.errors import SendledgerError
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.records import DeadLetterHandled
from schemas.topics import (
    ALL_TOPICS,
    DEAD_LETTERS,
    DEAD_LETTERS_HANDLED,
    MAX_MESSAGE_BYTES,
)

__all__ = ["NO_LIMITS", "Action", "AnotherOperator", "HandlingLimits", "HandlingResult", "handle"]

Action = Literal["redriven", "discarded"]

_TRANSACTIONAL_ID: Final = "sendledger-dead-letters"
_GROUP_LETTERS: Final = 100
_GROUP_BYTES: Final = 16 * 2**20
_SECONDS: Final = 60.0
"""How long one transaction may take: aiokafka by itself waits for an unavailable Kafka for ever."""
_TOPICS: Final = TOPICS_OF_THE_GATE | {t.name for t in ALL_TOPICS} - {DEAD_LETTERS.name, DEAD_LETTERS_HANDLED.name}


class AnotherOperator(SendledgerError):
    """Another operator began to handle letters meanwhile, which ended this operator's transactions."""


class HandlingLimits(NamedTuple):
    """Which part of the topic a call reads, and how much it does."""

    since: Bound | None = None
    until: Bound | None = None
    letters: int | None = None
    """The most letters that are handled, and the most that are reported as impossible."""
    seconds: float | None = None
    """How long letters are looked for. What was found by then is handled."""


NO_LIMITS: Final = HandlingLimits()


@dataclass(slots=True)
class HandlingResult:
    """What a call has done."""

    done: list[Letter] = field(default_factory=list)
    already: list[Letter] = field(default_factory=list)
    """Wanted letters that were handled before."""
    copies: list[Letter] = field(default_factory=list)
    """Wanted letters that are copies of those that are done."""
    impossible: list[tuple[Letter, str]] = field(default_factory=list)
    """Wanted letters that can't be sent back, and why."""
    left: int = 0
    """How many other wanted letters were found: more than the limit."""
    complete: bool = True
    """Whether all letters were read in time. If not, more may be left."""


async def handle(
    bootstrap: KafkaAddress,
    wanted: Callable[[Letter], bool],
    action: Action,
    *,
    actor: str,
    reason: str,
    at: str,
    dry_run: bool = False,
    limits: HandlingLimits = NO_LIMITS,
) -> HandlingResult:
    """Redrive or discard the wanted letters that nobody has handled yet. `at` is the time, in RFC 3339.

    With `dry_run` nothing is written. Raises BrokerError; AnotherOperator if another one has begun meanwhile, who
    then handles the rest. What was done before an error stays done: the call may be repeated.
    """
    result = HandlingResult()

    def note_of(letter: Letter) -> DeadLetterHandled:
        return DeadLetterHandled(
            letter=str(letter.id),
            source=str(letter.source or ""),
            processor=letter.processor,
            action=action,
            actor=actor,
            reason=reason,
            at=at,
        )

    if dry_run:
        async for group in _groups(bootstrap, wanted, note_of, result, limits):
            result.done += (one.letter for one in group)
        return result
    async with _only_operator(bootstrap) as transactions:
        async for group in _groups(bootstrap, wanted, note_of, result, limits):
            outputs = [output for one in group for output in one.outputs]
            async with asyncio.timeout(_SECONDS):
                await transactions.write(outputs)
                await transactions.commit()
            result.done += (one.letter for one in group)
    return result


class _ToHandle(NamedTuple):
    """A letter to handle, without its bytes, and what to write."""

    letter: Letter
    outputs: Sequence[Output]


async def _groups(
    bootstrap: KafkaAddress,
    wanted: Callable[[Letter], bool],
    note_of: Callable[[Letter], DeadLetterHandled],
    result: HandlingResult,
    limits: HandlingLimits,
) -> AsyncIterator[Sequence[_ToHandle]]:
    """Yield the letters to handle, in groups of one transaction each. Letters that are not handled go to `result`."""
    group, size, handled_now = list[_ToHandle](), 0, set[str]()
    handled = await read_handled(bootstrap)
    now = asyncio.get_running_loop().time
    end = math.inf if limits.seconds is None else now() + limits.seconds
    most = math.inf if limits.letters is None else limits.letters
    async with aclosing(read_letters(bootstrap, handled, since=limits.since, until=limits.until)) as letters:
        async for letter in letters:
            if now() > end:
                result.complete = False
                break
            if not wanted(letter):
                continue
            if letter.handled and letter.handled.letter in handled_now:
                result.copies.append(letter.without_bytes())
                continue
            if letter.handled:
                result.already.append(letter.without_bytes())
                continue
            if len(handled_now) >= most:
                result.left += 1
                continue
            note = note_of(letter)
            try:
                outputs = [await _sent_back(bootstrap, letter)] if note.action == "redriven" else []
            except _ImpossibleError as error:
                if len(result.impossible) < most:
                    result.impossible.append((letter.without_bytes(), str(error)))
                continue
            handled.add(note)  # so that later copies of this letter are handled
            handled_now.add(note.letter)
            outputs.append(Output(DEAD_LETTERS_HANDLED.name, note.letter.encode(), note.model_dump_json().encode(), ()))
            group.append(_ToHandle(letter.without_bytes(), outputs))
            size += sum(map(size_of, outputs))
            if len(group) >= _GROUP_LETTERS or size >= _GROUP_BYTES:
                yield group
                group, size = [], 0
    if group:
        yield group


class _ImpossibleError(Exception):
    """A letter can't be sent back; the text says why."""


async def _sent_back(bootstrap: KafkaAddress, letter: Letter) -> Output:
    """Return the record to send to the topic of the letter. Raises _ImpossibleError, and BrokerError."""
    if letter.topic not in _TOPICS:
        raise _ImpossibleError(f"it names no topic of ours: {letter.topic[:100]!r}")
    whole, source = await with_value(bootstrap, letter), letter.source
    if whole is None and source and source.element is not None:
        raise _ImpossibleError(f"it has no value; the whole record is {source._replace(element=None)}")
    if whole is None:
        raise _ImpossibleError(f"it has no value, and its source {source or 'position'} is gone")
    # The gate's own topics keep the partition of each key, whatever partitions were added.
    partition = source.partition if source and letter.topic in TOPICS_OF_THE_GATE else None
    headers = [*whole.headers, (REDRIVEN_FROM, str(letter.id).encode())]
    output = Output(letter.topic, whole.key, body_of(whole), headers, partition)
    if size_of(output) > MAX_MESSAGE_BYTES:
        raise _ImpossibleError("with the header that names its letter it is larger than Kafka takes")
    return output


@asynccontextmanager
async def _only_operator(bootstrap: KafkaAddress) -> AsyncIterator[KafkaTransactions]:
    """Start transactions, which ends those of any other operator. Raises BrokerError and AnotherOperator."""
    transactions = KafkaTransactions(
        _TRANSACTIONAL_ID,
        group="",  # no source offsets are committed
        timeout_seconds=_SECONDS,
        client={**client_arguments(bootstrap), "max_request_size": MAX_MESSAGE_BYTES},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            await transactions.start()
        yield transactions
    except Fenced as error:
        raise AnotherOperator(
            "Another operator has begun to handle dead letters meanwhile",
            DEAD_LETTERS_HANDLED.name,
            "See with `sendledger dead-letters list` what is left, and repeat the command",
        ) from error
    except (EngineError, TransientDependencyError, KafkaError, TimeoutError) as error:
        raise await connection_error(
            f"Dead letters can't be handled: {str(error) or 'no answer in time'}",
            bootstrap,
            "Check with `sendledger doctor` that Kafka runs, and repeat the command: nothing is done twice",
            error,
        ) from error
    finally:
        await transactions.close()
