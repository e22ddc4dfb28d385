"""Our SQL as text: what it must not contain."""

import re

import pytest

from projections.accounts import queries as accounts
from projections.bounces import queries as bounces
from projections.messages import filters, queries, stats
from projections.messages.arrow_types import STATE
from projections.store import Store, migrate
from projections.store.views import message_rows
from projections.suppressions import bulk_queries as bulk
from projections.suppressions import queries as suppressions
from projections.suppressions.bulk_release import Cause
from schemas.decoding.ids import uuid7
from schemas.errors import ConfigError, StoreRefused

AXES = [name for name in STATE if name not in ("account_id", "message_id")]
SUBCOLUMN = re.compile(rf"(?<!\bt\.)\b(?:{'|'.join(AXES)})\.\w+|\bt FINAL\b")
"""A subcolumn of an axis, except with the alias `t` of grouped rows; or the alias `t` under FINAL."""


EVERY_FILTER = [
    filters.Filter(["a"], 1, 2, **{name: [value] if name in ("statuses", "addresses", "types") else value})  # type: ignore[arg-type]
    for name, value in {
        "statuses": "Bounced",
        "addresses": "a@b.c",
        "email_id": "x",
        "channel": "sms",
        "types": "t",
        "sent_to": "client",
        "address_prefix": "a",
        "domain": "b.c",
        "subject": "s",
        "client_id": "c",
        "staff_id": "s",
        "appointment_id": "a",
        "provider": "twilio",
        "provider_message_ids": ["x"],
        "code": "550",
        "classification": "spam",
        "stuck_hours": 1,
    }.items()
]


def indexed(wanted: filters.Filter) -> queries.Query | None:
    return queries.indexed_keys(wanted, limit=1, after=queries.Cursor(1, "x", "a"))


def test_queries_merge_rows_as_the_table_does() -> None:
    [table] = [s for m in migrate.migrations() for s in m.statements if "CREATE TABLE IF NOT EXISTS message_state" in s]
    joins = dict(re.findall(r"^ +(\w+) SimpleAggregateFunction\((\w+(?:\(\d+\))?),", table, re.M))
    assert joins == message_rows.MERGE_FUNCTIONS
    assert set(joins) == set(AXES)


def test_every_filter_is_tested() -> None:
    tested = {name for wanted in EVERY_FILTER for name in wanted.__slots__ if getattr(wanted, name)}
    assert tested == set(filters.Filter.__slots__)


def statements() -> list[str]:
    built = [
        *(query for query in map(indexed, EVERY_FILTER) if query is not None),
        *(
            queries.scanned_keys(wanted, queries.Window(1, 2), limit=1, after=queries.Cursor(1, "x", "a"))
            for wanted in EVERY_FILTER
        ),
        queries.states_of_keys(["a"], [uuid7(0, b"0" * 10)]),
        queries.events_of_keys(["a"], [uuid7(0, b"0" * 10)]),
        *(queries.facets(wanted) for wanted in EVERY_FILTER),
        queries.oldest(filters.Filter(["a"])),
        queries.states_with_id(["a"], "x"),
        queries.timeline("a", uuid7(0, b"0" * 10), limit=1, after=queries.EventCursor(1, 2, "x")),
        accounts.accounts_like("x", limit=1),
        accounts.accounts_named(["a"]),
        accounts.policy("a"),
        accounts.preference("a", "client", "x"),
        suppressions.opt_outs(["a"], "email", ["x"]),
        suppressions.commands(["x"]),
        suppressions.suppressions_page(
            suppressions.SuppressionFilter(["a"], "email", "*", True, "manual", ["x"]),
            limit=1,
            after=suppressions.SuppressionCursor(*"xyz"),
        ),
        suppressions.suppression_history(suppressions.SuppressionFilter(["a"])),
        suppressions.evidence_events(["a"], ["x"]),
        bounces.bounces_page(
            bounces.Filter(["a"], "email", ["x"], True, 1, 2), limit=1, after=bounces.Cursor(1, *"xyz")
        ),
        bounces.bounces_page(bounces.Filter(["a"]), limit=1),
        bounces.recipients(["a"], [uuid7(0, b"0" * 10)]),
        bounces.suppressed(["a"], ["x"]),
        queries.withdrawn(filters.Filter(["a"])),
        stats.delivery(filters.Filter(["a"]), ["day", "provider"], limit=1),
        bulk.suppressed_scopes(
            Cause(account="a", domain="b.c", from_us=1, to_us=2),
            ["a"],
            limit=1,
            after=suppressions.SuppressionCursor(*"xyz"),
        ),
        bulk.evidence_of_messages(["x"]),
        bulk.evidence_without_message(["x"]),
        bulk.release_commands("x", ["a"], limit=1),
        bulk.scope_changes(["x"]),
        bulk.bulk_releases(["a"], limit=1),
        bulk.bulk_releases(["a"], limit=1, before="x"),
        suppressions.was_suppressed("release", "email", "x", "*"),
        suppressions.was_suppressed("suppress", "email", "x", "*"),
    ]
    return [
        *(s for m in (*migrate.migrations(), *migrate.views()) for s in m.statements),
        *(query.sql for query in built),
    ]


