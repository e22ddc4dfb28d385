"""On a cluster the same table files give replicated tables on each shard, and Distributed tables over them.

The engine of the tests has no second server, no Keeper and no `ON CLUSTER`. So three things are tested:

- on the engine, with a remote table over this server in place of every Distributed one: all rows are those of plain
  tables;
- on an engine of its own that knows a cluster of two shards: it accepts the Distributed tables, and every query of a
  view and of the matcher, which fails only since the shards do not answer;
- by the parser: each statement as it is sent.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from processors.ledger.replay import replay
from projections.messages.matching import candidates_of, copies_of, recent_provider_ids
from projections.store import Store, generations, migrate, retention
from projections.store.cluster import MATCHING, ON_EACH_SERVER, PLACEMENT, READING, WRITING, Cluster
from schemas.errors import ConfigError
from tests.docs.generate import ROOT
from tests.ledger.test_replay import in_turn, rows_of, simulated
from tests.projections.own_engine import results
from tests.projections.test_retention import DAYS, OLD_US, differences
from tests.stores import a_store, drop

DATABASE: Final = "sendledger_g1"
CLUSTER: Final = Cluster("both")
OWN_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32) ENGINE = ReplacingMergeTree ORDER BY version",
    "CREATE TABLE IF NOT EXISTS schema_views (name String) ENGINE = ReplacingMergeTree ORDER BY name",
)
RETENTION: Final = (
    "ALTER TABLE events MODIFY SETTING merge_with_ttl_timeout = 86400",
    "ALTER TABLE events MODIFY TTL toDateTime(sent_at) + toIntervalDay(30)",
    "ALTER TABLE events REMOVE TTL",
    "ALTER TABLE evidence DELETE WHERE event_id NOT IN (SELECT 'x') SETTINGS mutations_sync = 1",
)


def defined() -> list[str]:
    """All statements that create something in a generation, as for one server."""
    files = [s for m in (*migrate.migrations(), *migrate.views()) for s in m.statements]
    databases = [f"CREATE DATABASE IF NOT EXISTS {name}" for name in ("sendledger", DATABASE)]
    return [*databases, *OWN_TABLES, *files]


def on_cluster(statements: Any) -> list[str]:
    return [made for one in statements for made in CLUSTER.statements(one, DATABASE)]


def test_every_table_has_a_shard_for_its_rows() -> None:
    names = {found[1] for one in defined() if (found := re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", one))}
    assert names == set(PLACEMENT)


def test_the_page_says_where_the_rows_of_each_table_are() -> None:
    page = (ROOT / "docs" / "how-to" / "grow-to-a-cluster.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`.*?) \|", page.partition("## Where a row is")[2].partition("\n## ")[0], re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(PLACEMENT)


def test_a_table_without_a_placement_is_refused() -> None:
    for statement in (
        "CREATE TABLE IF NOT EXISTS news (a UInt8) ENGINE = MergeTree ORDER BY a",
        "ALTER TABLE news DELETE",
    ):
        with pytest.raises(ConfigError, match=r"table news.*PLACEMENT"):
            CLUSTER.statements(statement, DATABASE)


def test_a_statement_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="no variant"):
        CLUSTER.statements("RENAME TABLE events TO others", DATABASE)
    with pytest.raises(ConfigError, match="SENDLEDGER_CLICKHOUSE_CLUSTER"):
        Cluster("both; DROP TABLE events")


@pytest.mark.parametrize("table", [name for name, key in PLACEMENT.items() if key != ON_EACH_SERVER])
def test_rows_that_are_merged_with_each_other_have_the_same_placement(table: str) -> None:
    """The placement is a function of columns of the sorting key, by which the engine merges rows."""
    [created] = [
        s for s in on_cluster(defined()) if s.startswith(f"CREATE TABLE IF NOT EXISTS {DATABASE}_local.{table} ")
    ]
    [key] = re.findall(r"ORDER BY \(?([\w, ]+?)\)?\s*(?:\n|$)", created)
    placed_by = re.findall(r"\w+", PLACEMENT[table].removeprefix("cityHash64"))
    assert set(placed_by) <= {name.strip() for name in key.split(",")}


def test_no_two_tables_and_no_two_generations_share_a_path() -> None:
    paths = [
        path
        for database in (DATABASE, "sendledger_g2", "other_g1")
        for one in defined()
        for made in CLUSTER.statements(one, database)
        for path in re.findall(r"MergeTree\('([^']+)'", made)
    ]
    assert len(paths) == len(set(paths)) == 3 * len(PLACEMENT)


def test_a_materialized_view_reads_and_writes_the_tables_of_its_shard() -> None:
    """But for those whose rows are sent on to another shard."""
    views = [one for one in on_cluster(defined()) if one.startswith("CREATE MATERIALIZED VIEW")]
    assert len(views) > 8
    for one in views:
        assert {f"{DATABASE}_local"} == {*re.findall(r"\bFROM (\w+)\.", one)}
        [(database, target)] = re.findall(r" TO (\w+)\.(\w+) ", one)
        assert database == (DATABASE if target in ("arrivals", "evidence") else f"{DATABASE}_local")


def test_a_materialized_view_is_dropped_where_it_is() -> None:
    dropped = CLUSTER.statements("DROP VIEW IF EXISTS some_of_events", DATABASE)
    assert dropped == [f"DROP VIEW IF EXISTS {DATABASE}_local.some_of_events ON CLUSTER both"]


def test_a_column_is_added_to_both_tables_and_a_ttl_to_the_stored_one() -> None:
    added = CLUSTER.statements("ALTER TABLE orphans ADD COLUMN IF NOT EXISTS x UInt8", DATABASE)
    assert added == [
        f"ALTER TABLE {database}.orphans ON CLUSTER both ADD COLUMN IF NOT EXISTS x UInt8"
        for database in (f"{DATABASE}_local", DATABASE)
    ]
    for one in RETENTION:
        assert [made.partition(" ON ")[0] for made in CLUSTER.statements(one, DATABASE)] == [
            f"ALTER TABLE {DATABASE}_local.{one.split()[2]}"
        ]


@pytest.mark.clickhouse
def test_the_parser_accepts_every_statement_as_it_is_sent(clickhouse_url: str) -> None:
    sent = [*on_cluster(defined()), *on_cluster(RETENTION), *on_cluster([f"DROP DATABASE IF EXISTS {DATABASE} SYNC"])]
    sent += [f"SELECT count() FROM {CLUSTER.everywhere('system.parts')}"]
    store = Store(clickhouse_url, database="default")
    formatted = store.tuples(
        "SELECT formatQueryOrNull(arrayJoin({sent:Array(String)}))", {"sent": [*sent, "CREATE TABLE ON CLUSTER"]}
    )
    store.close()
    assert [one for one, (made,) in zip(sent, formatted[:-1], strict=True) if not made] == []
    assert not formatted[-1][0], "the check itself"
    everywhere = [one for one in sent if not one.startswith(("INSERT", "SELECT"))]
    assert [one for one in everywhere if " ON CLUSTER both" not in one] == []


class Loopback(Cluster):
    """A cluster of one shard, which is this server: no `ON CLUSTER`, no Keeper, and a remote table over the own one."""

    def statements(self, sql: str, database: str) -> list[str]:
        return [_on_this_server(one) for one in super().statements(sql, database)]

    def everywhere(self, table: str) -> str:
        return table


def _unreplicated(sql: str) -> str:
    return re.sub(r"Replicated(\w+)\('[^']*', '[^']*'(?:, )?", r"\1(", sql.replace(" ON CLUSTER both", ""))


def _on_this_server(sql: str) -> str:
    return re.sub(
        r" AS [\w.]+ ENGINE = Distributed\('both', '(\w+)', '(\w+)', (.*)\)\Z",
        r" AS remote('127.0.0.1', '\1', '\2', 'default', '', \3)",
        _unreplicated(sql),
        flags=re.S,
    )


@pytest.fixture
def sharded(clickhouse_url: str) -> Iterator[Store]:
    """A store over tables that are read and written through others, as on a cluster."""
    store = Store(clickhouse_url, database=f"test_{uuid4().hex[:12]}", generation=1, cluster="both")
    store.cluster = Loopback("both")
    migrate.apply(store)
    yield store
    for name in (store.database, store.tables, store.stored_tables):
        store.command(f"DROP DATABASE IF EXISTS {name}")
    store.close()


@pytest.mark.clickhouse
async def test_the_same_log_gives_the_same_rows_through_distributed_tables(sharded: Store, clickhouse_url: str) -> None:
    plain = a_store(clickhouse_url)
    records = [*simulated(60, seed=5, now_us=OLD_US), *simulated(80, seed=6)]
    for store in (plain, sharded):
        for first in range(0, len(records), 300):  # so that dispatches and events are matched over several inserts
            await replay(store, in_turn(records[first : first + 300]), decision_days=30)
    stored = "SELECT count() FROM system.tables WHERE database = {db:String} AND engine = 'Proxy'"
    assert sharded.tuples(stored, {"db": sharded.tables})[0][0] == len([key for key in PLACEMENT.values() if key])
    assert rows_of(sharded) == rows_of(plain)
    assert all(rows_of(plain).values())
    assert differences(sharded) == []

    for store in (plain, sharded):
        assert migrate.apply(store) == [], "nothing is pending"
        retention.set_retention(store, DAYS)
    expiring = "SELECT countIf(engine_full LIKE '%toIntervalDay(31)%') FROM system.tables WHERE database = {db:String}"
    assert sharded.tuples(expiring, {"db": sharded.stored_tables})[0][0] == 4
    assert rows_of(sharded) == rows_of(plain)
    [generation] = generations.generations(sharded)
    assert generation.rows > 0, "counted where they are stored"
    drop(plain)


SHARD: Final = "<shard><replica><host>127.0.0.1</host><port>1</port></replica></shard>"
SERVER: Final = f"<clickhouse><remote_servers><both>{SHARD}{SHARD}</both></remote_servers></clickhouse>"


def errors_of_two_shards(folder: Path, settings: Any, queries: list[str]) -> dict[str, str]:
    """What each query fails with on a cluster of two shards that do not answer."""
    created = [_unreplicated(one) for one in on_cluster(defined()) if not one.startswith("INSERT")]
    # The files name no database, as they do on one server.
    in_database = [*created[:5], f"USE {DATABASE}", *created[5:], *queries]
    errors = [error for error, _ in results(folder, {"server.xml": SERVER}, in_database, settings)]
    assert errors[: -len(queries)] == [""] * (len(created) + 1)
    return dict(zip(queries, errors[-len(queries) :], strict=True))


@pytest.mark.process
def test_every_view_and_query_of_the_matcher_can_be_asked_of_two_shards(tmp_path: Path) -> None:
    queries = [f"SELECT * FROM {view.name}" for view in migrate.views()]
    for query in (candidates_of("sendgrid", ["x"]), copies_of("sendgrid", ["x"]), recent_provider_ids(60)):
        bound = query.sql.replace("{provider:String}", "'sendgrid'").replace("{ids:Array(String)}", "['x']")
        queries.append(bound.replace("{seconds:UInt32}", "60"))
    for settings, unanswered in (({**READING, **MATCHING}, True), ({}, False)):
        folder = tmp_path / str(unanswered)
        folder.mkdir()
        errors = errors_of_two_shards(folder, settings, queries)
        refused = {query: error for query, error in errors.items() if "NETWORK_ERROR" not in error}
        assert (refused == {}) is unanswered, refused
        assert all("DISTRIBUTED_IN_JOIN_SUBQUERY_DENIED" in error for error in refused.values()), refused


@pytest.mark.clickhouse
def test_the_engine_knows_the_settings_and_a_store_of_a_cluster_sends_them(clickhouse_url: str) -> None:
    store = Store(clickhouse_url, database="default", cluster="both", reads_own_writes=True)
    names = "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}"
    found = dict(map(tuple, store.tuples(names, {"names": [*READING, *MATCHING, *WRITING]})))
    store.close()
    assert found.keys() == {*READING, *MATCHING, *WRITING}
    assert {name: found[name] for name in (*READING, *MATCHING)} == {
        k: str(v) for k, v in {**READING, **MATCHING}.items()
    }
