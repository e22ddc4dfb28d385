"""A large log in a folder: made once, kept for the next run, and checked against what it was made of.

In:  a folder and a number of messages.
Out: ClickHouse's data in `clickhouse/`, and `made.json`, which says what was made and by which version of the maker.

The newest tenth lies in parts of its own that hold a message's rows apart, as a ledger leaves them: the request and
the decision, the dispatch, the first events, the later ones. The tables are told not to merge parts of that size, so
that they stay so while the benchmark runs; a larger log would have such parts by the engine's own limit.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from benchmarks.ledger.surroundings import BenchmarkFailed, free_port_base
from benchmarks.queries.multiply import (
    ACCOUNTS,
    TEMPLATES,
    Copies,
    dispatches_of,
    events_of,
    state_of,
)
from benchmarks.queries.template import Template, templates
from deploy.local.stack import local_clickhouse
from projections.accounts.columns import PolicyRow, policies_table
from projections.messages.columns import dispatches_table, events_table, state_table
from projections.store import Store, generations, migrate
from projections.suppressions.columns import changes_table
from schemas.decoding.gate_inputs import decode_policy
from schemas.decoding.sends import event_of
from schemas.decoding.times import rfc3339
from schemas.events import ENGAGEMENT_TYPES, Event, SourcePosition
from schemas.suppressions import ScopeState, SuppressionState

__all__ = ["FOLDER", "KEPT_UNMERGED", "MADE", "Made", "check", "kept", "make"]

MAKER: Final = 4
"""The version of what is made: data of another one are made anew."""
MADE: Final = "made.json"
FOLDER: Final = Path(".data/bench-queries")
DAYS: Final = 90
KEPT_UNMERGED: Final = ("message_state", "events")
"""The tables whose newest parts stay unmerged."""

_DAY_MS: Final = 86_400_000
_MOST_TEMPLATES: Final = 50_000
_COPIES: Final = 40
"""Of a log too small for the full number of templates: more copies, so that times and accounts spread."""
_STILL_TO_COME_MS: Final = 2 * 3_600_000
"""The last messages are so old, so that their events lie in the past."""
_UNMERGED_SHARE: Final = 0.1
_UNMERGED_GROUPS: Final = 4
_OLD_GROUP_MESSAGES: Final = 1_000_000
_SUPPRESSIONS: Final = 5_000
_CHECKED_DAYS: Final = 5
_STEPS: Final = 4
"""Request and decision, dispatch, events at first, opens and clicks."""
_LEAST_MERGED_BYTES: Final = 16 << 20
"""What is written while the benchmark runs must be merged, or its parts would grow in number without end."""
_STATEMENT_SECONDS: Final = 3_600
_MERGED: Final = f"{TEMPLATES}.merged"


@dataclass(frozen=True, slots=True)
class Made:
    """What a folder holds."""

    maker: int
    messages: int
    events: int
    statuses: dict[str, int]
    """What the templates' scenarios say, counted for every copy."""
    with_cc_events: int
    from_ms: int
    to_ms: int
    seconds: float


async def kept(folder: Path, messages: int, progress: Callable[[str], None]) -> Made:
    """Return what the folder holds; make it first unless it holds a log of this size by this maker."""
    file = folder / MADE
    if file.exists():
        made = orjson.loads(file.read_bytes())
        if made.get("maker") == MAKER and made.get("messages") == messages:
            return Made(**made)
        progress(f"{file} is about another log: it is made anew")
    _empty(folder)
    async with local_clickhouse(folder, free_port_base()) as url:
        store = Store(url, generation=generations.FIRST, timeout_seconds=_STATEMENT_SECONDS)
        migrate.apply(store)
        made = make(store, Store(url, database=TEMPLATES, timeout_seconds=_STATEMENT_SECONDS), messages, progress)
        check(store, made)
        store.close()
    file.write_bytes(orjson.dumps(asdict(made), option=orjson.OPT_INDENT_2))
    return made