@pytest.mark.parametrize("sql", statements(), ids=lambda sql: sql[:40])
def test_no_part_of_an_axis_is_read_as_a_subcolumn(sql: str) -> None:
    """Under FINAL `axis.part` returns the first row's value, not the merged one, without an error (DESIGN 6)."""
    assert SUBCOLUMN.findall(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT intent.outcome FROM message_state FINAL",
        "SELECT f.intent.outcome FROM message_state AS f FINAL",
        "SELECT t.intent.outcome FROM message_state AS t FINAL",
    ],
)
def test_the_check_above_finds_a_subcolumn(sql: str) -> None:
    assert SUBCOLUMN.findall(sql)


def test_every_statement_of_a_migration_may_run_again() -> None:
    again = re.compile(
        r"\A(?:CREATE (?:TABLE|(?:MATERIALIZED )?VIEW) IF NOT EXISTS|CREATE OR REPLACE VIEW"
        r"|ALTER TABLE \w+ (?:(?:ADD|DROP) \w+ IF |MODIFY SETTING )|DROP VIEW IF EXISTS|INSERT INTO \w+ SELECT\b)"
    )
    every = (s for m in (*migrate.migrations(), *migrate.views()) for s in m.statements)
    assert [s[:60] for s in every if not again.match(s)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE VIEW messages AS SELECT 1",
        "create view if not exists bounced_emails as select 1",
        "DROP VIEW IF EXISTS suppressions",
    ],
)
def test_a_migration_of_a_view_that_has_a_file_is_refused(statement: str) -> None:
    """The view's file would overwrite it at once, although it is recorded as applied."""
    with pytest.raises(ConfigError, match=r"0009_new\.sql.*projections/store/views/\w+\.sql"):
        migrate.refuse_views(migrate.Migration(9, "new", "", (statement,)))


def test_a_migration_may_create_a_materialized_view() -> None:
    statement = "CREATE MATERIALIZED VIEW IF NOT EXISTS bounces_of_all TO bounces AS SELECT 1"
    migrate.refuse_views(migrate.Migration(9, "new", "", (statement,)))


class Refusing(Store):
    """A store without applied migrations, which refuses each statement about the table `holders`."""

    def tuples(self, sql: str, parameters: object = None) -> list[tuple[object, ...]]:
        return [(0,)]

    def insert(self, table: str, rows: object) -> None:
        pass

    def command(self, sql: str, parameters: object = None, *, database: str | None = None) -> None:
        if sql.startswith("CREATE TABLE IF NOT EXISTS holders"):
            raise StoreRefused("ClickHouse refuses: Code: 62", "http://clickhouse:8123", "Mend the statement")


def test_an_error_of_a_migration_names_file_and_statement() -> None:
    named = r"0005_holders\.sql, statement 1 \(CREATE TABLE IF NOT EXISTS holders"
    with pytest.raises(StoreRefused, match=named):
        migrate.apply(Refusing("http://127.0.0.1:1", database="x", generation=1))


def test_a_migration_inserts_only_into_tables_that_merge_duplicates() -> None:
    every = [s for m in migrate.migrations() for s in m.statements]
    tables = {found[1] for s in every if (found := re.match(r"INSERT INTO (\w+)", s))}
    joining = {
        found[1]
        for s in every
        if (found := re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", s)) and re.search(r"(Replacing|Aggregating)Merge", s)
    }
    assert tables <= joining


def test_migrations_are_numbered_without_gaps() -> None:
    assert [m.version for m in migrate.migrations()] == list(range(1, len(migrate.migrations()) + 1))


def test_an_applied_migration_that_changed_is_refused() -> None:
    class Changed:
        database = "x"
        tables = "x_g1"

        def tuples(self, sql: str, parameters: object = None) -> list[tuple[object, ...]]:
            return [(1,)] if "system.tables" in sql else [(1, "another checksum")]

    with pytest.raises(ConfigError, match="has changed since"):
        migrate.pending(Changed())  # type: ignore[arg-type]  # answers the two queries
