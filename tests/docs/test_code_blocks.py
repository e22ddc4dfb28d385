"""The blocks of code of the documentation: each states its language, and is right in it."""

import ast
import json
import re
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
import yaml

from projections.store import Store
from tests.docs.code_blocks import Block, blocks, command_lines, problem_of
from tests.docs.generate import ROOT
from tests.docs.test_reference import pages

LANGUAGES: Final = {"sh", "sql", "python", "json", "yaml", "xml", "promql", "text", "{toctree}"}
BLOCKS: Final = [block for page in pages() for block in blocks(page)]
_PARAMETER: Final = re.compile(r"\{(\w+):")
_VALUES: Final = {"account": "demo", "email_id": UUID(int=0)}
_ADMINISTRATORS: Final = re.compile(r"\s*(BACKUP|RESTORE|DROP|ALTER|CREATE|GRANT)\b")
"""Statements that are only parsed: they need an administrator, or destroy what other tests use."""


def of(*languages: str) -> list[object]:
    return [
        pytest.param(block, id=f"{block.page.relative_to(ROOT)}:{block.line}")
        for block in BLOCKS
        if block.language in languages
    ]


def test_every_block_has_a_language() -> None:
    assert [f"{b.page.name}:{b.line} {b.language}" for b in BLOCKS if b.language not in LANGUAGES] == []


COMMANDS: Final = [(block, words) for block in BLOCKS if block.language == "sh" for words in command_lines(block.text)]


def test_every_command_of_sendledger_exists_with_its_options() -> None:
    wrong = [
        f"{b.page.name}:{b.line} {' '.join(words)}: {problem_of(words)}" for b, words in COMMANDS if problem_of(words)
    ]
    assert COMMANDS
    assert wrong == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("sendledger lag --json | head", [["lag", "--json"]]),
        ("A=1 B=2 .venv/bin/sendledger lag  # why", [["lag"]]),
        ("sendledger lag \\\n  --all && sendledger doctor", [["lag", "--all"], ["doctor"]]),
        ('export TOKEN="$(sendledger token create --role viewer)"', [["token", "create", "--role", "viewer"]]),
        ("echo sendledger lag; kubectl --namespace sendledger get pods", []),
    ],
)
def test_commands_are_found_in_a_script(script: str, words: list[list[str]]) -> None:
    assert list(command_lines(script)) == words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lags"], "No such command"),
        (["lag", "--colour"], "No such option"),
        (["suppress", "a@example.com"], "Missing option"),
        (["dead-letters", "shows"], "No such command"),
        (["suppressions", "--limit", "many"], "valid integer"),
        (["token", "create", "--days"], "requires an argument"),
        (["lag", "--json"], ""),
    ],
)
def test_a_wrong_command_is_noticed(words: list[str], says: str) -> None:
    assert says in problem_of(words)
    assert bool(problem_of(words)) == bool(says)


@pytest.mark.clickhouse
@pytest.mark.parametrize("block", of("sql"))
def test_sql_runs_on_the_engine(store: Store, block: Block) -> None:
    """On empty tables: the columns, functions and types are right. The figures are the business of other tests."""
    sql = block.text.strip().removesuffix(";")
    if _ADMINISTRATORS.match(sql):
        for statement in sql.split(";\n"):
            assert store.tuples("SELECT formatQuery({sql:String})", {"sql": statement})
        return
    sql = re.sub(r"\bsendledger(_g\d+)?\.", lambda m: f"{store.tables if m[1] else store.database}.", sql)
    store.tuples(sql, {name: _VALUES[name] for name in _PARAMETER.findall(sql)})


@pytest.mark.parametrize("block", of("python"))
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", of("json", "yaml", "xml"))
def test_data_can_be_parsed(block: Block) -> None:
    match block.language:
        case "json":
            json.loads(block.text)
        case "yaml":
            yaml.safe_load(block.text)
        case _:
            ET.fromstring(block.text)
