"""Milliseconds of each way to read the log: through the gateway, and for dashboards at ClickHouse, while it is written.

In:  a folder with a log (data.py).
Out: a row for each question, account and number of readers. A request that fails counts as failed and gives no time.
The peer of the first page is the plain query on the view, in the same run.

The log itself stays as it was made: what runs is a copy of its folder, whose parts are links to the same files, since
ClickHouse changes no part in place.
"""

import asyncio
import fcntl
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from benchmarks.ledger.surroundings import SENDLEDGER, BenchmarkFailed, Program, Usage, free_port_base, until
from benchmarks.queries.data import KEPT_UNMERGED, Made
from benchmarks.queries.questions import DASHBOARDS, OVER_ALL_ACCOUNTS, QUESTIONS, Asked, Dashboard, Question, Subject
from benchmarks.queries.writer import EVERY_SECONDS
from deploy.local.stack import local_stack
from gateway.tokens import issue
from processors.kafka.topics import create_topics
from projections.store import DATABASE, Store, generations, migrate
from schemas.decoding.ids import ALL
from schemas.decoding.times import rfc3339
from schemas.settings import TopicSettings, read

__all__ = ["EXPORT", "PLAIN_FIRST_PAGE", "Limits", "against_plain_query", "measure"]

PLAIN_FIRST_PAGE: Final = "first page, plain query"
EXPORT: Final = "export"
_PLAIN_FIRST_PAGE_SQL: Final = (
    "SELECT * FROM messages WHERE account_id = {account:String} ORDER BY date_sent DESC, email_id DESC LIMIT 51"
)
_UNDER_WAY_SQL: Final = "SELECT countIf(query_kind = 'Select') - 1 FROM system.processes"
_SECRET: Final = "a secret of this benchmark, of no other use"
_REQUEST_SECONDS: Final = 60
_EXPORT_DAYS: Final = 7
_SAMPLE_ROWS: Final = 500
_QUERY_SECONDS: Final = 300
_MERGE_SECONDS: Final = 1_200
_IDLE_SECONDS: Final = 8
"""ClickHouse looks for parts to merge every few seconds when it is idle."""

Row = dict[str, Any]
Ask = Callable[[], Awaitable[bool]]
"""Ask once; whether it was answered. What is awaited is timed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked."""

    only: str = "*"
    """Questions whose name matches this pattern."""
    readers: tuple[int, ...] = (1, 4)
    alone: int = 30
    """Requests of one reader."""
    together: int = 20
    """Requests of each of several readers."""
    seconds: float = 10.0
    """No request begins after so long."""
    merged: bool = False
    """Whether ClickHouse first merges parts as its own settings allow."""


async def measure(
    folder: Path, made: Made, limits: Limits, progress: Callable[[str], None]
) -> tuple[list[Row], list[Row]]:
    """Return the rows about requests and those about the disk."""
    with _copy_of(folder) as copy:
        base = free_port_base()
        async with local_stack(copy, base) as stack:
            await create_topics(read(TopicSettings, kafka_bootstrap=stack.kafka_bootstrap))
            store = Store(stack.clickhouse_url, generation=generations.FIRST, timeout_seconds=600)
            migrate.apply(store)  # the views are those of now
            if limits.merged:
                await _merge(store, progress)
            sizes = _sizes(store, made)
            subjects = _subjects(store, made)
            env = _gateway_settings(stack.kafka_bootstrap, stack.clickhouse_url, base)
            gateway = Program([*SENDLEDGER, "gateway"], env, copy / "gateway.log")
            writer_command = [sys.executable, "-m", "benchmarks.queries.writer", stack.clickhouse_url]
            writer = Program(writer_command, {}, copy / "writer.log")
            token = issue(_SECRET, subject="benchmark", role="viewer", accounts=[ALL])
            headers = {"Authorization": f"Bearer {token}"}
            async with (
                gateway,
                _client(f"http://127.0.0.1:{base}", _REQUEST_SECONDS + 10, headers) as client,
                _client(stack.clickhouse_url, _QUERY_SECONDS) as direct,
            ):
                await until(lambda: _ready(client, gateway), "the gateway", seconds=60, every=0.2)
                async with writer:
                    await until(lambda: _has_written(writer), "the first group", seconds=60, every=0.2)
                    clickhouse = stack.supervisor.pid("clickhouse")
                    pids = {"gateway": gateway.pid} | ({"clickhouse": clickhouse} if clickhouse else {})
                    session = _Session(client, direct, pids, limits, progress)
                    rows = await session.run(subjects, made)
                    _ = writer.pid, gateway.pid
                progress(_of_writer(writer))
            store.close()
    return rows, sizes


