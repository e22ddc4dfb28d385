"""Which commands read `.data/dev.env` of the folder they start in, and what they print about it."""

import socket
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from schemas.settings import LedgerSettings, StoreSettings, TokenSettings, read, set_by_file
from tests.local.ports import free_port_base
from tests.operating.commands import in_process, sendledger

NOWHERE = "127.0.0.1:1"
WHOLE = {
    "SENDLEDGER_KAFKA_BOOTSTRAP": NOWHERE,
    "SENDLEDGER_CLICKHOUSE_URL": f"http://{NOWHERE}",
    "SENDLEDGER_TOKEN_SECRET": "a secret of this test, and of no other place",
}
PARTS = [["gateway"], ["worker", "ledger"], ["worker", "gate"], ["migrate"], ["topics"]]
"""The programs of an installation."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder where `sendledger up` has run."""
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "dev.env").write_text("".join(f"{name}='{value}'\n" for name, value in WHOLE.items()))
    return tmp_path


@pytest.mark.parametrize("words", PARTS, ids=" ".join)
async def test_a_program_of_an_installation_never_reads_dev_env(words: list[str], folder: Path) -> None:
    ended = await in_process(*words, env={}, folder=folder)
    assert (ended.code, ended.out) == (3, "")
    assert "it is not set" in ended.err
    assert "does not read .data/dev.env by itself" in ended.err


@pytest.mark.parametrize(
    "words",
    [["status"], ["suppressions"], ["suppress", "a@example.com", "--reason", "r"], ["lag"], ["doctor"], ["verify"]],
    ids=lambda words: words[0],
)
async def test_a_command_beside_a_stack_reads_it_and_says_so_once(words: list[str], folder: Path) -> None:
    ended = await in_process(*words, env={}, folder=folder)
    assert ended.code == 4, "a setting that is read names servers that are away"
    said = f"settings from {folder / '.data/dev.env'}; variables of the environment override them"
    assert ended.err.splitlines().count(said) == 1
    assert "settings from" not in ended.out


async def test_the_environment_goes_before_it(folder: Path) -> None:
    other = {"SENDLEDGER_TOKEN_SECRET": "another secret, which stands in the environment"}
    words = ("token", "create", "--role", "viewer", "--account", "demo")
    here, outside, alone = [
        await in_process(*words, env=env, folder=where)
        for env, where in (({}, folder), (other, folder), (other, folder.parent))
    ]
    assert here.out != outside.out
    assert ("settings from" in here.err, outside.err, alone.err) == (True, "", "")


async def test_without_any_settings_the_folder_and_the_command_that_makes_them_are_named(tmp_path: Path) -> None:
    ended = await in_process("status", env={}, folder=tmp_path)
    assert (ended.code, ended.out) == (3, "")
    assert f"there is no .data/dev.env in {tmp_path}" in ended.err
    assert "sendledger up" in ended.err
    assert "docs/reference/settings.md" in ended.err


async def test_a_dev_env_that_can_not_be_read_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / ".data" / "dev.env").mkdir(parents=True)
    ended = await in_process("status", env={}, folder=tmp_path)
    assert ended.code == 3
    assert ended.err.startswith("error: The settings file can't be read: Is a directory")


@pytest.mark.process
@pytest.mark.parametrize("program", ["ledger", "gate"])
async def test_a_worker_whose_metrics_port_is_taken_says_what_to_do(program: str, tmp_path: Path) -> None:
    port = free_port_base()
    with socket.create_server(("127.0.0.1", port)):
        env = WHOLE | {"SENDLEDGER_METRICS_PORT": str(port)}
        ended = await sendledger("worker", program, env=env, folder=tmp_path)
    assert ended.code == 3
    assert "Traceback" not in ended.err
    assert f"where: 127.0.0.1:{port}" in ended.err
    assert "SENDLEDGER_METRICS_PORT" in ended.err


def test_a_short_secret_is_measured_in_characters() -> None:
    with pytest.raises(ConfigError, match="must have at least 32 characters") as raised:
        read(TokenSettings, token_secret="short-and-secret")
    assert "items" not in raised.value.what
    assert "short-and-secret" not in str(raised.value)


def test_only_what_a_program_uses_and_the_environment_lacks_counts_as_filled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / ".data" / "dev.env"
    assert set_by_file(StoreSettings, path) == ["SENDLEDGER_CLICKHOUSE_URL"]
    assert set(set_by_file(LedgerSettings, path)) == {"SENDLEDGER_CLICKHOUSE_URL", "SENDLEDGER_KAFKA_BOOTSTRAP"}
    monkeypatch.setenv("SENDLEDGER_CLICKHOUSE_URL", f"http://{NOWHERE}")
    assert set_by_file(StoreSettings, path) == []
    assert set_by_file(StoreSettings, folder / "none") == []
