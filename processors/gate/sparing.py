"""A keyed agent's step that parks the records which it fails on, instead of ending the worker.

In:  the step of an agent. Out: a step that does the same for all records but those, and writes their dead letters in
the same transaction.

A record is parked only where another of its kind (a request, evidence, a policy) goes through: beside it, or earlier in
this process. Else nothing proves that the record is at fault, and the worker ends. It comes back to the same record and
to all that arrived since, so a bad one that stood alone is parked as soon as a good one follows. A state that another
release has written is no record's fault: the worker refuses to go on.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

import structlog

from processors.dead_letters import Letter, output_of
from processors.engine import (
    Fault,
    FaultLimit,
    Record,
    SetupError,
    Step,
    StepFunction,
    TooManyFaults,
    described,
    where_is,
)
from schemas.errors import ConfigError
from schemas.events import Bad
from schemas.telemetry import Telemetry

__all__ = ["Sparing"]

log = structlog.get_logger()

S = TypeVar("S")

_REASON: Final = "code_failed"
_KINDS: Final = 8
"""More than there are: once all are proved there is no need to look."""


class Sparing(Generic[S]):
    """Calls a step, and again without the records that it fails on."""

    def __init__(
        self, step: StepFunction[S], limit: FaultLimit, telemetry: Telemetry, kind: Callable[[Record], Hashable]
    ) -> None:
        self._step, self._limit, self._telemetry, self._kind = step, limit, telemetry, kind
        self._proved: set[Hashable] = set()
        """The kinds of which some record went through: so the step works for them as such."""

    def __call__(self, states: Mapping[bytes, S], records: Sequence[Record]) -> Step[S]:
        try:
            made = self._step(states, records)
        except ConfigError as error:
            raise SetupError(error.what, where=error.where, mend=error.mend) from error
        except Exception:  # a mistake of ours: whose record it is about is found out
            return self._spared(states, records)
        self._went_through(records)
        return made

    def _spared(self, states: Mapping[bytes, S], records: Sequence[Record]) -> Step[S]:
        rest, faults = list(records), list[Fault[Record]]()
        made: Step[S] | None = None
        while made is None and len(faults) <= self._limit.most:
            failing = self._first_failing(states, rest)
            if failing is None:
                made = self._step(states, rest) if rest else Step()
            else:
                place, error = failing
                faults.append(Fault(rest.pop(place), error))
        self._limit.count(faults)  # raises where it was left with too many
        self._went_through(rest)
        for fault in faults:
            if self._kind(fault.item) not in self._proved:
                raise TooManyFaults(
                    f"our own code fails on every record of this kind so far: {described(fault.error)}",
                    where=where_is(fault.item),
                    mend="Roll back or mend the code; nothing of it is acknowledged, so it is read again.",
                ) from fault.error
        letters = [output_of(self._letter(fault), "gate") for fault in faults]
        made = made or Step()
        return Step([*made.outputs, *letters], made.changed)

    def _first_failing(self, states: Mapping[bytes, S], records: Sequence[Record]) -> tuple[int, Exception] | None:
        """Return the first record that the step fails on after those before it, and how."""
        error = self._error(states, records)
        if error is None:
            return None
        good, bad = 0, len(records)  # so many of the first go through; so many don't
        while bad - good > 1:
            middle = (good + bad) // 2
            if (found := self._error(states, records[:middle])) is None:
                good = middle
            else:
                bad, error = middle, found
        return bad - 1, error

    def _error(self, states: Mapping[bytes, S], records: Sequence[Record]) -> Exception | None:
        try:
            if records:
                self._step(states, records)
        except ConfigError as error:
            raise SetupError(error.what, where=error.where, mend=error.mend) from error
        except Exception as error:
            return error
        return None

    def _went_through(self, records: Iterable[Record]) -> None:
        if len(self._proved) < _KINDS:
            self._proved.update(self._kind(record) for record in records)

    def _letter(self, fault: Fault[Record]) -> Letter:
        log.error(
            "record.at_fault",
            what=described(fault.error),
            where=where_is(fault.item),
            mend="Mend our code; the record is in dead-letters. A request of it has no decision until it is sent again",
        )
        self._telemetry.counter("dead_letters_total", fault.item.topic, _REASON).inc()
        detail = f"{type(fault.error).__name__}: {fault.error}"
        return Letter(fault.item, Bad(_REASON, detail, fault.item.value or b"", None))
