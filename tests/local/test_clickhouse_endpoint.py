"""The endpoint does what clickhouse-connect and plain HTTP expect of a ClickHouse server."""

import asyncio
import gzip
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import clickhouse_connect
import httpx
import lz4.frame
import pyarrow as pa
import pytest
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.local.endpoints import EndpointProcess

pytestmark = pytest.mark.clickhouse

ROWS = 300_000  # in blocks of tens of thousands: many blocks, whatever the client's block size
Database = tuple[Callable[[], Client], str]

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": gzip.compress,
}


@pytest.fixture
def table(clickhouse_database: Database) -> str:
    client, name = clickhouse_database
    client().command(f"CREATE TABLE {name}.t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    return f"{name}.t"


@pytest.fixture
def client(clickhouse_database: Database) -> Client:
    new_client, _ = clickhouse_database
    return new_client()


@pytest.fixture
def http(clickhouse_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=clickhouse_url, timeout=60) as made:
        yield made


def compressing(clickhouse_url: str, compress: str | bool) -> Client:
    return clickhouse_connect.get_client(dsn=clickhouse_url, compress=compress)


def rows_and_sum(client: Client, table: str) -> tuple[int, int]:
    found = client.query(f"SELECT count(), sum(a) FROM {table}").first_row
    return int(found[0]), int(found[1])


EXPECTED = (ROWS, sum(range(ROWS)))


REFUSED = {
    "VIOLATED_CONSTRAINT": ["ALTER TABLE {table} ADD CONSTRAINT none CHECK s != 'bad'"],
    "TOO_MANY_PARTS": [
        "ALTER TABLE {table} MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 0",
        "SYSTEM STOP MERGES {table}",
        "INSERT INTO {table} VALUES (1, 'x')",
    ],
    "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO": [
        "CREATE MATERIALIZED VIEW {table}_view ENGINE = MergeTree ORDER BY n"
        " AS SELECT throwIf(s = 'bad') AS n FROM {table}"
    ],
}
"""By the name of ClickHouse's error: how a table comes to refuse a row."""


class TestInserts:
    @pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
    def test_every_block_of_an_insert_arrives(
        self, clickhouse_url: str, client: Client, table: str, compress: str
    ) -> None:
        writer = compressing(clickhouse_url, compress)
        context = writer.create_insert_context(table, column_names=["a", "s"])
        context.block_row_count = 10_000
        context.data = [[number, f"value {number}"] for number in range(ROWS)]
        summary = writer.insert(context=context)
        writer.close()
        assert rows_and_sum(client, table) == EXPECTED
        assert summary.written_rows == ROWS

    @pytest.mark.parametrize("compress", [False, "lz4", "zstd"])
    def test_every_batch_of_an_arrow_table_arrives(
        self, clickhouse_url: str, client: Client, table: str, compress: str
    ) -> None:
        batches = [
            pa.record_batch({"a": pa.array(range(at, at + 10_000), pa.uint64()), "s": ["x"] * 10_000})
            for at in range(0, ROWS, 10_000)
        ]
        writer = compressing(clickhouse_url, compress)
        writer.insert_arrow(table, pa.Table.from_batches(batches))
        writer.close()
        assert rows_and_sum(client, table) == EXPECTED

    @pytest.mark.parametrize("encoding", COMPRESSORS)
    def test_a_body_of_many_frames_is_read_to_its_end(
        self, http: httpx.Client, client: Client, table: str, encoding: str
    ) -> None:
        lines = [b"".join(b"%d,x\n" % number for number in range(at, at + 10_000)) for at in range(0, ROWS, 10_000)]
        body = b"".join(map(COMPRESSORS[encoding], lines))
        answer = http.post(
            "/",
            params={"query": f"INSERT INTO {table} FORMAT CSV"},
            content=body,
            headers={"Content-Encoding": encoding},
        )
        assert answer.status_code == 200
        assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == str(ROWS)
        assert rows_and_sum(client, table) == EXPECTED

    @pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip"])
    def test_a_truncated_body_writes_nothing(
        self, http: httpx.Client, client: Client, table: str, encoding: str
    ) -> None:
        whole = COMPRESSORS[encoding](b"".join(b"%d,x\n" % number for number in range(10_000)))
        answer = http.post(
            "/",
            params={"query": f"INSERT INTO {table} FORMAT CSV"},
            content=whole[: len(whole) // 2],
            headers={"Content-Encoding": encoding},
        )
        assert answer.status_code == 500
        assert rows_and_sum(client, table) == (0, 0)

    def test_statement_and_data_may_share_the_body(self, http: httpx.Client, client: Client, table: str) -> None:
        http.post("/", content=f'INSERT INTO {table} FORMAT JSONEachRow\n{{"a":1,"s":"x"}}\n{{"a":2,"s":"y"}}')
        assert rows_and_sum(client, table) == (2, 3)

    def test_values_may_be_in_the_statement(self, http: httpx.Client, client: Client, table: str) -> None:
        http.post("/", content=f"INSERT INTO {table} VALUES (1, ' format x '), (2, ';')")
        assert rows_and_sum(client, table) == (2, 3)

    def test_a_bad_row_refuses_the_whole_insert(self, http: httpx.Client, client: Client, table: str) -> None:
        answer = http.post("/", params={"query": f"INSERT INTO {table} FORMAT CSV"}, content="1,x\nnone,y\n")
        assert answer.status_code == 400
        assert answer.headers["X-ClickHouse-Exception-Code"] == "27"
        assert rows_and_sum(client, table) == (0, 0)

    @pytest.mark.parametrize("way", ["Arrow", "JSONEachRow"])
    @pytest.mark.parametrize("refused", REFUSED)
    def test_rows_that_the_table_refuses_are_an_error(
        self, client: Client, http: httpx.Client, table: str, refused: str, way: str
    ) -> None:
        """chDB alone would take them, and lose them."""
        for statement in REFUSED[refused]:
            client.command(statement.format(table=table))
        if way == "Arrow":
            with pytest.raises(DatabaseError, match=refused):
                client.insert_arrow(table, pa.table({"a": pa.array([7], pa.uint64()), "s": ["bad"]}))
        else:
            query = f"INSERT INTO {table} SETTINGS max_threads = 1 FORMAT JSONEachRow"
            answer = http.post("/", params={"query": query}, content='{"a": 7, "s": "bad"}')
            assert (answer.status_code, refused in answer.text) == (500, True), answer.text

    def test_inserts_are_not_gathered_by_the_engine(self, client: Client) -> None:
        assert client.command("SELECT getSetting('async_insert')") in {0, "false"}


class TestReads:
    def test_a_big_result_is_streamed_whole(self, client: Client) -> None:
        with client.query_row_block_stream("SELECT number FROM numbers(3000000)") as blocks:
            sizes = [len(block) for block in blocks]
        assert sum(sizes) == 3_000_000
        assert len(sizes) > 1

    @pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip"])
    def test_an_answer_is_compressed_if_asked(self, clickhouse_url: str, encoding: str) -> None:
        reader = compressing(clickhouse_url, encoding)
        rows = reader.query("SELECT number, toString(number) FROM numbers(300000)").result_rows
        reader.close()
        assert (len(rows), rows[-1]) == (300_000, (299_999, "299999"))

    def test_an_empty_result_keeps_its_column_names(self, client: Client) -> None:
        found = client.query("SELECT number AS a, 'x' AS b FROM numbers(0) -- none")
        assert found.column_names == ("a", "b")
        assert found.result_rows == []

    def test_an_empty_stream_keeps_its_column_names(self, client: Client) -> None:
        with client.query_column_block_stream("SELECT number AS a FROM numbers(0)") as blocks:
            assert blocks.source.column_names == ("a",)
            assert sum(len(block[0]) for block in blocks) == 0

    def test_an_arrow_result_is_read(self, client: Client) -> None:
        assert client.query_arrow("SELECT number FROM numbers(1000)").num_rows == 1000

    def test_parameters_are_bound_by_the_engine(self, client: Client) -> None:
        found = client.query(
            "SELECT {n:UInt64} + 1, {s:String}, {l:Array(String)}",
            parameters={"n": 41, "s": "it's \\ \t", "l": ["a'b"]},
        )
        assert found.first_row == (42, "it's \\ \t", ["a'b"])

    def test_parameters_may_come_in_a_form(self, http: httpx.Client) -> None:
        answer = http.post("/", files={"query": (None, "SELECT {n:UInt64}"), "param_n": (None, "7")})
        assert answer.text == "7\n"

    def test_a_setting_holds_for_its_request_only(self, client: Client) -> None:
        assert client.command("SELECT getSetting('max_block_size')", settings={"max_block_size": 1234}) == 1234
        assert client.command("SELECT getSetting('max_block_size')") != 1234

    async def test_the_async_client_reads_and_writes(self, clickhouse_url: str, client: Client, table: str) -> None:
        async with await clickhouse_connect.get_async_client(dsn=clickhouse_url) as writer:
            await writer.insert(table, [[1, "x"], [2, "y"]], column_names=["a", "s"])
            assert (await writer.query(f"SELECT sum(a) FROM {table}")).first_row == (3,)

    def test_a_reader_that_leaves_frees_the_endpoint(self, http: httpx.Client) -> None:
        for _ in range(20):  # more than it has threads
            with http.stream("POST", "/", content="SELECT * FROM system.numbers FORMAT TSV") as answer:
                next(answer.iter_bytes())
        assert http.post("/", content="SELECT 1").text == "1\n"

    def test_a_get_cannot_write(self, http: httpx.Client, table: str) -> None:
        answer = http.get("/", params={"query": f"INSERT INTO {table} VALUES (1, 'x')"})
        assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


class TestErrors:
    @pytest.mark.parametrize(
        ("sql", "code", "status"),
        [
            pytest.param("SELEC 1", "62", 400, id="syntax"),
            pytest.param("SELECT nope FROM system.one", "47", 400, id="unknown column"),
            pytest.param("SELECT * FROM nope.nope", "81", 404, id="unknown database"),
            pytest.param("SELECT * FROM system.nope", "60", 404, id="unknown table"),
            pytest.param("SELECT throwIf(1)", "395", 500, id="thrown while running"),
            pytest.param("SELECT 1; SELECT 2", "62", 400, id="several statements"),
        ],
    )
    def test_an_error_has_its_code_and_status(self, http: httpx.Client, sql: str, code: str, status: int) -> None:
        answer = http.post("/", content=sql)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, code)
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")

    def test_an_error_reaches_the_client_as_an_exception(self, client: Client) -> None:
        with pytest.raises(DatabaseError, match="47"):
            client.query("SELECT nope")

    def test_an_unknown_setting_is_refused(self, http: httpx.Client) -> None:
        answer = http.post("/", params={"no_such_setting": "1"}, content="SELECT 1")
        assert answer.headers["X-ClickHouse-Exception-Code"] == "115"

    def test_an_error_after_the_first_byte_breaks_the_answer(self, http: httpx.Client) -> None:
        sql = "SELECT number, throwIf(number = 5000000) FROM system.numbers SETTINGS max_threads = 1 FORMAT TSV"
        with pytest.raises(httpx.RemoteProtocolError):
            http.post("/", content=sql)

    @pytest.mark.parametrize("name", ["query_id", "session_id", "default_format", "database"])
    def test_no_argument_gets_into_the_headers_of_an_answer(self, http: httpx.Client, name: str) -> None:
        answer = http.post("/", params={name: "x\r\nX-Injected: 1"}, content="SELECT 1")
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "36")
        assert "X-Injected" not in answer.headers

    def test_a_value_is_taken_up_to_the_size_that_a_server_takes(self, http: httpx.Client) -> None:
        def ask(size: int) -> httpx.Response:
            form = {"query": (None, "SELECT length({text:String})"), "param_text": (None, "x" * size)}
            return http.post("/", files=form)

        assert ask(131_072).text == "131072\n"
        refused = ask(131_074)
        assert (refused.status_code, refused.headers["X-ClickHouse-Exception-Code"]) == (500, "1000")