async def _merge(store: Store, progress: Callable[[str], None]) -> None:
    """Let ClickHouse merge the parts that the log was made with, and wait until it has nothing more to merge."""
    started = time.monotonic()
    for table in KEPT_UNMERGED:
        store.command(f"ALTER TABLE {store.tables}.{table} RESET SETTING max_bytes_to_merge_at_max_space_in_pool")
    idle = 0

    async def ended() -> bool:
        nonlocal idle
        merges = store.tuples("SELECT count() FROM system.merges WHERE database = {db:String}", {"db": store.tables})
        idle = 0 if merges[0][0] else idle + 1
        return idle >= _IDLE_SECONDS

    await until(ended, "the end of merges", seconds=_MERGE_SECONDS, every=1.0)
    progress(f"ClickHouse merged for {time.monotonic() - started - _IDLE_SECONDS:.0f} s")


def against_plain_query(rows: Sequence[Row]) -> list[Row]:
    """Return how many times as fast as the plain query on the view the gateway's first page is, p50 by p50."""
    p50 = {(row["what"], row["account"], row["readers"]): row.get("p50_ms") for row in rows}
    compared = []
    for (what, account, readers), plain in p50.items():
        ours = p50.get(("first page", account, readers))
        if what == PLAIN_FIRST_PAGE and plain and ours:
            pair = {"gateway_p50_ms": ours, "plain_p50_ms": plain, "times_as_fast": plain / ours}
            compared.append({"account": account, "readers": readers, **pair})
    return compared


