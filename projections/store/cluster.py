"""ClickHouse on a cluster: the statements of the table files, rewritten for its servers, and the settings it needs.

In:  a cluster's name (`SENDLEDGER_CLICKHOUSE_CLUSTER`); a statement of `tables/` or `views/`.
Out: the statements that create the same on all servers.

Each table has a part on every shard, in the database `…_g1_local`, replicated by the shard's servers, and a Distributed
table of the same name in `…_g1`, which all queries and inserts use. Rows that are merged with each other are on one
shard (`PLACEMENT`): FINAL and the engines merge rows only within a shard. docs/adr/0022-retention-cluster-roles.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.errors import ConfigError

__all__ = ["MATCHING", "ON_EACH_SERVER", "PLACEMENT", "READING", "WRITING", "Cluster"]

_MESSAGE: Final = "cityHash64(account_id, message_id)"
_PROVIDER_ID: Final = "cityHash64(provider, provider_message_id)"
_ADDRESS: Final = "cityHash64(channel, address)"
ON_EACH_SERVER: Final = ""
"""A small table that every server has completely."""
PLACEMENT: Final[Mapping[str, str]] = {
    # What belongs to a message is where the message is; so the rows that materialized views derive are there, too.
    "events": _MESSAGE,
    "message_state": _MESSAGE,
    "contents": _MESSAGE,
    "erasures": _MESSAGE,
    "bounces": _MESSAGE,
    "holders": _MESSAGE,
    "dispatches": _MESSAGE,
    # The matcher asks for the orphans with a provider id; all copies of an event have the same one, or none.
    "orphans": _PROVIDER_ID,
    # Derived from rows of a message, or of an orphan, and written where these are. Two shards may have the same row, so
    # queries read these tables as sets.
    "recent_orphans": _PROVIDER_ID,
    "addressees": _ADDRESS,
    # Derived as well. An orphan and the event that it becomes are on different shards, so these are sent on.
    "evidence": "cityHash64(event_id)",
    "arrivals": "cityHash64(provider, partition, offset, position)",
    # All that is known of an address.
    "suppression_changes": _ADDRESS,
    "opt_outs": _ADDRESS,
    "withdrawn_addressees": _ADDRESS,
    "commands": "cityHash64(command_id)",
    "policies": "cityHash64(account_id)",
    "preferences": "cityHash64(account_id, recipient_kind, recipient_id)",
    "build": ON_EACH_SERVER,
    "schema_migrations": ON_EACH_SERVER,
    "schema_views": ON_EACH_SERVER,
}
"""By table: the expression by which its rows are placed on shards."""
_SENT_ON: Final = frozenset({"arrivals", "evidence"})
"""Targets of materialized views that are written through their Distributed table."""

READING: Final[Mapping[str, str | int]] = {
    # A subquery in IN or JOIN is evaluated once, over all shards, and its result sent to them. Without this setting
    # ClickHouse refuses such a query.
    "distributed_product_mode": "global",
    # A shard that can't be reached is an error, never a result that lacks its rows.
    "skip_unavailable_shards": 0,
}
"""The settings of every query."""
MATCHING: Final[Mapping[str, str | int]] = {
    # The first server of a shard that can be reached, for inserts and queries alike: the matcher finds what it, or
    # another worker, has just written.
    "load_balancing": "in_order",
    "prefer_localhost_replica": 0,
}
"""More settings of programs that read what they have written: the ledger, a replay and a rebuild."""
WRITING: Final[Mapping[str, str | int]] = {
    # An insert returns when it is stored on all shards that it has rows for, by most servers of each: a record is
    # acknowledged after that, and one server may be lost. Several inserts at once must not wait for each other.
    "distributed_foreground_insert": 1,
    "insert_quorum": "auto",
    "insert_quorum_parallel": 1,
    "insert_quorum_timeout": 60_000,
    # A repeated insert must be stored, since a replay repeats one to restore rows that were lost. Duplicate rows merge.
    "insert_deduplicate": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 0,
}
"""More settings of inserts."""
_DELETING: Final = "allow_nondeterministic_mutations = 1"
"""A DELETE by a subquery: each server of a shard evaluates it; parts that differ are copied from another server."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TABLE: Final = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+)(?P<as> AS \w+)?(?P<columns>.*?)"
    r"\bENGINE = (?P<engine>\w*MergeTree)(?:\((?P<arguments>[^)]*)\))?(?P<rest>.*)\Z",
    re.S,
)
_ALTER: Final = re.compile(r"ALTER TABLE (?P<name>\w+) (?P<change>.*)\Z", re.S)
_MATERIALIZED: Final = re.compile(
    r"CREATE MATERIALIZED VIEW IF NOT EXISTS (?P<name>\w+) TO (?P<target>\w+) AS(?P<query>.*)\Z", re.S
)
_VIEW: Final = re.compile(r"CREATE (?:OR REPLACE )?VIEW (?:IF NOT EXISTS )?(?:\w+\.)?\w+")
_DATABASE: Final = re.compile(
    r"(?P<verb>CREATE DATABASE IF NOT EXISTS|DROP DATABASE IF EXISTS) (?P<name>\w+)(?P<rest>.*)"
)
_DROPPED: Final = re.compile(r"DROP VIEW IF EXISTS (?P<name>\w+)")
"""A materialized view: the others are never dropped."""
_SOURCE: Final = re.compile(r"\bFROM (\w+)")
_OF_COLUMNS: Final = re.compile(r"(?:ADD|DROP) COLUMN\b")
_GENERATION: Final = re.compile(r"\w+_g[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster by its name in the servers' configuration (`remote_servers`)."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                "The name of the cluster is not valid",
                "SENDLEDGER_CLICKHOUSE_CLUSTER",
                "Give a name from the servers' remote_servers: letters, digits and _",
            )

    @staticmethod
    def local(database: str) -> str:
        """Return the database with the tables that a shard has of a generation's database."""
        return f"{database}_local"

    def everywhere(self, table: str) -> str:
        """Return the source of a system table's rows of all servers; `hostName()` tells them apart."""
        return f"clusterAllReplicas('{self.name}', {table})"

    def statements(self, sql: str, database: str) -> list[str]:
        """Return the statements that do on all servers what `sql` does on one, in a generation's database.

        `sql` is a statement of this package: it begins as `tables/` and `views/` do, or names a database. Raises
        ConfigError for any other, and for a table without a `PLACEMENT`.
        """
        if found := _TABLE.match(sql):
            return self._table(found, database)
        if found := _MATERIALIZED.match(sql):
            return [self._materialized(found, database)]
        if found := _DROPPED.fullmatch(sql):
            return [f"DROP VIEW IF EXISTS {self.local(database)}.{found['name']}{self._on}"]
        if found := _VIEW.match(sql):
            return [f"{found[0]}{self._on}{sql[found.end() :]}"]
        if found := _ALTER.match(sql):
            return self._alter(found, database)
        if found := _DATABASE.fullmatch(sql):
            names = [found["name"], *([self.local(found["name"])] if _GENERATION.fullmatch(found["name"]) else [])]
            return [f"{found['verb']} {name}{self._on}{found['rest']}" for name in names]
        if sql.startswith("INSERT INTO "):  # through the Distributed tables, once
            return [sql]
        raise ConfigError(
            f"There is no variant of this statement for a cluster: {sql[:60]}",
            "projections/store/cluster.py",
            "Write it as the other statements of projections/store/tables are written",
        )

    @property
    def _on(self) -> str:
        return f" ON CLUSTER {self.name}"

    def _table(self, found: re.Match[str], database: str) -> list[str]:
        name, local = found["name"], self.local(database)
        key = _placement(name)
        if key == ON_EACH_SERVER:
            engine = _replicated(found, f"/clickhouse/tables/all/{database}/{name}", "{shard}-{replica}")
            of_all = f"{database}.{name}{self._on}{found['columns']}ENGINE = {engine}{found['rest']}"
            return [f"CREATE TABLE IF NOT EXISTS {of_all}"]
        engine = _replicated(found, f"/clickhouse/tables/{{shard}}/{local}/{name}", "{replica}")
        like = f" AS {local}.{found['as'].removeprefix(' AS ')}" if found["as"] else ""
        return [
            f"CREATE TABLE IF NOT EXISTS {local}.{name}{self._on}{like}{found['columns']}"
            f"ENGINE = {engine}{found['rest']}",
            f"CREATE TABLE IF NOT EXISTS {database}.{name}{self._on} AS {local}.{name}"
            f" ENGINE = Distributed('{self.name}', '{local}', '{name}', {key})",
        ]

    def _materialized(self, found: re.Match[str], database: str) -> str:
        local, target = self.local(database), found["target"]
        to = f"{database if target in _SENT_ON else local}.{target}"
        query = _SOURCE.sub(rf"FROM {local}.\1", found["query"])
        return f"CREATE MATERIALIZED VIEW IF NOT EXISTS {local}.{found['name']}{self._on} TO {to} AS{query}"

    def _alter(self, found: re.Match[str], database: str) -> list[str]:
        name, change = found["name"], found["change"]
        if _placement(name) == ON_EACH_SERVER:
            return [f"ALTER TABLE {database}.{name}{self._on} {change}"]
        if change.startswith("DELETE "):
            change += f", {_DELETING}" if " SETTINGS " in change else f" SETTINGS {_DELETING}"
        databases = [self.local(database), *([database] if _OF_COLUMNS.match(change) else [])]
        return [f"ALTER TABLE {each}.{name}{self._on} {change}" for each in databases]


def _placement(table: str) -> str:
    if table not in PLACEMENT:
        raise ConfigError(
            f"It is not decided which shard a row of the table {table} is on",
            "projections/store/cluster.py, PLACEMENT",
            "Add the table there: rows that are merged with each other must be on one shard",
        )
    return PLACEMENT[table]


def _replicated(found: re.Match[str], path: str, replica: str) -> str:
    """Return the replicated variant of an engine. The path has the generation's name, so no two share one."""
    arguments = [f"'{path}'", f"'{replica}'", *([found["arguments"]] if found["arguments"] else [])]
    return f"Replicated{found['engine']}({', '.join(arguments)})"