class TestSessions:
    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO {table} VALUES (1, 'x')",
            "INSERT INTO {table} FORMAT CSV\n1,x\n",
            "DROP TABLE {table}",
            "ALTER TABLE {table} DELETE WHERE 1",
            "WITH 1 AS one INSERT INTO {table} SELECT one, 'x'",
            "/* select */ TRUNCATE TABLE {table}",
        ],
    )
    def test_a_get_cannot_write_in_a_session_either(
        self, http: httpx.Client, client: Client, table: str, sql: str
    ) -> None:
        client.command(f"INSERT INTO {table} VALUES (7, 'kept')")
        answer = http.get("/", params={"query": sql.format(table=table), "session_id": "reads"})
        assert answer.headers["X-ClickHouse-Exception-Code"] in ("164", "62")
        assert rows_and_sum(client, table) == (1, 7)

    def test_a_get_reads_in_its_session(self, http: httpx.Client) -> None:
        http.post("/", params={"session_id": "got"}, content="CREATE TEMPORARY TABLE mine (a UInt8)")
        for sql in ("SELECT count() FROM mine", " ( SELECT count() FROM mine )", "WITH 0 AS a SELECT a"):
            assert http.get("/", params={"session_id": "got", "query": sql}).text == "0\n"

    def test_a_temporary_table_belongs_to_its_session(self, http: httpx.Client) -> None:
        http.post("/", params={"session_id": "one"}, content="CREATE TEMPORARY TABLE mine (a UInt8)")
        assert http.post("/", params={"session_id": "one"}, content="SELECT count() FROM mine").text == "0\n"
        assert http.post("/", params={"session_id": "two"}, content="SELECT count() FROM mine").status_code == 404
        assert http.post("/", content="SELECT count() FROM mine").status_code == 404

    def test_what_a_session_sets_holds_until_its_end(self, http: httpx.Client) -> None:
        ask = "SELECT getSetting('max_block_size'), getSetting('max_threads')"
        http.post("/", params={"session_id": "sets", "max_threads": "3"}, content="SET max_block_size = 4321")
        overridden = http.post(
            "/", params={"session_id": "sets", "max_block_size": "1234", "max_threads": "3"}, content=ask
        )
        after = http.post("/", params={"session_id": "sets", "max_threads": "2"}, content=ask)
        assert (overridden.text, after.text) == ("1234\t3\n", "4321\t2\n")

    def test_a_database_of_the_url_holds_for_its_request(self, http: httpx.Client) -> None:
        ask = "SELECT currentDatabase()"
        http.post("/", params={"session_id": "uses"}, content="USE system")
        other = http.post("/", params={"session_id": "uses", "database": "default"}, content=ask)
        own = http.post("/", params={"session_id": "uses"}, content=ask)
        assert (other.text, own.text) == ("default\n", "system\n")

    def test_a_session_serves_one_request_at_a_time(self, http: httpx.Client) -> None:
        with http.stream(
            "POST", "/", params={"session_id": "busy"}, content="SELECT * FROM system.numbers FORMAT TSV"
        ) as first:
            chunks = first.iter_bytes()  # kept: an iterator that is dropped closes its answer, and the session is free
            assert (first.status_code, bool(next(chunks))) == (200, True)
            second = http.post("/", params={"session_id": "busy"}, content="SELECT 1")
        assert (second.status_code, second.headers.get("X-ClickHouse-Exception-Code")) == (423, "373"), second.text


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EndpointProcess]:
    """An endpoint with a writer, a reader, and a reader of one account's rows."""
    one_account = json.dumps({"additional_table_filters": "{'default.t': 'account = 1'}"})
    endpoint = EndpointProcess(
        tmp_path_factory.mktemp("users") / "data", "writer:w", "reader:r:1", f"tenant:t:1:{one_account}"
    )
    await endpoint.start()
    async with httpx.AsyncClient(base_url=endpoint.url, auth=("writer", "w")) as http:
        await http.post("/", content="CREATE TABLE t (account UInt8) ENGINE = MergeTree ORDER BY account")
        await http.post("/", content="INSERT INTO t VALUES (1), (2), (2)")
    yield endpoint
    await endpoint.end(signal.SIGTERM)


