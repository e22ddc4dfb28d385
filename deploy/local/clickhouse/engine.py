"""The chDB engine of this process: connections, settings, sessions, and the running of one request.

Every request has its own connection (0.1 ms), so that settings, `USE`, `readonly` and temporary tables die with it.
A session keeps its connection until its timeout. Everything here blocks, and runs in worker threads.
"""

import contextlib
import fcntl
import itertools
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import chdb

from deploy.local.clickhouse.codecs import encode
from deploy.local.clickhouse.exchange import Exchange
from deploy.local.clickhouse.failures import Failure
from deploy.local.clickhouse.statements import Insert, Statement, find_insert
from deploy.local.clickhouse.users import User, Users
from schemas.errors import ConfigError

__all__ = ["Answer", "Engine"]

# Their blocks simply follow each other, so a result can be sent as it comes.
_STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
_APPEND_BYTES = 1 << 20
_SETTING_NAME = re.compile(r"\w+")
_SESSION_SECONDS = 60.0
_MOST_SESSION_SECONDS = 3600.0

Connection = Any  # chdb.state.sqlitelike.Connection, which has no types


@dataclass(frozen=True)
class Answer:
    """A request that succeeds: its headers, and its body as it comes.

    `chunks` must be read to its end or closed: it holds the connection.
    """

    headers: Mapping[str, str]
    chunks: Generator[bytes, None, None]


@dataclass
class Session:
    """A connection that several requests of one user share, one at a time."""

    connection: Connection
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    own_database: str = "default"  # what its own USE chose; a request's `database` is for that request


class Engine:
    """One chDB engine on one path, which no other process may hold."""

    def __init__(self, path: Path, users: Users) -> None:
        self._lock = _lock_path(path)
        self._path = str(path)
        self._users = users
        try:
            self._root: Connection = chdb.connect(self._path)  # holds the engine open between requests
        except RuntimeError as error:
            raise ConfigError(
                what=f"chDB cannot open its data: {error}",
                where=self._path,
                mend="end the process that uses them, or name another path",
            ) from error
        self._sessions: dict[tuple[str, str], Session] = {}
        self._sessions_lock = threading.Lock()
        self._timezone = self._root.query("SELECT timezone()", "TSVRaw").bytes().decode().strip()

    def close(self) -> None:
        for session in self._sessions.values():
            session.connection.close()
        self._sessions.clear()
        self._root.close()
        self._lock.close()

    def run(self, exchange: Exchange) -> Answer:
        """Run a request. Raises Failure, or whatever chDB raises, before there is an answer."""
        user = self._users.authenticate(exchange.credentials)
        _refuse_pinned(user, exchange.settings)
        stack = contextlib.ExitStack()
        try:
            session, connection = stack.enter_context(self._connection(exchange, user))
            insert = find_insert(exchange.query, exchange.body)
            if insert:
                return self._answer(exchange, stack, "Null", iter(()), written=_insert(connection, insert))
            statement = Statement.of(exchange.query, exchange.body)
            user.check_statement(statement.masked)
            answer = self._query(exchange, stack, connection, statement)
            if session and statement.uses_database:
                session.own_database = _one_value(connection, "SELECT currentDatabase()")
        except BaseException:
            stack.close()
            raise
        return answer

    def _query(
        self, exchange: Exchange, stack: contextlib.ExitStack, connection: Connection, statement: Statement
    ) -> Answer:
        format_ = statement.format or exchange.default_format
        parameters = exchange.parameters
        if statement.reads and format_ in _STREAMED and exchange.streams:
            stream = stack.enter_context(connection.send_query(statement.sql, format_, params=parameters))
            first = stream.fetch()
            if first is not None:
                chunks = (chunk.bytes() for chunk in itertools.chain([first], stream))
                return self._answer(exchange, stack, format_, chunks)
            stream.cancel()
            empty = _empty_native(connection, statement, parameters) if format_ == "Native" else b""
            return self._answer(exchange, stack, format_, iter((empty,)))
        result = connection.query(statement.sql, format_, params=parameters)
        read = (result.rows_read(), result.bytes_read())
        return self._answer(exchange, stack, format_, iter((result.bytes(),)), read=read)

    def _answer(
        self,
        exchange: Exchange,
        stack: contextlib.ExitStack,
        format_: str,
        chunks: Iterator[bytes],
        *,
        read: tuple[int, int] = (0, 0),
        written: tuple[int, int] = (0, 0),
    ) -> Answer:
        counts = dict(zip(("read_rows", "read_bytes", "written_rows", "written_bytes"), (*read, *written), strict=True))
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Format": format_,
            "X-ClickHouse-Query-Id": exchange.arguments.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Server-Display-Name": "sendledger-local",
            "X-ClickHouse-Summary": json.dumps({name: str(count) for name, count in counts.items()}),
            "X-ClickHouse-Timezone": self._timezone,
        }
        encoding = "" if format_ == "Null" else exchange.encoding
        if encoding:
            headers["Content-Encoding"] = encoding
        return Answer(headers, _holding(stack, encode(encoding, chunks)))

    @contextlib.contextmanager
    def _connection(self, exchange: Exchange, user: User) -> Iterator[tuple[Session | None, Connection]]:
        """A connection with user, database and settings in force: fresh, or the session's."""
        session_id = exchange.arguments.get("session_id")
        if session_id:
            with self._session(exchange, user, session_id) as session:
                if not exchange.database:
                    _use(session.connection, session.own_database)
                with _settings_for_now(session.connection, exchange):
                    yield session, session.connection
            return
        connection = self._open(user, readonly=user.readonly or 2 * (exchange.method == "GET"))
        try:
            _prepare(connection, exchange)
            yield None, connection
        finally:
            connection.close()

    def _open(self, user: User, readonly: int) -> Connection:
        connection = chdb.connect(self._path)
        # The engine's own default is on, and a batch writer then waits for nothing.
        _set(connection, {"async_insert": "0", **user.settings, "readonly": str(readonly)})
        return connection

    @contextlib.contextmanager
    def _session(self, exchange: Exchange, user: User, session_id: str) -> Iterator[Session]:
        asked = float(exchange.arguments.get("session_timeout") or _SESSION_SECONDS)
        with self._sessions_lock:
            self._close_expired()
            session = self._sessions.get((user.name, session_id))
            if session is None:
                if exchange.arguments.get("session_check") == "1":
                    raise Failure(372, "SESSION_NOT_FOUND", f"Session {session_id} not found")
                session = Session(self._open(user, user.readonly))
                self._sessions[user.name, session_id] = session
            if not session.lock.acquire(blocking=False):
                raise Failure(373, "SESSION_IS_LOCKED", f"Session {session_id} is locked by a concurrent client")
        try:
            yield session
        finally:
            session.expires = time.monotonic() + min(asked, _MOST_SESSION_SECONDS)
            session.lock.release()

    def _close_expired(self) -> None:
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if session.expires < now and not session.lock.locked():
                self._sessions.pop(key).connection.close()


