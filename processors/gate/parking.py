"""Park the records on which the step of a keyed agent fails, instead of stopping the worker.

In:  the step of an agent. Out: a step that does the same for all other records, and writes dead letters of those in
the same transaction.

A record is parked only if the step has succeeded for another record of its kind (a request, evidence, a policy): in the
same run, or earlier in this process. Otherwise nothing shows that the record is the cause, and the worker stops. After
a restart it reads the same record again, together with all that arrived since: so a bad record that was alone is parked
as soon as a good one follows. A row that another release has written is no record's fault: the worker refuses to run.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from processors.dead_letters import LetterOutputs, letter_of_failure
from processors.engine import FailedItem, FailureLimit, Record, SetupError, StepFunction, StepResult
from processors.engine.errors import TooManyFailures
from processors.engine.failures import describe_error, describe_position
from schemas.errors import ConfigError

__all__ = ["ParkingStep"]

S = TypeVar("S")

_MEND: Final = "Fix our code, then redrive the record from dead-letters. Until then a request has no decision"
_KINDS: Final = 8
"""A bound on the kinds that are remembered; there are fewer."""


class ParkingStep(Generic[S]):
    """Calls a step, and calls it again without the records on which it fails."""

    def __init__(
        self,
        step: StepFunction[S],
        limit: FailureLimit,
        letters: LetterOutputs,
        kind: Callable[[Record], Hashable],
    ) -> None:
        self._step, self._limit, self._letters, self._kind = step, limit, letters, kind
        self._good_kinds: set[Hashable] = set()
        """The kinds for which the step has succeeded once: so the step works for them in general."""

    def __call__(self, states: Mapping[bytes, S], records: Sequence[Record]) -> StepResult[S]:
        try:
            result = self._step(states, records)
        except ConfigError as error:
            raise SetupError(error.what, where=error.where, mend=error.mend) from error
        except Exception:  # a bug of ours: find the records that cause it
            return self._without_failing(states, records)
        self._mark_good(records)
        return result

    def _without_failing(self, states: Mapping[bytes, S], records: Sequence[Record]) -> StepResult[S]:
        rest, failed = list(records), list[FailedItem[Record]]()
        result: StepResult[S] | None = None
        while result is None and len(failed) <= self._limit.most:
            failing = self._first_failing(states, rest)
            if failing is None:
                result = self._step(states, rest) if rest else StepResult()
            else:
                index, error = failing
                failed.append(FailedItem(rest.pop(index), error))
        self._limit.count(failed)  # raises if there are too many
        self._mark_good(rest)
        for failure in failed:
            if self._kind(failure.item) not in self._good_kinds:
                raise TooManyFailures(
                    f"our own code fails on every record of this kind so far: {describe_error(failure.error)}",
                    where=describe_position(failure.item),
                    mend="Roll back or fix the code; nothing was committed, so these records are read again.",
                ) from failure.error
        letters = [self._letters.of(letter_of_failure(failure, "code_failed", _MEND)) for failure in failed]
        result = result or StepResult()
        return StepResult([*result.outputs, *letters], result.changed)

    def _first_failing(self, states: Mapping[bytes, S], records: Sequence[Record]) -> tuple[int, Exception] | None:
        """Return the index of the first record on which the step fails when run up to it, and the error."""
        error = self._error(states, records)
        if error is None:
            return None
        good, bad = 0, len(records)  # the step succeeds for the first `good` records, and fails for the first `bad`
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

    def _mark_good(self, records: Iterable[Record]) -> None:
        if len(self._good_kinds) < _KINDS:
            self._good_kinds.update(self._kind(record) for record in records)
