"""`sendledger schemas`: what it prints, in which format."""

from pathlib import Path

import orjson
import pytest

from cli.diagnostics import schema_documents
from schemas.asyncapi import document
from schemas.errors import RequestError
from schemas.json_schemas import json_schemas
from tests.operating.commands import in_process


@pytest.mark.parametrize(
    ("which", "found"),
    [
        pytest.param("json", json_schemas(), id="the JSON Schemas"),
        pytest.param("asyncapi", document(), id="the AsyncAPI document"),
        pytest.param(None, {"schemas": json_schemas(), "asyncapi": document()}, id="both"),
    ],
)
def test_each_form_is_one_json_document(which: str | None, found: object) -> None:
    for indented in (True, False):
        shown = schema_documents(which, indented=indented)
        assert orjson.loads(shown) == found
        assert ("\n" in shown) == indented


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(RequestError, match="Unknown format 'yaml'"):
        schema_documents("yaml", indented=True)


async def test_the_command_needs_no_settings(tmp_path: Path) -> None:
    ended = await in_process("schemas", "--json", env={}, folder=tmp_path)
    assert (ended.code, ended.err, len(ended.out.splitlines())) == (0, "", 1)
    assert {"SendRequest", "SuppressionState", "DeadLetterHeaders"} <= ended.json()["schemas"].keys()
    refused = await in_process("schemas", "--format", "yaml", env={}, folder=tmp_path)
    assert (refused.code, refused.out) == (2, "")
