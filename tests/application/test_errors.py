"""The errors of the application: their codes and texts, and that the layer needs neither HTTP nor a terminal."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from application import deadlines
from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.writing import OutgoingRecord, write
from schemas.errors import RequestError, TimedOut
from schemas.topics import SENDS_REQUESTED
from tests.application.building import FakeKafka

ROOT = Path(__file__).parents[2]
CODES = {
    *("another-operator", "idempotency-conflict", "invalid-body", "no-such-account", "no-such-event"),
    *("no-such-bulk-release", "no-such-letter", "no-such-record", "record-gone", "scope-not-allowed", "too-large"),
}


def codes() -> Iterator[str]:
    """Every code that the application raises an error with."""
    for path in (ROOT / "application").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def test_the_codes_are_these() -> None:
    assert {*codes(), FieldsInvalid([]).code} == CODES


def test_the_number_of_listed_faults_is_limited() -> None:
    faults = [ValidationFault("x" * 1_000, "must be text", {"index": n}) for n in range(MAX_FAULTS + 1)]
    error = FieldsInvalid(faults, lines=101)
    assert (len(error.faults), len(error.faults[0].field), error.more["lines"]) == (MAX_FAULTS, 100, 101)
    assert error.what.endswith("; and 96 more")
    assert [*error.more["errors"][1]] == ["index", "field", "problem"]


def test_an_error_says_what_where_and_the_mend() -> None:
    error = FieldsInvalid([ValidationFault("to", "must be text"), ValidationFault("", "must be an object")])
    assert (error.what, error.where) == ("`to`: must be text; must be an object", "to, the whole")
    assert isinstance(error, RequestError)


async def test_after_the_deadline_nothing_is_written() -> None:
    kafka = FakeKafka()
    with deadlines.limit(0), pytest.raises(TimedOut):
        await write(kafka, [OutgoingRecord.by_actor("jo", SENDS_REQUESTED, "k", b"{}")])
    assert kafka.sent == []


@pytest.mark.process
def test_the_layer_loads_neither_http_nor_a_terminal() -> None:
    modules = [f"application.{path.stem}" for path in (ROOT / "application").glob("[a-z]*.py")]
    script = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules!r}];"
        "print({'gateway', 'cli', 'fastapi', 'starlette', 'httpx', 'uvicorn', 'typer', 'click'} & {*sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
