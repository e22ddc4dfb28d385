"""Errors of commands: three lines for people, an exit code for scripts, no traceback."""

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from application.errors import FieldsInvalid, ValidationFault
from cli.errors import error_text, exit_code, to_sendledger_error
from cli.progress import waiting_for
from schemas.errors import BrokerError, ConfigError, RequestError, StoreDenied, StoreError, StoreRefused
from tests.local.endpoints import EndpointProcess
from tests.operating.commands import in_process, sendledger
from tests.stores import fresh_store

NOWHERE = "127.0.0.1:1"
SETTINGS = {
    "SENDLEDGER_KAFKA_BOOTSTRAP": NOWHERE,
    "SENDLEDGER_CLICKHOUSE_URL": f"http://me:kept-secret@{NOWHERE}",
    "SENDLEDGER_TOKEN_SECRET": "a secret of this test, and of no other place",
}
SAID = ("what", "where", "mend")


def test_invalid_fields_are_reported_as_arguments_of_the_command() -> None:
    error = to_sendledger_error(FieldsInvalid([ValidationFault("reason", "must not be blank")]))
    assert error is not None
    assert (exit_code(error), error_text(error).splitlines()) == (
        2,
        ["error: `reason`: must not be blank", "  where: the arguments", "  mend:  Correct them; see --help"],
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(RequestError(*SAID), 2, id="usage"),
        pytest.param(ConfigError(*SAID), 3, id="configuration"),
        pytest.param(StoreDenied(*SAID), 3, id="a wrong password"),
        pytest.param(StoreError(*SAID), 4, id="ClickHouse away"),
        pytest.param(BrokerError(*SAID), 4, id="Kafka away"),
        pytest.param(StoreRefused(*SAID), 1, id="a statement refused"),
        pytest.param(PermissionError(errno.EACCES, "Permission denied", "/data"), 3, id="a folder that is not ours"),
        pytest.param(OSError(errno.ENOSPC, "No space left on device", "/data"), 3, id="a full disk"),
        pytest.param(OSError(errno.EADDRINUSE, "Address already in use"), 3, id="a taken port"),
        pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 4, id="nobody listens"),
        pytest.param(TimeoutError(), 4, id="no answer"),
        pytest.param(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), 4, id="no such host"),
        pytest.param(ExceptionGroup("tasks", [BrokerError(*SAID)]), 4, id="of a task"),
    ],
)
def test_every_error_that_somebody_can_act_upon_has_its_code(error: Exception, code: int) -> None:
    ours = to_sendledger_error(error)
    assert ours is not None
    assert exit_code(ours) == code
    assert all((ours.what, ours.where, ours.mend))


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x"), OSError(errno.EBADF, "Bad file descriptor")])
def test_a_mistake_of_ours_keeps_its_traceback(error: Exception) -> None:
    assert to_sendledger_error(error) is None


def test_what_came_from_outside_does_not_reach_the_terminal() -> None:
    assert "\x1b" not in error_text(RequestError("a\x1b[2Jb", "c\nd", "e"))
    assert len(error_text(RequestError("a\x1b[2Jb", "c\nd", "e")).splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        pytest.param(["status"], "SENDLEDGER_CLICKHOUSE_URL", id="status"),
        pytest.param(["suppressions"], "SENDLEDGER_CLICKHOUSE_URL", id="suppressions"),
        pytest.param(["migrate"], "SENDLEDGER_CLICKHOUSE_URL", id="migrate"),
        pytest.param(["topics"], "Kafka", id="topics"),
        pytest.param(["lag"], "Kafka", id="lag"),
        pytest.param(["verify"], "Kafka", id="verify"),
        pytest.param(["simulate", "--messages", "3"], "Kafka", id="simulate"),
        pytest.param(["suppress", "a@example.com", "--reason", "r"], "SENDLEDGER_KAFKA_BOOTSTRAP", id="suppress"),
    ],
)
async def test_a_server_that_is_away_is_three_lines_and_exit_code_4(
    words: list[str], setting: str, tmp_path: Path
) -> None:
    ended = await in_process(*words, env=SETTINGS, folder=tmp_path)
    assert (ended.code, ended.out) == (4, ""), ended.err
    what, where, mend = ended.err.splitlines()[-3:]
    assert (what[:7], where[:9], mend[:9]) == ("error: ", "  where: ", "  mend:  ")
    assert setting in ended.err
    for noise in ("Traceback", "urllib3", "HTTPConnectionPool", "aiokafka", "It is tried again", "kept-secret"):
        assert noise not in ended.err


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[EndpointProcess]:
    """A ClickHouse with another password."""
    started = await EndpointProcess(tmp_path / "clickhouse", "me:kept-secret-too").start()
    yield started
    await started.end(signal.SIGKILL)


@pytest.mark.clickhouse
async def test_a_wrong_password_is_a_matter_of_configuration(endpoint: EndpointProcess, tmp_path: Path) -> None:
    env = SETTINGS | {"SENDLEDGER_CLICKHOUSE_URL": f"http://me:kept-secret@127.0.0.1:{endpoint.port}"}
    for words in (["status"], ["migrate"]):
        ended = await in_process(*words, env=env, folder=tmp_path)
        assert ended.code == 3, ended.err
        assert "refuses the user or the password" in ended.err
        assert "SENDLEDGER_CLICKHOUSE_URL" in ended.err
        assert "kept-secret" not in ended.err


@pytest.mark.clickhouse
async def test_waiting_for_a_hung_clickhouse_or_kafka_is_printed(endpoint: EndpointProcess, tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    env = SETTINGS | {
        "SENDLEDGER_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}",
        "SENDLEDGER_CLICKHOUSE_URL": f"http://me@127.0.0.1:{port}",
    }
    ended = await sendledger("suppress", "a@example.com", "--reason", "r", env=env, folder=tmp_path)
    server.close()
    assert (ended.code, ended.out) == (4, "")
    assert f"waiting for ClickHouse at 127.0.0.1:{port}" in ended.err
    assert f"waiting for Kafka at 127.0.0.1:{port}" in ended.err
    assert "SENDLEDGER_KAFKA_BOOTSTRAP" in ended.err


def test_what_does_not_take_long_is_not_talked_about(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting_for("Kafka"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("forge", "named"),
    [
        pytest.param(
            "schema_migrations (version, name, checksum) SELECT 9001, 'later', 'x'", "migration 9001", id="a migration"
        ),
        pytest.param("schema_views (name, checksum) SELECT 'later_view', 'x'", "view later_view", id="a view"),
    ],
)
async def test_the_database_of_a_newer_release_is_refused(
    clickhouse_url: str, tmp_path: Path, forge: str, named: str
) -> None:
    with fresh_store(clickhouse_url) as store:
        store.command(f"INSERT INTO {forge}", database=store.tables)
        env = {"SENDLEDGER_CLICKHOUSE_URL": clickhouse_url, "SENDLEDGER_CLICKHOUSE_DATABASE": store.database}
        ended = await in_process("migrate", env=env, folder=tmp_path)
    assert ended.code == 3
    assert f"this release does not know its {named}" in ended.err


@pytest.mark.process
@pytest.mark.parametrize("place", ["/proc/sendledger", "a file"])
async def test_a_data_dir_that_can_not_be_used_is_a_matter_of_configuration(place: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    ended = await sendledger("up", "--data-dir", place, env={}, folder=tmp_path)
    assert (ended.code, ended.out) == (3, "")
    assert "error: The data directory can't be used" in ended.err
    assert "--data-dir" in ended.err
    assert "Traceback" not in ended.err
