"""Reads what the page Health shows: the providers; and of the whole installation Kafka, ClickHouse, the workers, the
orphans and the dead letters.

In:  the settings of the gateway. Out: a list of `ProviderFeedback`, and an `Installation`; a part that does not answer
in time says so, and the others do not wait for it.
Promise: callers at the same time share one reading, and so do callers within a few seconds: a page that many have open
is no load.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from application import deadlines
from application.checks import clickhouse, kafka
from application.checks.check import WRONG, Check, State, fail, unknown
from application.principals import Principal
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from gateway.sharing import Shared, SharedByKey
from gateway.worker_metrics import WorkerMetrics, read_worker_metrics
from processors.dead_letters.browsing import OpenLetters, read_open_letters
from processors.kafka.lag import Lag
from projections.messages.provider_feedback import ProviderFeedback, count_orphans, read_provider_feedback
from projections.store import Store
from schemas.errors import BrokerError, SendledgerError
from schemas.log_events import LogEvent
from schemas.settings import GatewaySettings

__all__ = ["LETTER_DAYS", "Installation", "InstallationReader"]

log = structlog.get_logger()
T = TypeVar("T")

LETTER_DAYS: Final = 7
_MAX_LETTERS: Final = 10_000
_WITHIN_SECONDS: Final = 4.0
_STORE_SECONDS: Final = 3
_LETTER_SECONDS: Final = 3.0
_WORST_FIRST: Final = (State.FAIL, State.WARN, State.OK)


@dataclass(frozen=True, slots=True)
class Installation:
    """What was read. None: that part did not answer."""

    checks: Sequence[Check]
    """Of Kafka and ClickHouse, the worst first."""
    lag: Lag | None = None
    letters: OpenLetters | None = None
    orphans: int | None = None
    """Events of the last 24 hours that belong to no message."""
    workers: WorkerMetrics = field(default_factory=WorkerMetrics)

    @property
    def state(self) -> State:
        """That of the worst check. A check that was skipped is a warning."""
        return self.checks[0].state if self.checks else State.OK

    @property
    def to_mend(self) -> Sequence[Check]:
        """The failures and warnings, without the checks that were skipped because of another."""
        return [check for check in self.checks if check.state is State.FAIL or check.mend]

    @property
    def has_workers(self) -> bool:
        """Whether the URLs of workers are configured."""
        return bool(self.workers.answering or self.workers.silent)

    @property
    def lag_by_topic(self) -> Sequence[tuple[str, str, int, int]]:
        """Group, topic, records to read, and partitions that have some: only where there are any, the most first."""
        behind: Counter[tuple[str, str]] = Counter()
        partitions: Counter[tuple[str, str]] = Counter()
        for one in self.lag.partitions if self.lag else ():
            if one.lag:
                behind[one.group, one.topic] += one.lag
                partitions[one.group, one.topic] += 1
        return [(*key, records, partitions[key]) for key, records in behind.most_common()]

    @property
    def lag_by_group(self) -> Sequence[tuple[str, int]]:
        """Records to read, by group."""
        behind: Counter[str] = Counter()
        for one in self.lag.partitions if self.lag else ():
            behind[one.group] += one.lag
        return sorted(behind.items())

    @property
    def letters_by_reason(self) -> Sequence[tuple[str, int, str]]:
        """Reason, number, and the time of the newest dead letter; the most frequent reason first."""
        letters = self.letters.letters if self.letters else ()
        newest: dict[str, str] = {}
        for letter in letters:
            newest.setdefault(letter.reason, letter.failed_at)
        numbers = Counter(letter.reason for letter in letters)
        return [(reason, number, newest[reason]) for reason, number in numbers.most_common()]


class InstallationReader:
    """Reads the parts of the page. Queries count as reads of the principal for whom they run first."""

    def __init__(self, settings: GatewaySettings, store: Store, reads: ReadPool) -> None:
        self._settings, self._store, self._reads = settings, store, reads
        self._groups = (settings.consumer_group, settings.gate_group)
        self._urls = [url for text in settings.worker_metrics.split(",") if (url := text.strip())]
        self._providers = SharedByKey(self._read_providers)
        self._kafka = Shared(self._read_kafka)
        self._clickhouse = Shared(self._read_clickhouse)
        self._orphans = Shared(self._read_orphans)
        self._letters = Shared(self._read_letters)
        self._workers = Shared(lambda _: read_worker_metrics(self._urls))

    async def read(self, principal: Principal) -> Installation:
        """Return the state of the installation, within a few seconds."""
        (of_kafka, lag), of_clickhouse, orphans, letters, workers = await asyncio.gather(
            _or(self._kafka.get(principal), ([_bug("kafka")], None)),
            _or(self._clickhouse.get(principal), [_bug("clickhouse")]),
            _or(self._orphans.get(principal), None),
            self.letters(principal),
            _or(self._workers.get(principal), WorkerMetrics(silent=len(self._urls))),
        )
        checks = sorted([*of_kafka, *of_clickhouse], key=lambda check: _WORST_FIRST.index(check.state))
        return Installation(checks, lag, letters, orphans, workers)

    async def providers(
        self, principal: Principal, accounts: Sequence[str] | None
    ) -> Sequence[ProviderFeedback] | None:
        """Return the feedback about these accounts (None: all of them); None if ClickHouse does not answer in time."""
        return await _or(self._providers.get(principal, None if accounts is None else tuple(sorted(accounts))), None)

    async def letters(self, principal: Principal) -> OpenLetters | None:
        """Return the recent dead letters; None if Kafka does not answer in time."""
        return await _or(self._letters.get(principal), None)

    async def _read_kafka(self, _: Principal) -> tuple[list[Check], Lag | None]:
        bootstrap = self._settings.kafka
        try:
            async with asyncio.timeout(_WITHIN_SECONDS):
                state = await kafka.read_state(bootstrap, self._groups)
        except BrokerError as error:
            return kafka.unreachable(error, bootstrap), None
        except TimeoutError:
            late = BrokerError(
                f"no answer in {_WITHIN_SECONDS:.0f} s", str(bootstrap), "See whether its brokers are busy"
            )
            return kafka.unreachable(late, bootstrap), None
        lag = None if isinstance(state.lag, BrokerError) else state.lag
        return kafka.checks_of(state, bootstrap, self._groups, content_days=self._settings.content_retention_days), lag

    async def _read_letters(self, _: Principal) -> OpenLetters | None:
        bootstrap = self._settings.kafka
        try:
            async with asyncio.timeout(_WITHIN_SECONDS):
                since_ms = int((time.time() - LETTER_DAYS * 86_400) * 1000)
                return await read_open_letters(
                    bootstrap, since_ms=since_ms, most=_MAX_LETTERS, within_seconds=_LETTER_SECONDS
                )
        except (SendledgerError, TimeoutError):
            return None

    async def _read_clickhouse(self, principal: Principal) -> list[Check]:
        try:
            return await self._in_time(principal, clickhouse.check, self._settings, _STORE_SECONDS)
        except SendledgerError:
            return clickhouse.unanswered()
        except Problem:  # other reads were running: that says nothing of ClickHouse
            return [unknown("clickhouse", "no read was free")]

    async def _read_orphans(self, principal: Principal) -> int | None:
        try:
            return await self._in_time(principal, count_orphans, self._store)
        except (SendledgerError, Problem):
            return None

    async def _read_providers(
        self, principal: Principal, accounts: tuple[str, ...] | None
    ) -> Sequence[ProviderFeedback] | None:
        try:
            return await self._in_time(principal, read_provider_feedback, self._store, accounts)
        except (SendledgerError, Problem):
            return None

    async def _in_time(self, principal: Principal, function: Callable[..., T], *args: object) -> T:
        """Run a read. Raises SendledgerError, or Problem if no read was free; both within _WITHIN_SECONDS."""
        with deadlines.limit(_WITHIN_SECONDS):
            return await self._reads.run(principal, function, *args)


async def _or(reading: Awaitable[T], instead: T) -> T:
    """Return what was read, or `instead` after a bug: the other parts of the page are needed most when one fails."""
    try:
        return await reading
    except Exception:
        log.exception(LogEvent.HEALTH_PART_FAILED)
        return instead


def _bug(name: str) -> Check:
    return fail(name, "it could not be checked", "See the gateway's log: this is a bug in sendledger", WRONG)
