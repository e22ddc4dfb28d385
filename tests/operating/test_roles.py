"""`migrate --roles` prints SQL, and runs nothing: here no server answers."""

from pathlib import Path

import pytest

from projections.store.access import access_statements
from schemas.settings import PREFIX
from tests.operating.commands import in_process

ENV = {f"{PREFIX}CLICKHOUSE_URL": "http://user:kept-secret@127.0.0.1:1"}


async def test_the_sql_of_the_accounts_is_printed(tmp_path: Path) -> None:
    ended = await in_process("migrate", "--roles", "--account", "acme", "--account", "globex", env=ENV, folder=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "".join(f"{one};\n" for one in access_statements("sendledger", ["acme", "globex"]))
    assert "`sendledger_account_globex`" in ended.out
    assert "kept-secret" not in ended.out


@pytest.mark.parametrize(
    ("words", "names"), [(["--account", "acme"], "--roles"), (["--roles", "--account", "a'; DROP"], "--account")]
)
async def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path, words: list[str], names: str) -> None:
    ended = await in_process("migrate", *words, env=ENV, folder=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert names in ended.err
