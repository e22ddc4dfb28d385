"""The store's errors: what is waited out, and what is a record's own fault."""

import pytest

from projections.store import Store
from schemas.errors import ConfigError, StoreError, StoreRefused


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("sql", "family"),
    [
        pytest.param("SELECT throwIf(1)", StoreRefused, id="a statement that fails"),
        pytest.param("SELECT * FROM not_migrated_yet", StoreError, id="a table that a migration will bring"),
        pytest.param("SELECT * FROM nowhere.at_all", StoreError, id="a database that a migration will bring"),
    ],
)
def test_an_error_is_told_by_its_code(clickhouse_url: str, sql: str, family: type[Exception]) -> None:
    store = Store(clickhouse_url, database="default")
    with pytest.raises(family):
        store.rows(sql)
    store.close()


def test_a_server_that_is_not_there_is_waited_for() -> None:
    with pytest.raises(StoreError):
        Store("http://127.0.0.1:1").ping()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8123",
        "tcp://localhost:9000",
        "http://",
        "http://u:pass/word@localhost:8123",
        "http://u:12/3@host",
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="SENDLEDGER_CLICKHOUSE_URL") as refused:
        Store(url)
    assert "pass" not in str(refused.value).replace("user:password", "").replace("a slash in the password", "")
    assert refused.value.__cause__ is None
