"""How the endpoint classifies a statement."""

import pytest

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.statements import Statement, find_insert


@pytest.mark.parametrize(
    ("query", "body", "sql", "data"),
    [
        pytest.param(b"INSERT INTO d.t FORMAT CSV", b"1\n", "INSERT INTO d.t", b"1\n", id="statement in the URL"),
        pytest.param(b"", b"insert into t(a)format CSV\n1\n", "insert into t(a)", b"1\n", id="statement in the body"),
        pytest.param(b"", b"INSERT INTO t FORMAT CSV\r\n1\n", "INSERT INTO t", b"1\n", id="a carriage return"),
        pytest.param(b"", b"INSERT INTO t FORMAT CSV 1\n", "INSERT INTO t", b"1\n", id="data on the same line"),
        pytest.param(b"", b"INSERT INTO t FORMAT Native\n\n\n", "INSERT INTO t", b"\n\n", id="data of line feeds"),
        pytest.param(
            b"INSERT INTO `a`.`b c` (`x`, `y)z`) SETTINGS async_insert=1 FORMAT CSV",
            b"1",
            "INSERT INTO `a`.`b c` (`x`, `y)z`) SETTINGS async_insert=1",
            b"1",
            id="quoted names and settings",
        ),
        pytest.param(b"/* q */ INSERT INTO t FORMAT CSV", b"1", "INSERT INTO t", b"1", id="a comment in front"),
    ],
)
def test_an_insert_is_separated_from_its_data(query: bytes, body: bytes, sql: str, data: bytes) -> None:
    insert = find_insert(query, body)
    assert insert is not None
    assert (f"{insert.into}{insert.settings}".strip(), bytes(insert.data)) == (sql, data)


def test_settings_stand_behind_the_file() -> None:
    insert = find_insert(b"INSERT INTO t (a) SETTINGS max_threads = 1 FORMAT CSV", b"1")
    assert insert is not None
    expected = "INSERT INTO t (a) FROM INFILE '/dev/fd/3' COMPRESSION 'none' SETTINGS max_threads = 1 FORMAT CSV"
    assert insert.from_file("/dev/fd/3").split() == expected.split()


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(b"INSERT INTO t SELECT ' format CSV '", id="of a select"),
        pytest.param(b"INSERT INTO t VALUES (1)", id="of values"),
        pytest.param(b"SELECT 'INSERT INTO t FORMAT CSV'", id="in a literal"),
    ],
)
def test_other_statements_are_no_inserts_with_data(sql: bytes) -> None:
    assert find_insert(b"", sql) is None
    assert find_insert(sql, b"") is None


@pytest.mark.parametrize(
    ("sql", "format_", "without"),
    [
        pytest.param(b"SELECT 1 FORMAT Native", "Native", "SELECT 1", id="a format"),
        pytest.param(b"SELECT 1\n FORMAT CSV SETTINGS a=1;", "CSV", "SELECT 1", id="settings behind it"),
        pytest.param(b"SELECT 1 -- in format x", None, "SELECT 1 -- in format x", id="in a comment"),
        pytest.param(b"SELECT ' format x';", None, "SELECT ' format x'", id="in a literal"),
        pytest.param(b"SELECT 'it''s \\' format x'", None, "SELECT 'it''s \\' format x'", id="behind escaped quotes"),
    ],
)
def test_the_format_is_the_clause_at_the_end(sql: bytes, format_: str | None, without: str) -> None:
    statement = Statement.of(b"", sql)
    assert (statement.format, statement.without_format) == (format_, without)


@pytest.mark.parametrize("sql", [b"SELECT 1; SET readonly = 0", b"SELECT ';' ; -- x\n SELECT 2"])
def test_several_statements_are_refused(sql: bytes) -> None:
    with pytest.raises(ClickHouseError, match="Multi-statements"):
        Statement.of(b"", sql)


@pytest.mark.parametrize("sql", [b"SELECT 1;", b"SELECT ';x'", b"SELECT 1; -- done", b"SELECT 1 /* ; x */"])
def test_a_semicolon_alone_is_no_second_statement(sql: bytes) -> None:
    assert Statement.of(sql, b"").reads