Ask = Callable[..., httpx.Response]


class TestUsers:
    @pytest.fixture
    def ask(self, guarded: EndpointProcess) -> Ask:
        def ask(user: str, password: str, sql: str, **arguments: str) -> httpx.Response:
            return httpx.post(guarded.url, auth=(user, password), content=sql, params=arguments)

        return ask

    @pytest.mark.parametrize(("user", "password"), [("writer", "wrong"), ("nobody", ""), ("default", "")])
    def test_a_wrong_password_is_refused(self, ask: Ask, user: str, password: str) -> None:
        answer = ask(user, password, "SELECT 1")
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (401, "516")

    @pytest.mark.parametrize(
        ("headers", "arguments"),
        [
            pytest.param({"X-ClickHouse-User": "reader", "X-ClickHouse-Key": "r"}, {}, id="headers"),
            pytest.param({}, {"user": "reader", "password": "r"}, id="URL"),
        ],
    )
    def test_credentials_come_in_headers_or_the_url(
        self, guarded: EndpointProcess, headers: dict[str, str], arguments: dict[str, str]
    ) -> None:
        assert httpx.post(guarded.url, headers=headers, params=arguments, content="SELECT 1").text == "1\n"

    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO t VALUES (3)",
            "INSERT INTO t FORMAT CSV\n3",
            "DROP TABLE t",
            "SET readonly = 0",
            "BACKUP TABLE t TO File('one')",
            "/* */ restore TABLE t FROM File('one')",
            "BACKUP TABLE t TO Memory('one')",
        ],
    )
    def test_a_reader_changes_nothing(self, ask: Ask, sql: str) -> None:
        assert ask("reader", "r", sql).headers["X-ClickHouse-Exception-Code"] == "164"
        assert ask("reader", "r", "SELECT count() FROM t").text == "3\n"

    def test_row_filters_hold(self, ask: Ask) -> None:
        assert ask("tenant", "t", "SELECT count() FROM t").text == "1\n"

    @pytest.mark.parametrize(
        ("sql", "arguments"),
        [
            pytest.param("SELECT count() FROM t", {"additional_table_filters": "{}"}, id="by the URL"),
            pytest.param("SELECT count() FROM t", {"readonly": "0"}, id="by the URL's readonly"),
            pytest.param("SELECT count() FROM t SETTINGS additional_table_filters = {}", {}, id="by the statement"),
            pytest.param("SET additional_table_filters = {}", {"session_id": "x"}, id="by the session"),
            pytest.param("SELECT count() FROM merge('default', '^t$')", {}, id="by merge()"),
            pytest.param("SELECT count() FROM `merge` ('default', '^t$')", {}, id="by a quoted merge()"),
        ],
    )
    def test_row_filters_cannot_be_lifted(self, ask: Ask, sql: str, arguments: dict[str, str]) -> None:
        assert ask("tenant", "t", sql, **arguments).status_code == 403


