"""Checks of ClickHouse: reachable, version, clock, database, migrations, and number of parts."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from application.checks.check import CONFIGURATION, DOWN, WRONG, Check, fail, ok, unknown, warn
from projections.store import Store, generations, health, migrate
from projections.store.generations import ShownStore
from schemas.errors import ConfigError, SendledgerError, StoreDenied, StoreError, StoreRefused
from schemas.settings import PREFIX, StoreSettings

__all__ = ["check", "unanswered"]

_TIMEOUT_SECONDS: Final = 10
_MAX_SKEW_SECONDS: Final = 5.0
_MAX_PARTS: Final = 300
_CLICKHOUSE_CHECKS: Final = ("clickhouse.version", "clickhouse.clock", "database", "migrations", "parts")
_SETTING: Final = f"{PREFIX}CLICKHOUSE_URL"


def check(settings: StoreSettings, timeout_seconds: int = _TIMEOUT_SECONDS) -> list[Check]:
    """Return the checks of the server and the database. Blocks, for up to `timeout_seconds` in each query."""
    url = settings.clickhouse_url.get_secret_value()
    try:
        where = _where(url)
        server = Store(url, database="system", cluster=settings.clickhouse_cluster, timeout_seconds=timeout_seconds)
    except (ConfigError, ValueError):  # the error's text may contain a part of the password
        mend = f"give {_SETTING} as http://user:password@host:8123; percent-encode special characters in the password"
        return _skip_others(fail("clickhouse", "its address is not valid", mend, CONFIGURATION))
    store = ShownStore.of(settings, timeout_seconds=timeout_seconds)
    try:
        version = health.version(server)
        return [
            ok("clickhouse", f"{version} answers at {where}"),
            _version(version),
            _run_safely("clickhouse.clock", lambda: _clock(health.clock_skew_seconds(server))),
            *_database(server, store),
        ]
    except StoreDenied:
        what = f"it refuses the user or the password (at {where})"
        return _skip_others(fail("clickhouse", what, f"compare {_SETTING} with the server's users", CONFIGURATION))
    except StoreError:
        return unanswered(f"at {where}")
    except StoreRefused:
        return _skip_others(
            fail("clickhouse", f"it refuses the query for its version (at {where})", "read its log", WRONG)
        )
    finally:
        server.close()
        store.close()


def unanswered(where: str = "in time") -> list[Check]:
    """Return the checks of a server that does not answer."""
    return _skip_others(fail("clickhouse", f"it does not answer ({where})", f"start it, or set {_SETTING}", DOWN))


def _where(url: str) -> str:
    """Return host and port; never the user or the password. Raises ValueError."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:  # an unencoded password may be parsed as the host
        raise ValueError
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _skip_others(failure: Check) -> list[Check]:
    return [failure, *(unknown(name, "ClickHouse can't be queried") for name in _CLICKHOUSE_CHECKS)]


def _run_safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ConfigError as error:
        return fail(name, error.what, error.mend, CONFIGURATION)
    except StoreError:
        return fail(name, "ClickHouse does not answer this", "read its log, and check the grants of its user", DOWN)
    except SendledgerError:
        return fail(name, "ClickHouse refuses to answer this", "read its log, and check the grants of its user", WRONG)


def _version(version: str) -> Check:
    name, number = "clickhouse.version", health.parse_version(version)
    if number < health.MIN_VERSION:
        return fail(name, f"{version} is too old", f"run {_text(health.MIN_VERSION)} or newer")
    if number < health.TESTED_VERSION:
        return warn(
            name, f"{version} is older than what sendledger is tested with", f"{_text(health.TESTED_VERSION)} is tested"
        )
    return ok(name, f"{version}; {_text(health.MIN_VERSION)} is needed, {_text(health.TESTED_VERSION)} is tested")


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def _clock(skew: float) -> Check:
    if abs(skew) > _MAX_SKEW_SECONDS:
        ahead = "ahead of" if skew > 0 else "behind"
        what = f"ClickHouse's clock is {abs(skew):.0f} s {ahead} this machine's"
        return warn("clickhouse.clock", what, "synchronise both with a time server")
    return ok("clickhouse.clock", "the same as this machine's")


def _database(server: Store, store: Store) -> list[Check]:
    def present() -> Check:
        if health.has_database(server, store.tables):
            return _shown(store)
        return fail("database", f"there is no database {store.database}", "run `sendledger migrate`")

    there = _run_safely("database", present)
    if there.code:
        return [there, *(unknown(name, "there is no database") for name in ("migrations", "parts"))]
    return [
        there,
        _run_safely("migrations", lambda: _migrations(store)),
        _run_safely("parts", lambda: _parts(server, store.stored_tables)),
    ]


def _shown(store: Store) -> Check:
    pointer = generations.pointer(store)
    if pointer is not None and not pointer.complete:
        what = (
            f"a switch to generation {pointer.generation} was interrupted: what came shortly before it may be missing"
        )
        return warn("database", what, "run `sendledger rebuild`, which finishes it")
    return ok("database", f"{store.database} is there")


def _migrations(store: Store) -> Check:
    pending = [migration.name for migration in migrate.pending(store)]
    if pending:
        return fail("migrations", f"not applied: {', '.join(pending)}", "run `sendledger migrate`")
    return ok("migrations", "all applied, and unchanged since")


def _parts(server: Store, database: str) -> Check:
    parts = health.parts(server, database)
    many = [f"{table} has {count}" for table, count in parts.items() if count > _MAX_PARTS]
    if many:
        mend = (
            f"check in system.merges that merges run and the disk keeps up; larger and fewer inserts need fewer merges"
            f" ({PREFIX}GROUP_SECONDS)"
        )
        return warn("parts", f"more than {_MAX_PARTS} parts, so reads are slow: {', '.join(many)}", mend)
    largest = max(parts.items(), key=lambda item: item[1], default=("", 0))
    return ok("parts", f"{largest[1]} at the most, in {largest[0]}" if parts else "no rows yet")