class _Session:
    """The questions, one after another, each by so many readers at once."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        direct: httpx.AsyncClient,
        pids: Mapping[str, int],
        limits: Limits,
        progress: Callable[[str], None],
    ) -> None:
        self._client, self._direct, self._pids, self._limits, self._progress = client, direct, pids, limits, progress
        self._asked = 0
        self._chance = Random(3)
        self._rows: list[Row] = []
        self._failure = ""

    async def run(self, subjects: list[Subject], made: Made) -> list[Row]:
        """Return a row for each question, account and number of readers."""
        for subject in subjects:
            for question in QUESTIONS:
                if not self._can_be_asked(question, subject):
                    continue
                await self._measured(question.what, subject.name, lambda: self._question(question, subject))  # noqa: B023
                if question.what == "first page":
                    await self._measured(PLAIN_FIRST_PAGE, subject.name, lambda: self._plain_first_page(subject))  # noqa: B023
            await self._exported(subject)
        for dashboard in DASHBOARDS:
            await self._measured(dashboard.what, OVER_ALL_ACCOUNTS, lambda: self._dashboard(dashboard, made))  # noqa: B023
        return self._rows

    def _can_be_asked(self, question: Question, subject: Subject) -> bool:
        """Whether some row of the account has what is asked for: in a small log one may have none."""
        try:
            question.asked(subject, self._chance)
        except LookupError as error:
            self._progress(f"{question.what}, {subject.name}: {error}")
            return False
        return True

    def _wanted(self, what: str) -> bool:
        return fnmatch(what, self._limits.only)

    async def _measured(self, what: str, account: str, reader: Callable[[], Ask]) -> None:
        if not self._wanted(what):
            return
        for readers in self._limits.readers:
            each = self._limits.alone if readers == 1 else self._limits.together
            await self._quiet()
            ends = time.monotonic() + self._limits.seconds
            took: list[float] = []
            self._failure, self._asked, before = "", 0, Usage.now(self._pids)
            failed = sum(await asyncio.gather(*(self._read(reader(), each, ends, took) for _ in range(readers))))
            await self._quiet()  # what failed goes on at the server, and costs
            used = Usage.now(self._pids).since(before)
            took.sort()
            row = {
                "what": what,
                "account": account,
                "readers": readers,
                "p50_ms": _part(took, 0.5),
                "p95_ms": _part(took, 0.95),
                "server_cpu_ms": round(sum(used[name] for name in self._pids) / self._asked * 1000),
                "requests": len(took),
                "failed": failed,
            }
            self._add(row)

    async def _read(self, ask: Ask, most: int, ends: float, took: list[float]) -> int:
        """Ask one after another; return how many failed. The first does not count, unless it took all the time."""
        failed = 0
        for number in range(most + 1):
            began = time.monotonic()
            answered = await ask()
            self._asked += 1
            ended = time.monotonic()
            if number == 0 and ended < ends:
                continue
            if answered:
                took.append((ended - began) * 1000)
            else:
                failed += 1
            if ended > ends:
                break
        return failed

    def _question(self, question: Question, subject: Subject) -> Ask:
        follow: str | None = None

        async def ask() -> bool:
            nonlocal follow
            asked = question.asked(subject, self._chance)
            cursor: dict[str, str | int] = {"cursor": follow} if follow else {}
            answer = await self._get(asked, cursor)
            if question.follows:
                follow = answer.json()["next"] if answer else None
            return answer is not None

        return ask

    async def _get(self, asked: Asked, more: dict[str, str | int]) -> httpx.Response | None:
        try:
            answer = await self._client.get(asked.path, params=asked.parameters | more)
        except httpx.HTTPError as error:
            self._failure = f"{type(error).__name__} {error}"
            return None
        if answer.status_code != 200:
            self._failure = f"{answer.status_code} {answer.text[:200]}"
            return None
        return answer

    async def _quiet(self) -> None:
        """Wait until the server has ended the queries of before: one whose client gave up goes on."""

        async def ended() -> bool:
            answer = await self._direct.post("/", params={"default_format": "TabSeparated"}, content=_UNDER_WAY_SQL)
            return answer.text.strip() == "0"

        await until(ended, "the end of the queries of before", seconds=_QUERY_SECONDS, every=0.1)

    def _plain_first_page(self, subject: Subject) -> Ask:
        return lambda: self._query(_PLAIN_FIRST_PAGE_SQL, {"param_account": subject.account_id})

    def _dashboard(self, dashboard: Dashboard, made: Made) -> Ask:
        def ask() -> Awaitable[bool]:
            from_us = (made.to_ms - 30 * 86_400_000 + self._chance.randrange(3_600_000)) * 1000
            return self._query(dashboard.sql, {"param_from_us": str(from_us)})

        return ask

    async def _query(self, sql: str, parameters: dict[str, str]) -> bool:
        try:
            answer = await self._direct.post(
                "/", params={"database": DATABASE, "default_format": "JSONCompact", **parameters}, content=sql
            )
        except httpx.HTTPError as error:
            self._failure = f"{type(error).__name__} {error}"
            return False
        if answer.status_code != 200:
            self._failure = answer.text[:200]
        return answer.status_code == 200

    async def _exported(self, subject: Subject) -> None:
        """Rows a second of an export of some days, all readers together; cut off when the time is up."""
        if not self._wanted(EXPORT):
            return
        for readers in self._limits.readers:
            await self._quiet()
            self._failure = ""
            began = time.monotonic()
            counts = await asyncio.gather(*(self._export(subject, began) for _ in range(readers)))
            rows = sum(counts)
            row = {
                "what": EXPORT,
                "account": subject.name,
                "readers": readers,
                "rows_per_second": round(rows / (time.monotonic() - began)),
                "rows": rows,
                "failed": counts.count(0),
            }
            self._add(row)

    async def _export(self, subject: Subject, began: float) -> int:
        from_ = rfc3339(subject.to_us - _EXPORT_DAYS * 86_400_000_000)
        parameters = {"account": subject.account_id, "from": from_, "format": "ndjson"}
        rows = 0
        try:
            async with self._client.stream("GET", "/v1/messages/export", params=parameters) as answer:
                async for chunk in answer.aiter_bytes():
                    rows += chunk.count(b"\n")
                    if time.monotonic() - began > self._limits.seconds:
                        break
        except httpx.HTTPError as error:
            self._failure = f"{type(error).__name__} {error}"
        return rows

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        self._progress(
            ", ".join(str(value) for value in row.values()) + (f": {self._failure}" if row["failed"] else "")
        )


def _part(values: list[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(len(values) * share))], 1) if values else None


def _subjects(store: Store, made: Made) -> list[Subject]:
    """The largest account and the median one, with rows of each."""
    by_size = [
        str(row[0])
        for row in store.tuples("SELECT account_id FROM message_state GROUP BY account_id ORDER BY count(), account_id")
    ]
    chosen = {"largest": by_size[-1], "median": by_size[len(by_size) // 2]}
    return [Subject(name, account, _sample(store, account), made.to_ms * 1000) for name, account in chosen.items()]


def _sample(store: Store, account: str) -> list[Row]:
    return store.rows(
        "SELECT * FROM messages WHERE account_id = {account:String} AND (account_id, date_sent, email_id) IN"
        " (SELECT account_id, sent_at, message_id FROM message_state WHERE account_id = {account:String}"
        " GROUP BY account_id, sent_at, message_id ORDER BY cityHash64(message_id) LIMIT {limit:UInt32})",
        {"account": account, "limit": _SAMPLE_ROWS},
    )


def _sizes(store: Store, made: Made) -> list[Row]:
    parts = store.rows(
        "SELECT table, sum(rows) AS in_rows, sum(bytes_on_disk) AS in_bytes, count() AS in_parts,"
        " max(of_partition) AS most FROM (SELECT *, count() OVER (PARTITION BY table, partition) AS of_partition"
        " FROM system.parts WHERE active AND database = {database:String}) GROUP BY table HAVING in_rows > 100"
        " ORDER BY in_bytes DESC",
        {"database": store.tables},
    )
    return [
        {
            "table": row["table"],
            "rows": row["in_rows"],
            "megabytes": round(row["in_bytes"] / 1e6),
            "bytes_a_message": round(row["in_bytes"] / made.messages, 1),
            "parts": row["in_parts"],
            "most_parts_of_a_partition": row["most"],
        }
        for row in parts
    ]


class _copy_of:  # noqa: N801 - read as a phrase: `with _copy_of(folder)`
    """A folder whose ClickHouse has the same parts; removed at the end. One run at a time has it."""

    def __init__(self, folder: Path) -> None:
        self._of, self._copy = folder, folder / "measured"

    def __enter__(self) -> Path:
        self._lock = (self._of / "measured.lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchmarkFailed(f"another run is at work in {self._of}") from None
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._of / "clickhouse", self._copy / "clickhouse", copy_function=_linked, symlinks=True)
        return self._copy

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        self._lock.close()


def _linked(source: str, target: str) -> None:
    """Link the files of parts, which never change; copy the rest: tables' definitions, locks."""
    if Path(source).suffix in ("", ".sql", ".lock"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _gateway_settings(bootstrap: str, clickhouse_url: str, port: int) -> dict[str, str]:
    """No limits of a token: they are not what is measured."""
    return {
        "SENDLEDGER_KAFKA_BOOTSTRAP": bootstrap,
        "SENDLEDGER_CLICKHOUSE_URL": clickhouse_url,
        "SENDLEDGER_TOKEN_SECRET": _SECRET,
        "SENDLEDGER_PORT": str(port),
        "SENDLEDGER_READS_PER_SECOND": "0",
        "SENDLEDGER_READS_PER_TOKEN": "16",
        "SENDLEDGER_REQUEST_SECONDS": str(_REQUEST_SECONDS),
    }


@asynccontextmanager
async def _client(url: str, seconds: float, headers: dict[str, str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    # The gateway closes a connection that was idle for 5 s; we must not be about to use it then.
    limits = httpx.Limits(max_keepalive_connections=8, keepalive_expiry=2)
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=seconds, headers=headers, limits=limits
    ) as client:
        yield client


async def _ready(client: httpx.AsyncClient, gateway: Program) -> bool:
    _ = gateway.pid
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def _has_written(writer: Program) -> bool:
    _ = writer.pid
    return bool(writer.log.read_text())


def _of_writer(writer: Program) -> str:
    took = sorted(float(line) for line in writer.log.read_text().splitlines())
    if not took:
        raise BenchmarkFailed("the writer wrote nothing")
    within = f"p50 {_part(took, 0.5)} s, p95 {_part(took, 0.95)} s"
    return f"{len(took)} groups were written, one each {EVERY_SECONDS} s if it was done by then: {within}"
