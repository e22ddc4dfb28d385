"""ClickHouse: does it answer, is it new enough, are clocks alike, is the database at its newest version, and merged."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from cli.doctor.checks import CONFIGURATION, DOWN, WRONG, Check, fail, ok, unknown, warn
from projections.store import Store, health, migrate
from projections.store.generations import ShownStore
from schemas.errors import ConfigError, SendledgerError, StoreDenied, StoreError, StoreRefused
from schemas.settings import PREFIX, StoreSettings

__all__ = ["look"]

_TIMEOUT_SECONDS: Final = 10
_MOST_SKEW_SECONDS: Final = 5.0
_MOST_PARTS: Final = 300
_BEHIND_CLICKHOUSE: Final = ("clickhouse.version", "clickhouse.clock", "database", "migrations", "parts")
_SETTING: Final = f"{PREFIX}CLICKHOUSE_URL"


def look(settings: StoreSettings) -> list[Check]:
    """Return how the server and the database are. Blocks."""
    url = settings.clickhouse_url.get_secret_value()
    try:
        where = _where(url)
        server = Store(url, database="system", timeout_seconds=_TIMEOUT_SECONDS)
    except (ConfigError, ValueError):  # whose text may hold a piece of the password
        mend = f"give {_SETTING} as http://user:password@host:8123; what is odd in a password must be percent-encoded"
        return _alone(fail("clickhouse", "its address is not valid", mend, CONFIGURATION))
    store = ShownStore(url, database=settings.clickhouse_database, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        version = health.version(server)
        return [
            ok("clickhouse", f"{version} answers at {where}"),
            _version(version),
            _guarded("clickhouse.clock", lambda: _clock(server)),
            *_database(server, store),
        ]
    except StoreDenied:
        what = f"it refuses the user or the password (at {where})"
        return _alone(fail("clickhouse", what, f"compare {_SETTING} with the server's users", CONFIGURATION))
    except StoreError:
        return _alone(fail("clickhouse", f"it does not answer (at {where})", f"start it, or set {_SETTING}", DOWN))
    except StoreRefused:
        return _alone(fail("clickhouse", f"it refuses to say its version (at {where})", "look at its log", WRONG))
    finally:
        server.close()
        store.close()


def _where(url: str) -> str:
    """Return host and port; never the user or the password. Raises ValueError."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:  # a password that is not encoded passes for the host
        raise ValueError
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _alone(failure: Check) -> list[Check]:
    return [failure, *(unknown(name, "ClickHouse can't be asked") for name in _BEHIND_CLICKHOUSE)]


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except ConfigError as error:
        return fail(name, error.what, error.mend, CONFIGURATION)
    except StoreError:
        return fail(name, "ClickHouse does not answer this", "look at its log, and at what its user may read", DOWN)
    except SendledgerError:
        return fail(name, "ClickHouse refuses to answer this", "look at its log, and at what its user may read", WRONG)


def _version(version: str) -> Check:
    name, number = "clickhouse.version", health.number_of(version)
    if number < health.OLDEST:
        return fail(name, f"{version} is too old", f"run {_text(health.OLDEST)} or newer")
    if number < health.TESTED:
        return warn(
            name, f"{version} is older than what sendledger is tested with", f"{_text(health.TESTED)} is tested"
        )
    return ok(name, f"{version}; {_text(health.OLDEST)} is needed, {_text(health.TESTED)} is tested")


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def _clock(server: Store) -> Check:
    skew = health.clock_skew_seconds(server)
    if abs(skew) > _MOST_SKEW_SECONDS:
        ahead = "ahead of" if skew > 0 else "behind"
        what = f"ClickHouse's clock is {abs(skew):.0f} s {ahead} this machine's"
        return warn("clickhouse.clock", what, "let both follow a time server")
    return ok("clickhouse.clock", "as this machine's")


def _database(server: Store, store: Store) -> list[Check]:
    def present() -> Check:
        if health.has_database(server, store.tables):
            return ok("database", f"{store.database} is there")
        return fail("database", f"there is no database {store.database}", "run `sendledger migrate`")

    there = _guarded("database", present)
    if there.code:
        return [there, *(unknown(name, "there is no database") for name in ("migrations", "parts"))]
    return [
        there,
        _guarded("migrations", lambda: _migrations(store)),
        _guarded("parts", lambda: _parts(server, store.tables)),
    ]


def _migrations(store: Store) -> Check:
    pending = [migration.name for migration in migrate.pending(store)]
    if pending:
        return fail("migrations", f"not applied: {', '.join(pending)}", "run `sendledger migrate`")
    return ok("migrations", "all applied, and unchanged since")


def _parts(server: Store, database: str) -> Check:
    parts = health.parts(server, database)
    many = [f"{table} has {count}" for table, count in parts.items() if count > _MOST_PARTS]
    if many:
        mend = (
            f"see in system.merges whether merges run and the disk keeps up; fewer and larger writes need fewer merges"
            f" ({PREFIX}GROUP_SECONDS)"
        )
        return warn("parts", f"more than {_MOST_PARTS} parts, so that reading is slow: {', '.join(many)}", mend)
    most = max(parts.items(), key=lambda item: item[1], default=("", 0))
    return ok("parts", f"{most[1]} at the most, in {most[0]}" if parts else "no rows yet")
