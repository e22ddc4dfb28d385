"""Our SQL, as text: what it must not say."""

import re

import pytest

from projections import migrate
from projections.accounts import queries as accounts
from projections.bounces import queries as bounces
from projections.messages import queries
from projections.messages.arrow_types import STATE
from projections.suppressions import queries as suppressions
from schemas.errors import ConfigError

AXES = [name for name in STATE if name not in ("account_id", "message_id")]
SUBCOLUMN = re.compile(rf"\b(?:{'|'.join(AXES)})\.\w+")


def statements() -> list[str]:
    built = [
        queries.messages_page(queries.Filter(["a"], 1, 2, ["Bounced"], "a@b.c"), limit=1, after=queries.Cursor(1, "x")),
        queries.messages_with_id(["a"], "x"),
        queries.timeline("a", "x"),
        accounts.accounts_like("x", limit=1),
        accounts.accounts_named(["a"]),
        suppressions.suppressions_page(
            suppressions.Filter(["a"], "email", "*", True, "manual", ["x"]), limit=1, after=suppressions.Cursor(*"xyz")
        ),
        suppressions.suppression_history(suppressions.Filter(["a"])),
        suppressions.evidence_events(["a"], ["x"]),
        bounces.bounces_page(
            bounces.Filter(["a"], "email", ["x"], True, 1, 2), limit=1, after=bounces.Cursor(1, *"xyz")
        ),
        suppressions.was_suppressed("release", "email", "x", "*"),
        suppressions.was_suppressed("suppress", "email", "x", "*"),
    ]
    return [*(s for m in (*migrate.known(), *migrate.views()) for s in m.statements), *(query.sql for query in built)]


@pytest.mark.parametrize("sql", statements(), ids=lambda sql: sql[:40])
def test_no_part_of_an_axis_is_read_as_a_subcolumn(sql: str) -> None:
    """Under FINAL `axis.part` gives the first row's value, not the merged one, and no error (DESIGN 6)."""
    assert SUBCOLUMN.findall(sql) == []


def test_the_rule_above_would_find_one() -> None:
    assert SUBCOLUMN.findall("SELECT decision.outcome FROM message_state FINAL")


def test_every_statement_of_a_migration_may_run_again() -> None:
    again = re.compile(
        r"\A(?:CREATE (?:TABLE|(?:MATERIALIZED )?VIEW) IF NOT EXISTS|CREATE OR REPLACE VIEW"
        r"|ALTER TABLE \w+ (?:ADD|DROP) \w+ IF )"
    )
    every = (s for m in (*migrate.known(), *migrate.views()) for s in m.statements)
    assert [s[:60] for s in every if not again.match(s)] == []


def test_migrations_are_numbered_without_gaps() -> None:
    assert [m.version for m in migrate.known()] == list(range(1, len(migrate.known()) + 1))


def test_an_applied_migration_that_changed_is_refused() -> None:
    class Changed:
        database = "x"

        def tuples(self, sql: str, parameters: object = None) -> list[tuple[object, ...]]:
            return [(1,)] if "system.tables" in sql else [(1, "another checksum")]

    with pytest.raises(ConfigError, match="has changed since"):
        migrate.pending(Changed())  # type: ignore[arg-type]  # answers the two questions that it is asked