def _lock_path(path: Path) -> IO[bytes]:
    """Our own lock, because chDB's says less about what is wrong."""
    path.mkdir(parents=True, exist_ok=True)
    file = (path / "endpoint.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(
            what="another process holds these ClickHouse data",
            where=str(path),
            mend="end that process, or name another path",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _refuse_pinned(user: User, settings: Mapping[str, str]) -> None:
    for name in settings:
        if name in user.settings:
            raise Failure(452, "SETTING_CONSTRAINT_VIOLATION", f"Setting {name} should not be changed by {user.name}")


def _insert(connection: Connection, insert: Insert) -> tuple[int, int]:
    """Write all data or nothing of them; return rows and bytes."""
    with connection.send_insert(insert.sql, insert.format) as inserter:
        for at in range(0, len(insert.data), _APPEND_BYTES):
            inserter.append(insert.data[at : at + _APPEND_BYTES])
        done = inserter.finish()
    return done.rows_written, done.bytes_written


def _empty_native(connection: Connection, statement: Statement, parameters: Mapping[str, str]) -> bytes:
    """A Native block of no rows that names the columns: chDB writes nothing at all for an empty result."""
    described = connection.query(f"DESCRIBE ({statement.without_format})", "JSONCompactEachRow", params=parameters)
    columns = [json.loads(line)[:2] for line in described.bytes().splitlines()]
    texts = (text.encode() for column in columns for text in column)
    return _varint(len(columns)) + _varint(0) + b"".join(_varint(len(text)) + text for text in texts)


def _varint(number: int) -> bytes:
    """LEB128, as ClickHouse writes lengths."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _prepare(connection: Connection, exchange: Exchange) -> None:
    if exchange.database:
        _use(connection, exchange.database)
    _set(connection, exchange.settings)


@contextlib.contextmanager
def _settings_for_now(connection: Connection, exchange: Exchange) -> Iterator[None]:
    """A request's settings in a session: in force for the request, and as before after it."""
    names = ", ".join(_quoted(name) for name in exchange.settings)
    before: dict[str, str] = {}
    if names:
        sql = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({names})"  # noqa: S608 - quoted
        before = dict(json.loads(line) for line in connection.query(sql, "JSONCompactEachRow").bytes().splitlines())
    _prepare(connection, exchange)
    try:
        yield
    finally:
        for name in exchange.settings:
            if name in before:
                _set(connection, {name: before[name]})
            else:
                connection.query(f"SET {name} = DEFAULT")


def _use(connection: Connection, database: str) -> None:
    escaped = database.replace("\\", "\\\\").replace("`", "\\`")
    connection.query(f"USE `{escaped}`")


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    """All in one statement: each costs a seventh of a millisecond."""
    if not settings:
        return
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise Failure(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
    connection.query("SET " + ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _one_value(connection: Connection, sql: str) -> str:
    value: str = json.loads(connection.query(sql, "JSONCompactEachRow").bytes())[0]
    return value


def _holding(stack: contextlib.ExitStack, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The chunks; the connection is let go when they end or are closed."""
    with stack:
        yield from chunks