class TestProcess:
    @pytest.fixture
    async def endpoint(self, tmp_path: Path) -> AsyncIterator[EndpointProcess]:
        endpoint = await EndpointProcess(tmp_path / "data").start()
        yield endpoint
        await endpoint.end(signal.SIGKILL)

    async def test_a_path_has_one_process(self, endpoint: EndpointProcess) -> None:
        code, said = await EndpointProcess(endpoint.path).refused()
        assert code == 3
        assert "another process uses this ClickHouse data directory" in said

    async def test_sigterm_finishes_what_runs_and_exits_0(self, endpoint: EndpointProcess) -> None:
        sql = "SELECT number FROM numbers(5000000) FORMAT TSV"
        async with httpx.AsyncClient(timeout=60) as http, http.stream("POST", endpoint.url, content=sql) as answer:
            chunks = answer.aiter_bytes()
            received = len(await anext(chunks))
            ending = asyncio.create_task(endpoint.end(signal.SIGTERM))
            received += sum([len(chunk) async for chunk in chunks])
        assert received == sum(len(str(number)) + 1 for number in range(5_000_000))
        assert await ending == 0

    async def test_kill_9_loses_no_acknowledged_batch_and_leaves_none_partial(self, endpoint: EndpointProcess) -> None:
        acknowledged: set[int] = set()
        numbers = count()
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=60) as http:
            await http.post("/", content="CREATE TABLE t (batch UInt32, a UInt32) ENGINE = MergeTree ORDER BY batch")
        for _ in range(3):
            await kill_while_inserting(endpoint, acknowledged, numbers)
            await endpoint.start()
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=60) as http:
            answer = await http.post(
                "/", content="SELECT batch, count() FROM t GROUP BY batch FORMAT JSONCompactEachRow"
            )
        sizes = dict(json.loads(line) for line in answer.text.splitlines())
        assert Counter(map(int, sizes.values())).keys() == {BATCH_ROWS}
        assert acknowledged <= sizes.keys()


BATCH_ROWS = 20_000


async def kill_while_inserting(endpoint: EndpointProcess, acknowledged: set[int], numbers: Iterator[int]) -> None:
    """Insert batches from four sides until ten more are acknowledged, then kill the endpoint between two bytes."""
    enough = asyncio.Event()
    goal = len(acknowledged) + 10

    async def write() -> None:
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=60) as http:
            for batch in numbers:
                body = b"".join(b"%d,%d\n" % (batch, row) for row in range(BATCH_ROWS))
                try:
                    answer = await http.post("/", params={"query": "INSERT INTO t FORMAT CSV"}, content=body)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                acknowledged.add(batch)
                if len(acknowledged) >= goal:
                    enough.set()

    writers = [asyncio.create_task(write()) for _ in range(4)]
    await enough.wait()
    await endpoint.end(signal.SIGKILL)
    await asyncio.gather(*writers)
