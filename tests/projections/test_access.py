"""The SQL of `sendledger migrate --roles`: the parser accepts it, and the row policies hide other accounts' rows.

The engine of the tests has one user, and no statement can give it another. So the conditions of the policies are put
into the configuration of an engine of its own, as filters of that user, who is also the owner of the views there.
"""

import re
from pathlib import Path
from typing import Final

import pytest

from projections.store import Store, migrate
from projections.store.access import BOUND_BY, access_statements
from schemas.errors import RequestError
from schemas.settings import PREFIX
from tests.operating.commands import in_process
from tests.projections.own_engine import results
from tests.projections.test_cluster import DATABASE, OWN_TABLES

VIEWS: Final = [view.name for view in migrate.views()]
SERVER: Final = "<clickhouse><users_config>FOLDER/users.xml</users_config></clickhouse>"
IDS: Final = ("0199d29b-09c0-7abc-8def-0123456789ab", "0199d29b-09c0-7abc-8def-0123456789ac")
ROWS: Final = [
    f"INSERT INTO {table} ({columns}) VALUES ('{account}', {values.format(id=id_)})"
    for account, id_ in zip(("acme", "globex"), IDS, strict=True)
    for table, columns, values in (
        ("message_state", "account_id, message_id, told, heard", "'{id}', [14], 5"),
        (
            "events",
            "account_id, message_id, event_id, type, provider, address, received_at",
            "'{id}', '0123456789abcdef', 'bounced', 'sendgrid', 'a@b.c', now64(6)",
        ),
        (
            "suppression_changes",
            "scope, channel, address, version, suppressed, since",
            "'email', '{id}', 1, 1, now64(6)",
        ),
        ("commands", "scope, command_id, action, received_at", "'{id}', 'suppress', now64(6)"),
        ("erasures", "account_id, message_id, erasure_id, erased_at", "'{id}', 'e', now64(6)"),
        ("orphans", "account_id, provider_message_id, event_id, received_at", "'{id}', 'fedcba9876543210', now64(6)"),
    )
]


def policies(role: str) -> dict[tuple[str, str], str]:
    """The condition of each policy of a role, by database and view."""
    named = re.compile(r"CREATE ROW POLICY OR REPLACE \S+ ON (\w+)\.(\w+) USING (.+) TO `?(\w+)`?")
    matches = filter(None, map(named.fullmatch, access_statements("sendledger", ["acme"])))
    return {(found[1], found[2]): found[3] for found in matches if found[4] == role}


def users_with(*conditions: dict[tuple[str, str], str]) -> str:
    """The user of the engine, with these conditions on the views."""
    filters = "".join(
        f"<{database}><{view}><filter>{sql}</filter></{view}></{database}>"
        for one in conditions
        for (database, view), sql in one.items()
    )
    return (
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>"
        "<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
        f"<databases>{filters}</databases></default></users></clickhouse>"
    )


def created() -> list[str]:
    """The statements that create tables, views and the views of dashboards, with rows of two accounts."""
    files = [s for m in (*migrate.migrations(), *migrate.views()) for s in m.statements]
    public = [f"CREATE VIEW sendledger.{view} AS SELECT * FROM {DATABASE}.{view}" for view in VIEWS]
    of_dashboards = [
        one.replace("DEFINER = sendledger_views", "DEFINER = default")
        for one in access_statements("sendledger", [])
        if one.startswith(("CREATE DATABASE", "CREATE OR REPLACE VIEW"))
    ]
    databases = [f"CREATE DATABASE {name}" for name in ("sendledger", DATABASE)]
    return [*databases, f"USE {DATABASE}", *OWN_TABLES, *files, *public, *of_dashboards, *ROWS]


@pytest.mark.process
def test_a_dashboard_sees_the_rows_of_its_account_and_without_one_none(tmp_path: Path) -> None:
    of_account, of_nobody = policies("sendledger_account_acme"), policies("ALL")
    assert {view for _, view in of_account} == {view for _, view in of_nobody} == set(VIEWS)
    of_nobody = {("of_nobody", view): sql for (_, view), sql in of_nobody.items()}
    again = [one.replace("sendledger_dashboards", "of_nobody") for one in created() if "sendledger_dashboards" in one]
    asked = [
        f"SELECT groupUniqArray({column}) FROM {database}.{view}"
        for view, column in BOUND_BY.items()
        for database in ("sendledger_dashboards", "of_nobody", "sendledger")
    ]
    files = {"server.xml": SERVER, "users.xml": users_with(of_account, of_nobody)}
    found = results(tmp_path, files, [*created(), *again, *asked])
    assert [error for error, _ in found if error] == []
    seen = [rows.strip() for _, rows in found[-len(asked) :]]
    assert seen[0::3] == ["['acme']"] * len(VIEWS)
    assert seen[1::3] == ["[]"] * len(VIEWS)
    assert {*seen[2::3]} <= {"['acme','globex']", "['globex','acme']"}


def test_every_public_view_is_bound_to_accounts() -> None:
    assert set(BOUND_BY) == set(VIEWS)


@pytest.mark.clickhouse
@pytest.mark.parametrize("cluster", ["", "both"])
def test_the_parser_accepts_every_statement(clickhouse_url: str, cluster: str) -> None:
    statements = access_statements("sendledger", ["acme", "a.b-c"], cluster=cluster)
    assert all(f" ON CLUSTER {cluster}" in one for one in statements if cluster)
    store = Store(clickhouse_url, database="default")
    formatted = store.tuples("SELECT formatQueryOrNull(arrayJoin({all:Array(String)}))", {"all": statements})
    store.close()
    assert [one for one, (made,) in zip(statements, formatted, strict=True) if not made] == []


def test_an_account_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match="--account"):
        access_statements("sendledger", ["acme' OR 1"])


async def test_an_account_without_roles_is_a_usage_error_and_migrates_nothing(tmp_path: Path) -> None:
    env = {f"{PREFIX}CLICKHOUSE_URL": "http://127.0.0.1:1"}
    ended = await in_process("migrate", "--account", "acme", env=env, folder=tmp_path)
    assert (ended.code, ended.out, "only with --roles" in ended.err) == (2, "", True), ended.err


def test_only_dashboards_are_bound_and_only_by_their_views() -> None:
    """The role has no right on a table or on a view that shows all accounts."""
    granted = [
        one for one in access_statements("sendledger", ["acme"]) if re.search(r" TO sendledger_dashboard\Z", one)
    ]
    assert [one for one in granted if one.startswith("GRANT")] == [
        "GRANT SELECT ON sendledger_dashboards.* TO sendledger_dashboard"
    ]
