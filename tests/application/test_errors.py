"""The errors of the application: their codes, what they tell, and that the layer stands without HTTP and a terminal."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from application import deadlines
from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.writing import Written, write
from schemas.errors import RequestError, TimedOut
from schemas.topics import SENDS_REQUESTED
from tests.application.building import FakeKafka

ROOT = Path(__file__).parents[2]
CODES = {"idempotency-conflict", "invalid-body", "no-such-account", "no-such-record", "scope-not-allowed", "too-large"}


def codes() -> Iterator[str]:
    """Every code that the application gives an error."""
    for path in (ROOT / "application").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def test_the_codes_are_these() -> None:
    assert {*codes(), FieldsInvalid([]).code} == CODES


def test_as_many_faults_are_told_as_somebody_reads() -> None:
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
    with deadlines.begun(0), pytest.raises(TimedOut):
        await write(kafka, [Written.by("jo", SENDS_REQUESTED, "k", b"{}")])
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
