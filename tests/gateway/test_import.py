"""A file of addresses to suppress: the meaning of its lines, and how an invalid one is reported."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from application.import_files import MAX_LINES
from gateway.problems import MAX_ANSWER_BYTES
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token, records

IMPORT = "/v1/suppressions/import"
TOPIC = "suppressions.commands"


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def client(kafka: FakeKafka) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(kafka, a_token("*", role="support", subject="jo")) as made:
        yield made


async def post(client: httpx.AsyncClient, body: str | bytes, **query: Any) -> httpx.Response:
    return await client.post(IMPORT, content=body, params=query)


CSV = """\
address,reason,scope,note
ann@example.com,asked by phone,,"two
lines, ""quoted"" too"

+1 415 555 0100,asked,acme,
"""


async def test_each_line_of_a_csv_is_a_command(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    answer = await post(client, CSV)
    assert (answer.status_code, answer.json()) == (
        202,
        {"dry_run": False, "lines": 2, "good": 2, "bad": 0, "errors": []},
    )
    (ann_key, ann), (phone_key, phone) = records(kafka, TOPIC)
    assert (ann_key, phone_key) == ("email:ann@example.com", "sms:+14155550100")
    assert (ann["action"], ann["actor"], ann["reason"], ann["scope"]) == ("suppress", "jo", "asked by phone", "*")
    assert ann["note"] == 'two\nlines, "quoted" too'
    assert (phone["channel"], phone["scope"], "note" in phone) == ("sms", "acme", False)
    assert ann["command_id"] != phone["command_id"]


async def test_each_line_of_an_ndjson_is_a_command(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    lines = [
        {"address": "ann@example.com", "reason": "r"},
        {"channel": "sms", "address": "+14155550100", "reason": "r"},
    ]
    body = b"\n\r\n".join(orjson.dumps(line) for line in lines)
    assert (await post(client, body)).status_code == 202
    assert [key for key, _ in records(kafka, TOPIC)] == ["email:ann@example.com", "sms:+14155550100"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbfaddress,reason\r\nann@example.com,r\r\n", id="as Excel writes it"),
        pytest.param(b"\n Reason , ADDRESS\n r , ann@example.com \n \n", id="blanks and capitals"),
        pytest.param(b"email,reason\nann@example.com,r\n", id="an address by another name"),
        pytest.param(b"Email;Reason;Note\nann@example.com;r;a,b,c,d\n", id="semicolons, as Excel writes them"),
        pytest.param(b'\xef\xbb\xbf {"email": "ann@example.com", "reason": "r"}', id="NDJSON with a mark"),
    ],
)
async def test_spreadsheet_variants_of_a_file_are_accepted(
    client: httpx.AsyncClient, kafka: FakeKafka, body: bytes
) -> None:
    assert (await post(client, body)).status_code == 202
    assert [key for key, _ in records(kafka, TOPIC)] == ["email:ann@example.com"]


BAD_CSV = """\
address,reason,scope
ann@example.com,r,
no address,r,
"ann@example.com","two
lines",a b
bob@example.com,,
bob@example.com,r
eve@example.com,r,
"eve@example.com,r,
"""
NAMED = [(3, "address"), (4, "scope"), (6, "reason"), (7, ""), (9, "")]


async def test_every_bad_line_is_named_by_its_number_and_nothing_is_written(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    answer = await post(client, BAD_CSV)
    said = answer.json()
    assert (answer.status_code, [(e["line"], e["field"]) for e in said["errors"]]) == (422, NAMED)
    assert (said["lines"], said["good"], said["bad"]) == (7, 2, 5)
    assert "line 3: `address`: must be an email address" in said["detail"]
    assert kafka.sent == []


async def test_a_dry_run_says_the_same_and_writes_nothing(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    answer = await post(client, BAD_CSV, dry_run=1)
    said = answer.json()
    assert (answer.status_code, [(e["line"], e["field"]) for e in said["errors"]]) == (200, NAMED)
    assert (said["dry_run"], said["lines"], said["good"], said["bad"]) == (True, 7, 2, 5)
    good = (await post(client, CSV, dry_run="true")).json()
    assert good == {"dry_run": True, "lines": 2, "good": 2, "bad": 0, "errors": []}
    assert kafka.sent == []


async def test_bad_lines_of_an_ndjson_are_named_too(client: httpx.AsyncClient) -> None:
    answer = await post(client, b'{"address": "ann@example.com", "reason": "r"}\n\n{"addr\n17\n{"address": 17}\n')
    assert [(e["line"], e["field"]) for e in answer.json()["errors"]] == [
        (3, ""),
        (4, ""),
        (5, "channel"),
        (5, "address"),
        (5, "reason"),
    ]


@pytest.mark.parametrize(
    ("body", "query", "line"),
    [
        pytest.param(b"", {}, 1, id="nothing"),
        pytest.param(b"ann@example.com\nbob@example.com", {}, 1, id="no names of columns"),
        pytest.param(b"adress,reason\nann@example.com,r", {}, 1, id="a misspelt column"),
        pytest.param(b"address\treason\nann@example.com\tr", {}, 1, id="tabs"),
        pytest.param(b"\n" * 100_000 + b"address,reason\nann@example.com,r", {}, None, id="100,000 blank lines"),
        pytest.param(b"{}" + b"\n" * 4_000_000, {}, None, id="4 MB of line ends"),
        pytest.param(b'\n\n"address', {}, 3, id="a quote without end"),
        pytest.param(b"address,reason\n\n", {}, None, id="no line"),
        pytest.param(b"address,reason\nann@example.com,r\n\xff,r", {}, 3, id="not UTF-8"),
        pytest.param(b'{"address": "ann@example.com"}', {"format": "csv"}, 1, id="JSON that is said to be CSV"),
    ],
)
async def test_a_file_of_another_format_is_refused(
    client: httpx.AsyncClient, kafka: FakeKafka, body: bytes, query: dict[str, str], line: int | None
) -> None:
    answer = await post(client, body, **query)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], error.get("line")) == (422, "body", line)
    assert kafka.sent == []


@pytest.mark.parametrize(
    ("head", "field"),
    [
        pytest.param("address,reason,scpoe", "scpoe", id="misspelt"),
        pytest.param("address,reason,who", "who", id="unknown"),
        pytest.param("address,reason,group", "group", id="of an opt-in"),
        pytest.param("address,reason,", "", id="without a name"),
        pytest.param("address,reason,reason", "reason", id="twice"),
        pytest.param("address,reason,email", "address", id="twice, by two names"),
    ],
)
async def test_an_invalid_column_is_named(client: httpx.AsyncClient, kafka: FakeKafka, head: str, field: str) -> None:
    answer = await post(client, f"{head}\nann@example.com,r,acme")
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["line"], kafka.sent) == (422, field, 1, [])


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param({"scpoe": "acme"}, "scpoe", id="misspelt"),
        pytest.param({"email": "ann@example.com"}, "email", id="two addresses"),
        pytest.param({"address": "x" * 400 + "@example.com"}, "address", id="too long"),
        pytest.param({"address": "ann@example.com\n"}, "address", id="a line end in it"),
    ],
)
async def test_an_invalid_field_is_named(
    client: httpx.AsyncClient, kafka: FakeKafka, line: dict[str, str], field: str
) -> None:
    answer = await post(client, orjson.dumps({"address": "ann@example.com", "reason": "r"} | line))
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["line"], kafka.sent) == (422, field, 1, [])


@pytest.mark.parametrize("dry_run", [0, 1])
async def test_the_first_hundred_bad_lines_are_named_and_all_are_counted(
    client: httpx.AsyncClient, dry_run: int
) -> None:
    answer = await post(client, "address,reason\n" + f"{'x' * 200},\n" * 10_000, dry_run=dry_run)
    said = answer.json()
    assert (answer.status_code, said["bad"], len(said["errors"])) == (200 if dry_run else 422, 10_000, 100)
    assert len(answer.content) <= MAX_ANSWER_BYTES


async def test_up_to_10_000_lines_are_accepted(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    lines = "".join(f"user{n}@example.com,r\n" for n in range(MAX_LINES))
    answer = await post(client, f"address,reason\n{lines}")
    assert (answer.status_code, len(kafka.sent)) == (202, MAX_LINES)
    kafka.outputs.clear()
    assert (await post(client, f"address,reason\n{lines}one.more@example.com,r")).status_code == 422
    assert kafka.sent == []


async def test_a_file_of_more_than_4_mib_is_too_large(client: httpx.AsyncClient) -> None:
    assert (await post(client, b"address,reason\n" + b" " * (1 << 22))).status_code == 413


@pytest.mark.parametrize("query", [{"format": "xlsx"}, {"dry_run": "perhaps"}, {"dryrun": "1"}])
async def test_an_invalid_parameter_is_refused(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await post(client, CSV, **query)).status_code == 400
