"""Importing a file of addresses: a command for each line, or none at all."""

import pytest

from application.errors import FieldsInvalid
from application.import_files import is_ndjson
from application.importing import ParsedImport, import_commands, parse_import
from schemas.errors import RequestError
from tests.application.building import NOW_US, FakeKafka, a_principal, records

GOOD = b"address,reason\nann@example.com,asked\n+14155550100,asked\n"
BAD = b"address,reason\nann@example.com,asked\nnobody,asked\n"


def read(body: bytes, *accounts: str) -> ParsedImport:
    return parse_import(body, ndjson=is_ndjson(body), principal=a_principal(*accounts or ["*"]), now_us=NOW_US)


async def test_a_command_for_each_line_is_in_the_log() -> None:
    kafka = FakeKafka()
    report = await import_commands(kafka, read(GOOD))
    assert report == {"dry_run": False, "lines": 2, "good": 2, "bad": 0}
    assert [key for key, _ in records(kafka, "suppressions.commands")] == ["email:ann@example.com", "sms:+14155550100"]


async def test_of_a_file_with_a_bad_line_nothing_is_written() -> None:
    kafka, imported = FakeKafka(), read(BAD)
    with pytest.raises(FieldsInvalid) as raised:
        await import_commands(kafka, imported)
    assert kafka.sent == []
    assert [(fault.field, fault.place) for fault in raised.value.faults] == [("address", {"line": 3})]
    figures = {name: raised.value.more[name] for name in ("lines", "good", "bad")}
    assert (raised.value.code, figures) == ("invalid-body", {"lines": 2, "good": 1, "bad": 1})


def test_a_dry_run_only_reads() -> None:
    imported = read(BAD)
    assert imported.report(dry_run=True) == {"dry_run": True, "lines": 2, "good": 1, "bad": 1}
    assert len(imported.faults) == 1


def test_a_line_for_another_account_refuses_the_file() -> None:
    body = b'{"address": "ann@example.com", "reason": "r", "scope": "globex"}\n'
    with pytest.raises(RequestError) as raised:
        read(body, "acme")
    assert raised.value.code == "no-such-account"