def _empty(folder: Path) -> None:
    for name in ("clickhouse", "run", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / MADE).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def make(store: Store, beside: Store, messages: int, progress: Callable[[str], None]) -> Made:
    """Fill an empty store with a log of so many messages, and return what it holds. `beside` is for the templates."""
    started = time.monotonic()
    to_ms = time.time_ns() // 1_000_000 - _STILL_TO_COME_MS
    made = templates(min(_MOST_TEMPLATES, max(1, messages // _COPIES)))
    copies = -(-messages // len(made))
    from_ms = to_ms - DAYS * _DAY_MS
    whole = Copies(0, copies, len(made), messages, from_ms, (to_ms - from_ms) / copies)
    _write_templates(store, beside, made)
    progress(f"{len(made):,} templates after {time.monotonic() - started:.0f} s")
    _accounts(store, to_ms)
    unmerged = copies - max(1, round(copies * _UNMERGED_SHARE))
    for table in KEPT_UNMERGED:
        store.command(f"SYSTEM STOP MERGES {store.tables}.{table}")
    for part in _parts(whole, 0, unmerged, max(1, _OLD_GROUP_MESSAGES // len(made))):
        _insert_old(store, part)
        progress(f"{min(messages, part.behind * len(made)):,} messages after {time.monotonic() - started:.0f} s")
    for part in _parts(whole, unmerged, copies, -(-(copies - unmerged) // _UNMERGED_GROUPS)):
        _insert_new(store, part)
        progress(f"{min(messages, part.behind * len(made)):,} messages after {time.monotonic() - started:.0f} s")
    for table in KEPT_UNMERGED:
        _leave_unmerged(store, table)
        store.command(f"SYSTEM START MERGES {store.tables}.{table}")
    store.command(f"DROP DATABASE {TEMPLATES}")
    beside.close()
    return _description(made, whole, to_ms, time.monotonic() - started)


def check(store: Store, made: Made) -> None:
    """Compare the store with what it was made of. Raises BenchmarkFailed, which names what differs."""
    found: dict[str, Any] = {
        "statuses": _shown_statuses(store, made),
        "events": store.tuples("SELECT count() FROM events")[0][0],
        "with_cc_events": store.tuples(
            "SELECT count() FROM (SELECT 1 FROM message_state GROUP BY message_id HAVING"
            " length(arrayDistinct(arrayFilter(a -> a != 0, arrayMap(code -> bitShiftRight(code, 5),"
            " groupUniqArrayArray(told))))) > 1)"
        )[0][0],
    }
    for name, value in found.items():
        if value != getattr(made, name):
            raise BenchmarkFailed(f"{name}: the store has {value}, and was made of {getattr(made, name)}")


def _shown_statuses(store: Store, made: Made) -> dict[str, int]:
    """How often the view shows each status; some days at a time, so that the server needs little memory."""
    statuses = Counter[str]()
    for from_ms in range(made.from_ms, made.to_ms, _CHECKED_DAYS * _DAY_MS):
        to_ms = min(from_ms + _CHECKED_DAYS * _DAY_MS, made.to_ms)
        rows = store.tuples(
            "SELECT status, count() FROM messages WHERE date_sent >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')"
            " AND date_sent < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') GROUP BY status",
            {"from_ms": from_ms, "to_ms": to_ms},
        )
        statuses.update({str(status): int(count) for status, count in rows})
    return dict(statuses)


def _parts(whole: Copies, first: int, behind: int, size: int) -> Iterator[Copies]:
    for start in range(first, behind, size):
        yield Copies(start, min(behind, start + size), whole.templates, whole.messages, whole.from_ms, whole.copy_ms)


def _description(made: Sequence[Template], whole: Copies, to_ms: int, seconds: float) -> Made:
    full, rest = divmod(whole.messages, len(made))
    statuses, events, with_cc = Counter[str](), 0, 0
    for template in made:
        times = full + (template.number < rest)
        statuses[template.status] += times
        events += times * len(_timeline(template))
        with_cc += times * template.has_cc_event
    counts = {name: count for name, count in sorted(statuses.items()) if count}
    return Made(MAKER, whole.messages, events, counts, with_cc, whole.from_ms, to_ms, round(seconds, 1))


def _timeline(template: Template) -> list[Event]:
    facts = [event_of(template.request), event_of(template.decision)]
    return [*facts, *([event_of(template.dispatch)] if template.dispatch else []), *template.events]


def _write_templates(store: Store, beside: Store, made: Sequence[Template]) -> None:
    """Write the rows that the product's own code makes of the templates, each step by itself, and joined."""
    store.command(f"DROP DATABASE IF EXISTS {TEMPLATES}")
    store.command(f"CREATE DATABASE {TEMPLATES}")
    for name, of in {"events": "events", "merged": "message_state", "dispatches": "dispatches"}.items():
        store.command(f"CREATE TABLE {TEMPLATES}.{name} AS {store.tables}.{of} ENGINE = MergeTree ORDER BY tuple()")
    store.command(f"CREATE TABLE {TEMPLATES}.joined AS {store.tables}.message_state")
    dispatches = [template.dispatch for template in made if template.dispatch]
    beside.insert("dispatches", dispatches_table(dispatches))
    for some in range(0, len(made), 10_000):
        timeline = [event for template in made[some : some + 10_000] for event in _timeline(template)]
        beside.insert("events", events_table(timeline))
    for step in range(_STEPS):
        name = f"step_{step}"
        store.command(
            f"CREATE TABLE {TEMPLATES}.{name} AS {store.tables}.message_state ENGINE = MergeTree ORDER BY tuple()"
        )
        for some in range(0, len(made), 10_000):
            rows = _state_rows(made[some : some + 10_000], step)
            beside.insert(name, rows)
            beside.insert("joined", rows)
    store.command(f"INSERT INTO {_MERGED} SELECT * FROM {TEMPLATES}.joined FINAL")


def _state_rows(made: Sequence[Template], step: int) -> Any:
    if step == 0:
        return state_table(events_table([]), [t.request for t in made], [t.decision for t in made])
    if step == 1:
        return state_table(events_table([]), dispatches=[t.dispatch for t in made if t.dispatch])
    later = step == _STEPS - 1
    events = [event for t in made for event in t.events if (event.type in ENGAGEMENT_TYPES) == later]
    return state_table(events_table(events))


def _insert_old(store: Store, part: Copies) -> None:
    """Messages whose rows were joined long ago."""
    for statement in (
        state_of(part, f"{store.tables}.message_state", _MERGED),
        events_of(part, f"{store.tables}.events"),
        dispatches_of(part, f"{store.tables}.dispatches"),
    ):
        _run(store, statement)


def _insert_new(store: Store, part: Copies) -> None:
    """Messages whose rows came one after another."""
    for step in range(_STEPS):
        _run(store, state_of(part, f"{store.tables}.message_state", f"{TEMPLATES}.step_{step}"), optimize_on_insert=0)
    _run(store, events_of(part, f"{store.tables}.events"), optimize_on_insert=0)
    _run(store, dispatches_of(part, f"{store.tables}.dispatches"))


def _run(store: Store, statement: str, *, optimize_on_insert: int = 1) -> None:
    settings = {
        "optimize_on_insert": optimize_on_insert,
        "max_threads": 2,
        "max_insert_threads": 1,
        "max_block_size": 65_536,
        "min_insert_block_size_rows": 1_500_000,
        "min_insert_block_size_bytes": 1 << 30,
        "max_partitions_per_insert_block": 0,
    }
    store.command(f"{statement} SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}")


def _leave_unmerged(store: Store, table: str) -> None:
    """Tell a table not to merge any two of its parts: the smallest ones are as large as a merge may be."""
    # Those that were never merged; without the slivers that the end of a week or month cuts off.
    smallest = store.tuples(
        "SELECT min(bytes_on_disk) FROM (SELECT *, max(rows) OVER () AS most FROM system.parts WHERE active"
        " AND database = {db:String} AND table = {table:String} AND level = 0) WHERE rows * 20 >= most",
        {"db": store.tables, "table": table},
    )[0][0]
    store.command(
        f"ALTER TABLE {store.tables}.{table} MODIFY SETTING"
        f" max_bytes_to_merge_at_max_space_in_pool = {max(_LEAST_MERGED_BYTES, smallest)}"
    )


def _accounts(store: Store, now_ms: int) -> None:
    """A policy for each account, and suppressed addresses, a fifth of them for one account only."""
    records = [
        orjson.dumps({"account_id": f"acct-{number:03}", "updated_at": rfc3339(now_ms * 1000), "sms_enabled": True})
        for number in range(ACCOUNTS)
    ]
    place = SourcePosition("accounts.policies", 0, 0, now_ms * 1000)
    store.insert("policies", policies_table([PolicyRow(decode_policy(r, place), r.decode()) for r in records]))
    chance = Random(2)
    store.insert("suppression_changes", changes_table([_suppression(n, now_ms, chance) for n in range(_SUPPRESSIONS)]))


def _suppression(number: int, now_ms: int, chance: Random) -> SuppressionState:
    at = rfc3339((now_ms - chance.randrange(DAYS * _DAY_MS)) * 1000)
    scope = f"acct-{chance.randrange(ACCOUNTS):03}" if number % 5 == 0 else "*"
    state = ScopeState(
        scope=scope,
        suppressed=True,
        reason=chance.choice(("bounces", "complaint", "manual")),
        since=at,
        evidence=[f"evidence-{number}"],
    )
    address = f"suppressed{number}@example.com"
    return SuppressionState(channel="email", address=address, scopes=[state], opt_outs=[], version=1, changed_at=at)
