"""The SQL of roles, quotas and row policies. An administrator reads it and runs it; sendledger never does.

In:  the database, the cluster or none, and accounts. Out: statements, each of which may be run again.

- `sendledger_migrator` for `migrate`, `rebuild`, `replay` and `erase-contents`, which create tables or delete rows;
  `sendledger_writer` for the ledger; `sendledger_reader` for the gateway.
- `sendledger_dashboard`: for people and programs that write their own queries. It reads only the views of the database
  `…_dashboards`. These have the rights of the user `sendledger_views`, who can't sign in, so the role needs none on the
  tables. Row policies bind the views: the role alone sees no row, `sendledger_account_A` adds those of account A, and
  `sendledger_all_accounts` adds all.

docs/adr/0022-retention-cluster-roles.md.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from projections.store.cluster import READING
from schemas.errors import RequestError

__all__ = ["BOUND_BY", "access_statements"]

BOUND_BY: Final[Mapping[str, str]] = {
    "messages": "account_id",
    "message_statuses": "account_id",
    "message_events": "account_id",
    "bounced_emails": "account_id",
    "bounced_messages": "account_id",
    "delivery_hourly": "account_id",
    "orphan_events": "account_id",
    "projection_hashes": "account_id",
    "content_erasures": "account_id",
    # Only the account's own: whether it has sent to an address that is suppressed platform-wide is in no column.
    "suppressions": "scope",
    "suppression_history": "scope",
    "suppression_commands": "scope",
}
"""By public view: the column that says whose row it is."""

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_OWNER: Final = "sendledger_views"
_READER_PROFILE: Final = "readonly = 2 CONST, max_execution_time = 7 MIN 1 MAX 60, max_memory_usage = 8000000000 CONST"
"""`readonly = 2`: the gateway sets the time limit of each query, and nothing above these limits."""
_DASHBOARD_PROFILE: Final = (
    "readonly = 2 CONST, max_execution_time = 30 MIN 1 MAX 30, max_memory_usage = 4000000000 CONST,"
    " max_result_rows = 1000000 MAX 1000000"
)
_DASHBOARD_QUOTA: Final = "KEYED BY user_name FOR INTERVAL 1 hour MAX queries = 3600, execution_time = 1800"


def access_statements(database: str, accounts: Sequence[str], *, cluster: str = "") -> list[str]:
    """Return the statements, in the order in which they have to be run.

    Raises RequestError for a text that is not an account id.
    """
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise RequestError(
                f"{account[:80]!r} is not an account id", "--account", "Give 1-64 characters of A-Z a-z 0-9 _ . -"
            )
    on = f" ON CLUSTER {cluster}" if cluster else ""
    return [*_programs(database, cluster, on), *_dashboards(database, cluster, on), *_policies(database, accounts, on)]


def _programs(database: str, cluster: str, on: str) -> Iterator[str]:
    # Every generation is in a database of its own, so the grants are for all databases that begin with the name.
    everything = f"{database}*.*"
    for role in ("migrator", "writer", "reader"):
        yield f"CREATE ROLE IF NOT EXISTS sendledger_{role}{on}"
    yield (
        f"GRANT{on} SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP DATABASE, DROP TABLE,"
        f" DROP VIEW ON {everything} TO sendledger_migrator"
    )
    yield f"GRANT{on} SELECT, INSERT ON {everything} TO sendledger_writer"
    yield f"GRANT{on} SELECT ON {everything} TO sendledger_reader"
    if cluster:
        yield f"GRANT{on} CLUSTER, REMOTE ON *.* TO sendledger_migrator"
        yield f"GRANT{on} REMOTE ON *.* TO sendledger_reader"
    yield (
        f"CREATE SETTINGS PROFILE OR REPLACE sendledger_reader{on} SETTINGS {_with_cluster(_READER_PROFILE, cluster)}"
        " TO sendledger_reader"
    )


def _dashboards(database: str, cluster: str, on: str) -> Iterator[str]:
    views = f"{database}_dashboards"
    yield f"CREATE ROLE IF NOT EXISTS sendledger_dashboard{on}"
    yield f"CREATE ROLE IF NOT EXISTS sendledger_all_accounts{on}"
    # HOST NONE: nobody signs in as the owner of the views.
    yield f"CREATE USER IF NOT EXISTS {_OWNER}{on} IDENTIFIED WITH no_password HOST NONE"
    yield f"GRANT{on} SELECT ON {database}*.* TO {_OWNER}"
    yield (
        f"CREATE SETTINGS PROFILE OR REPLACE sendledger_dashboard{on}"
        f" SETTINGS {_with_cluster(_DASHBOARD_PROFILE, cluster)} TO sendledger_dashboard, {_OWNER}"
    )
    yield f"CREATE QUOTA OR REPLACE sendledger_dashboard{on} {_DASHBOARD_QUOTA} TO sendledger_dashboard"
    yield f"CREATE DATABASE IF NOT EXISTS {views}{on}"
    for view in BOUND_BY:
        # Before there is a view that somebody could read, no row of it may be read. Policies are added up.
        yield f"CREATE ROW POLICY OR REPLACE sendledger_nothing{on} ON {views}.{view} USING 0 TO ALL"
        yield (
            f"CREATE ROW POLICY OR REPLACE sendledger_all_accounts{on} ON {views}.{view} USING 1"
            " TO sendledger_all_accounts"
        )
        yield (
            f"CREATE OR REPLACE VIEW {views}.{view}{on} DEFINER = {_OWNER} SQL SECURITY DEFINER"  # noqa: S608
            f" AS SELECT * FROM {database}.{view}"
        )
    yield f"GRANT{on} SELECT ON {views}.* TO sendledger_dashboard"
    yield f"GRANT{on} sendledger_dashboard TO sendledger_all_accounts"


def _policies(database: str, accounts: Sequence[str], on: str) -> Iterator[str]:
    for account in accounts:
        name = f"`sendledger_account_{account}`"
        yield f"CREATE ROLE IF NOT EXISTS {name}{on}"
        yield f"GRANT{on} sendledger_dashboard TO {name}"
        for view, column in BOUND_BY.items():
            yield (
                f"CREATE ROW POLICY OR REPLACE {name}{on} ON {database}_dashboards.{view}"
                f" USING {column} = '{account}' TO {name}"
            )


def _with_cluster(profile: str, cluster: str) -> str:
    return ", ".join([profile, *(f"{name} = '{value}'" for name, value in READING.items() if cluster)])
