"""The store's errors: which are retried, and which are caused by a record."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.store import Store, health
from schemas.errors import ConfigError, StoreError, StoreRefused
from tests.http_server import serving


@pytest.mark.clickhouse
def test_a_missing_column_names_the_mend(clickhouse_url: str) -> None:
    store = Store(clickhouse_url, database="default")
    (row,) = store.rows("SELECT 1 AS one")
    store.close()
    assert (row["one"], row.get("two")) == (1, None)
    with pytest.raises(StoreError, match=r"no column 'two'.*sendledger migrate"):
        row["two"]


@pytest.mark.clickhouse
@pytest.mark.parametrize("ahead_seconds", [3600, -90])
def test_the_clock_skew_is_how_far_the_server_is_ahead_of_us(
    clickhouse_url: str, ahead_seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "time", lambda: time.time() - ahead_seconds)
    server = Store(clickhouse_url, database="default")
    assert round(health.clock_skew_seconds(server), -1) == ahead_seconds
    server.close()


EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive and UTC, as the driver's times
MICRO = timedelta(microseconds=1)
EARLIEST = datetime(1, 1, 1)  # noqa: DTZ001
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("sql", "family"),
    [
        pytest.param("SELECT throwIf(1)", StoreRefused, id="a statement that fails"),
        pytest.param("SELECT * FROM not_migrated_yet", StoreError, id="a table that is not migrated yet"),
        pytest.param("SELECT * FROM nowhere.at_all", StoreError, id="a database that is not migrated yet"),
    ],
)
def test_an_error_is_classified_by_its_code(clickhouse_url: str, sql: str, family: type[Exception]) -> None:
    store = Store(clickhouse_url, database="default")
    with pytest.raises(family):
        store.rows(sql)
    store.close()


def test_an_unreachable_server_is_a_store_error() -> None:
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
def test_an_invalid_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="SENDLEDGER_CLICKHOUSE_URL") as refused:
        Store(url)
    assert "pass" not in str(refused.value).replace("user:password", "").replace("a slash in the password", "")
    assert refused.value.__cause__ is None


@pytest.mark.clickhouse
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-(10**16), 3 * 10**17)), max_size=9))
def test_every_stored_time_can_be_read(clickhouse_url: str, stored: list[int | None]) -> None:
    """A time that `datetime` can't represent is read as the nearest one."""
    store = Store(clickhouse_url, database="default")
    sql = (
        "SELECT number, if(text = '', NULL, fromUnixTimestamp64Micro(toInt64(text), 'UTC')) AS at,"
        " fromUnixTimestamp64Milli(281474976710655, 'UTC') AS far, [text] AS texts FROM"
        " (SELECT number, {texts:Array(String)}[number + 1] AS text FROM numbers({n:UInt8})) ORDER BY number"
    )
    texts = ["" if us is None else str(us) for us in stored]
    rows = store.rows(sql, {"texts": texts, "n": len(stored)})
    store.close()
    assert [row["texts"] for row in rows] == [[text] for text in texts]
    assert all(row["far"] == LATEST for row in rows)
    for us, row in zip(stored, rows, strict=True):
        near = None if us is None else max(min(us, (LATEST - EPOCH) // MICRO), (EARLIEST - EPOCH) // MICRO)
        assert row["at"] == (None if near is None else EPOCH + near * MICRO)


@contextmanager
def answering(status: int, body: str, *, code: str | None = None) -> Iterator[str]:
    """Run a server that gives this answer to every request; yield its URL."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            if code is not None:
                self.send_header("X-ClickHouse-Exception-Code", code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body.encode())
            self.close_connection = True

        do_GET = do_POST  # noqa: N815 - the handler's own name

    with serving(Answer) as port:
        yield f"http://127.0.0.1:{port}"


def error_text(number: int, name: str) -> str:
    return f"Code: {number}. DB::Exception: Code: 27 is in the text. ({name}) (version 26.9.1.1)"


def query_once(url: str) -> None:
    store = Store(url)
    try:
        store.rows("SELECT 1")
    finally:
        store.close()


@pytest.mark.parametrize(
    ("number", "name"),
    [
        *[(745, "SERVER_OVERLOADED"), (75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR"), (173, "CANNOT_ALLOCATE_MEMORY")],
        *[(201, "QUOTA_EXCEEDED"), (218, "TABLE_IS_DROPPED"), (254, "NO_ACTIVE_REPLICAS"), (499, "S3_ERROR")],
        *[(286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE"), (1000, "POCO_EXCEPTION"), (1001, "STD_EXCEPTION")],
        *[(1002, "UNKNOWN_EXCEPTION"), (241, "MEMORY_LIMIT_EXCEEDED"), (252, "TOO_MANY_PARTS"), (49, "LOGICAL_ERROR")],
        *[(243, "NOT_ENOUGH_SPACE"), (74, "CANNOT_READ_FROM_FILE_DESCRIPTOR"), (164, "READONLY")],
        *[(60, "UNKNOWN_TABLE"), (47, "UNKNOWN_IDENTIFIER"), (516, "AUTHENTICATION_FAILED"), (9_999, "A_LATER_ONE")],
    ],
)
def test_an_error_of_the_server_is_retried(number: int, name: str) -> None:
    with answering(500, error_text(number, name), code=str(number)) as url, pytest.raises(StoreError):
        query_once(url)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        *[(6, "CANNOT_PARSE_TEXT"), (62, "SYNTAX_ERROR"), (117, "INCORRECT_DATA"), (376, "CANNOT_PARSE_UUID")],
        *[(395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"), (457, "BAD_QUERY_PARAMETER")],
    ],
)
def test_an_error_of_a_value_or_statement_is_refused(number: int, name: str) -> None:
    with answering(400, error_text(number, name), code=str(number)) as url, pytest.raises(StoreRefused):
        query_once(url)


@pytest.mark.parametrize(
    "body", ["error code: 502", "Code: 62. DB::Exception: as a proxy repeats it", "<html>Bad Gateway</html>", ""]
)
@pytest.mark.parametrize("status", [404, 413, 502, 504])
def test_an_answer_without_a_code_is_not_from_clickhouse(status: int, body: str) -> None:
    with answering(status, body) as url, pytest.raises(StoreError):
        query_once(url)


@pytest.mark.parametrize(
    ("number", "name"), [(60, "UNKNOWN_TABLE"), (201, "QUOTA_EXCEEDED"), (452, "SETTING_CONSTRAINT_VIOLATION")]
)
def test_an_error_for_the_operator_names_the_mend(number: int, name: str) -> None:
    with answering(500, error_text(number, name), code=str(number)) as url, pytest.raises(StoreError, match="grants"):
        query_once(url)


def test_a_full_disk_names_the_page_that_says_what_to_do() -> None:
    with answering(500, error_text(243, "NOT_ENOUGH_SPACE"), code="243") as url, pytest.raises(StoreError) as full:
        query_once(url)
    assert "disk is full" in full.value.what
    (page,) = re.findall(r"docs/\S+\.md", full.value.mend)
    assert (Path(__file__).parents[2] / page).exists()


@pytest.mark.clickhouse
def test_a_row_that_does_not_fit_is_refused(clickhouse_url: str) -> None:
    store = Store(clickhouse_url, database="default")
    store.command("CREATE TABLE IF NOT EXISTS fitting (id UUID) ENGINE = Memory", database="default")
    try:
        with pytest.raises(StoreRefused):
            store.insert("fitting", pa.table({"id": ["no id"]}))
    finally:
        store.command("DROP TABLE fitting", database="default")
        store.close()
