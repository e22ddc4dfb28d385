"""`POST /v1/sends`: what is accepted, what is written, and the errors of what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from application.errors import MAX_FAULTS
from application.send_requests import MAX_SENDS
from gateway.api.sends import MAX_BODY_BYTES
from gateway.problems import MAX_ANSWER_BYTES
from schemas.decoding.ids import message_id_or_blank, sent_at_us, uuid7
from schemas.decoding.sends import decode_request
from schemas.decoding.times import DAY_US, rfc3339
from schemas.records import MAX_CONTENT_BYTES, MAX_REQUEST_BYTES
from tests.building import a_source_position
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US, a_caller, a_message_id, a_send, a_token, records, without_request_id
from tests.gateway.test_metrics import metric

KEY = uuid7(NOW_US - DAY_US, b"a key that we are given")


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def client(kafka: FakeKafka) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(kafka) as made:
        yield made


async def post(client: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    return await client.post("/v1/sends", json=body, headers={n.replace("_", "-"): v for n, v in headers.items()})


def ids(answer: httpx.Response) -> list[str]:
    return [item["message_id"] for item in answer.json()["items"]]


async def test_a_request_is_written_under_its_message_id_and_answered_with_it(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    asked = a_send(subject="Tomorrow", cc=["desk@example.com"], metadata={"locale": "en"}) | {"from": "us@acme.example"}
    answer = await post(client, asked)
    assert (answer.status_code, answer.json()) == (
        202,
        {"items": [{"account_id": "acme", "message_id": asked["message_id"]}], "next": None},
    )
    assert records(kafka, "sends.requested") == [(asked["message_id"], asked)]


async def test_the_actor_is_a_header_of_the_record(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    await post(client, a_send(content={"text": "Hello"}))
    assert [headers for *_, headers in kafka.sent] == [{"actor": b"booking"}] * 2


async def test_a_list_is_taken_in_its_order(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    asked = [a_send(message_id=a_message_id(number=n)) for n in range(MAX_SENDS)]
    answer = await post(client, asked)
    assert (answer.status_code, ids(answer)) == (202, [send["message_id"] for send in asked])
    assert [record for _, record in records(kafka, "sends.requested")] == asked


async def test_contents_are_written_to_their_own_topic(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    asked = a_send(content={"html": "<p>Ünïcode</p>", "text": None})
    assert (await post(client, asked)).status_code == 202
    message_id = asked["message_id"]
    content = {"account_id": "acme", "message_id": message_id, "html": "<p>Ünïcode</p>"}
    assert records(kafka, "sends.content") == [(message_id, content)]
    assert "content" not in records(kafka, "sends.requested")[0][1]


@pytest.mark.parametrize("content", [None, {}, {"html": None}, {"html": "", "text": ""}])
async def test_no_content_is_no_record(client: httpx.AsyncClient, kafka: FakeKafka, content: object) -> None:
    assert (await post(client, a_send(content=content))).status_code == 202
    assert records(kafka, "sends.content") == []


async def test_an_id_in_capitals_is_lowered(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    message_id = a_message_id()
    assert ids(await post(client, a_send(message_id=message_id.upper(), content={"text": "x"}))) == [message_id]
    assert {key for _, key, *_ in kafka.sent} == {message_id.encode()}
    assert records(kafka, "sends.requested")[0][1]["message_id"] == message_id


@pytest.mark.parametrize(
    ("said", "field", "meant"),
    [
        pytest.param({"priority": "high"}, "priority", "there are", id="one that nothing is like"),
        pytest.param({"subjcet": "Tomorrow"}, "subjcet", "`subject`", id="misspelt"),
        pytest.param({"sender": "us@acme.example"}, "sender", "there are", id="as we call it inside"),
        pytest.param({"priority": None}, "priority", "there are", id="null"),
        pytest.param(
            {"template": {"id": "t", "name": "n", "kind": "marketing", "unsubscribe_groop": "1"}},
            "template.unsubscribe_groop",
            "`unsubscribe_group`",
            id="in the template",
        ),
        pytest.param({"recipient": {"kind": "client", "id": "c", "nam": "A"}}, "recipient.nam", "`name`", id="nested"),
        pytest.param({"content": {"text": "x", "htlm": "<p>"}}, "content.htlm", "`html`", id="in the content"),
    ],
)
async def test_an_unknown_field_is_named_with_the_one_that_may_be_meant(
    client: httpx.AsyncClient, kafka: FakeKafka, said: dict[str, Any], field: str, meant: str
) -> None:
    answer = await post(client, a_send(**said))
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], meant in error["problem"]) == (422, field, True)
    assert kafka.sent == []


async def test_metadata_may_have_any_names(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    metadata = {"priority": "high", "to": "x\r\n", "": "", "ü": "1"}
    assert (await post(client, a_send(metadata=metadata))).status_code == 202
    assert records(kafka, "sends.requested")[0][1]["metadata"] == metadata


@pytest.mark.parametrize("missing", [..., None], ids=["left out", "null"])
async def test_the_time_and_the_account_follow_where_they_are_not_given(
    client: httpx.AsyncClient, kafka: FakeKafka, missing: object
) -> None:
    answer = await post(client, a_send(requested_at=missing, account_id=missing))
    assert answer.json()["items"] == [{"account_id": "acme", "message_id": a_message_id()}]
    [(_, written)] = records(kafka, "sends.requested")
    assert (written["account_id"], written["requested_at"]) == ("acme", rfc3339(NOW_US))


async def test_a_repeat_is_the_same_record(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    for _ in range(2):
        await post(client, [a_send(message_id=..., requested_at=...), a_send()], Idempotency_Key=KEY)
    first, second = kafka.sent[:2], kafka.sent[2:]
    assert first == second


async def test_an_id_is_derived_from_the_key_its_account_and_the_index_in_the_list(kafka: FakeKafka) -> None:
    bare = a_send(message_id=..., account_id=...)
    other = uuid7(NOW_US - DAY_US, b"another key")
    async with a_caller(kafka) as client, a_caller(kafka, a_token("globex")) as others:
        made = ids(await post(client, [bare, bare], Idempotency_Key=KEY))
        assert ids(await post(client, bare, Idempotency_Key=f'"{KEY.upper()}"')) == made[:1]
        more = ids(await post(others, bare, Idempotency_Key=KEY)) + ids(await post(client, bare, Idempotency_Key=other))
    assert len({*made, *more}) == 4
    assert {sent_at_us(message_id) for message_id in made} == {NOW_US - DAY_US}
    assert all(message_id_or_blank(message_id) for message_id in made)


async def test_without_a_key_each_is_a_new_message(client: httpx.AsyncClient) -> None:
    bare = a_send(message_id=...)
    made = ids(await post(client, [bare, bare])) + ids(await post(client, bare))
    assert len({message_id_or_blank(message_id) for message_id in made} - {""}) == 3


@pytest.mark.parametrize(
    ("key", "said", "field"),
    [
        pytest.param(a_message_id(days_ago=31), {}, "Idempotency-Key", id="a UUID 7 that is too old"),
        pytest.param("", {}, "Idempotency-Key", id="blank"),
        pytest.param('""', {}, "Idempotency-Key", id="blank in quotes"),
        pytest.param("x" * 256, {}, "Idempotency-Key", id="256 characters"),
        pytest.param("order-17", {"requested_at": ...}, "requested_at", id="a text without a time"),
        pytest.param("order-17", {"requested_at": "today"}, "requested_at", id="a text, and no time"),
        pytest.param("order-17", {"requested_at": 17}, "requested_at", id="a text, and a number"),
        pytest.param("order-17", {"requested_at": "2026-01-02T03:04:05Z"}, "requested_at", id="a time that is too old"),
        pytest.param(str(UUID(int=4, version=4)), {"requested_at": ...}, "requested_at", id="a UUID of version 4"),
    ],
)
async def test_a_key_that_gives_no_id_is_refused_with_the_reason(
    client: httpx.AsyncClient, kafka: FakeKafka, key: str, said: dict[str, Any], field: str
) -> None:
    answer = await post(client, a_send(message_id=..., **said), Idempotency_Key=key)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])
    assert kafka.sent == []


@pytest.mark.parametrize("key", ["order-17", str(UUID(int=4, version=4)), "x" * 255, '"order 17"', "ordér"])
async def test_a_key_of_any_text_makes_an_id_of_the_time_of_its_request(
    client: httpx.AsyncClient, kafka: FakeKafka, key: str
) -> None:
    asked = [
        a_send(message_id=..., to=to, requested_at=rfc3339(NOW_US - 7000)) for to in ("a@b.example", "b@b.example")
    ]
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    first, again = [await client.post("/v1/sends", json=asked, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (202, again.json())
    assert len(set(ids(first))) == 2
    assert {sent_at_us(known) for known in ids(first)} == {NOW_US - 7000}
    assert kafka.sent[:2] == kafka.sent[2:]


@pytest.mark.parametrize("key", ["order-17", KEY])
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"to": "bob@example.com"}, id="another To"),
        pytest.param({"content": {"text": "Bye"}}, id="another content"),
        pytest.param({"requested_at": rfc3339(NOW_US - 1000)}, id="another time"),
    ],
)
async def test_a_key_with_another_body_is_a_conflict(
    client: httpx.AsyncClient, kafka: FakeKafka, key: str, other: dict[str, Any]
) -> None:
    at = {"message_id": ..., "requested_at": rfc3339(NOW_US - DAY_US // 2)}
    asked = a_send(**at, content={"text": "Hello"})
    assert (await post(client, asked, Idempotency_Key=key)).status_code == 202
    kafka.outputs.clear()
    answer = await post(client, [asked | other], Idempotency_Key=key)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["index"], kafka.sent) == (409, "Idempotency-Key", 0, [])
    assert (await post(client, asked, Idempotency_Key=key)).status_code == 202
    assert (await post(client, asked | other, Idempotency_Key=f"{key[:-1]}0")).status_code == 202


async def test_a_key_is_its_account_s_own(kafka: FakeKafka) -> None:
    async with a_caller(kafka, a_token("*")) as client:
        for account in ("acme", "globex"):
            answer = await post(client, a_send(message_id=..., account_id=account, to=account), Idempotency_Key="1")
            assert answer.status_code == 202


@pytest.mark.parametrize("other", [{}, {"to": "bob@example.com"}, {"account_id": "globex"}])
async def test_one_id_twice_in_a_list_is_refused(kafka: FakeKafka, other: dict[str, Any]) -> None:
    asked = a_send(message_id=a_message_id(number=11))
    async with a_caller(kafka, a_token("*")) as client:
        answer = await post(client, [a_send(), asked, asked | other | {"message_id": asked["message_id"].upper()}])
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["index"], error["field"]) == (422, 2, "message_id")
    assert ("index 1" in error["problem"], kafka.sent) == (True, [])


async def test_an_id_that_the_key_of_its_list_makes_is_refused_too(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    [made] = ids(await post(client, a_send(message_id=...), Idempotency_Key=KEY))
    kafka.outputs.clear()
    answer = await post(client, [a_send(message_id=...), a_send(message_id=made)], Idempotency_Key=KEY)
    assert (answer.status_code, answer.json()["errors"][0]["index"], kafka.sent) == (422, 1, [])


async def test_an_unused_key_is_not_validated(client: httpx.AsyncClient) -> None:
    assert (await post(client, a_send(), Idempotency_Key="order-17")).status_code == 202


BAD = [
    pytest.param({"message_id": "0199d29b"}, "message_id", id="no UUID"),
    pytest.param({"message_id": a_message_id().replace("-", "")}, "message_id", id="not the canonical form"),
    pytest.param({"message_id": "9b2b1a64-6a3e-4a3e-8a2e-0d7d3c1f5a11"}, "message_id", id="version 4"),
    pytest.param({"message_id": 17}, "message_id", id="a number for an id"),
    pytest.param({"message_id": uuid7(1_577_836_799_999_000, b"x" * 10)}, "message_id", id="before 2020"),
    pytest.param({"message_id": "ffffffff-ffff-7000-8000-000000000000"}, "message_id", id="the year 10889"),
    pytest.param({"message_id": a_message_id(days_ago=-1.5)}, "message_id", id="more than a day ahead"),
    pytest.param({"message_id": a_message_id(days_ago=30.01)}, "message_id", id="older than decisions are kept"),
    pytest.param({"account_id": "a b"}, "account_id", id="no account id"),
    pytest.param({"account_id": "*"}, "account_id", id="all accounts are none"),
    pytest.param({"account_id": True}, "account_id", id="a truth value for an account"),
    pytest.param({"requested_at": rfc3339(NOW_US - DAY_US * 2)}, "requested_at", id="asked for two days before its id"),
    pytest.param({"channel": "fax"}, "channel", id="unknown channel"),
    pytest.param({"channel": ...}, "channel", id="no channel"),
    pytest.param({"to": ""}, "to", id="empty To"),
    pytest.param({"to": " \t"}, "to", id="blank To"),
    pytest.param({"to": ["ann@example.com"]}, "to", id="a list for a To"),
    pytest.param({"to": "x" * MAX_REQUEST_BYTES}, "to", id="a To without end"),
    pytest.param({"template": {"id": "t", "name": "n"}}, "template.kind", id="no kind of template"),
    pytest.param({"template": {"id": "t", "name": "n", "kind": "spam"}}, "template.kind", id="unknown kind"),
    pytest.param({"template": "t1"}, "template", id="a text for a template"),
    pytest.param({"recipient": {"kind": "friend", "id": "1"}}, "recipient.kind", id="unknown recipient"),
    pytest.param({"requested_at": "yesterday"}, "requested_at", id="no time"),
    pytest.param({"requested_at": "2026-01-02T03:04:05"}, "requested_at", id="a time without zone"),
    pytest.param({"requested_at": rfc3339(NOW_US + DAY_US * 2)}, "requested_at", id="asked for in two days"),
    pytest.param({"metadata": {"a": 1}}, "metadata.a", id="metadata that is no text"),
    pytest.param({"to": "x" * 309 + "@example.com"}, "to", id="a To of 321 characters"),
    pytest.param({"to": "a\u0301" * 160 + "b"}, "to", id="a To of combining marks"),
    pytest.param({"to": "ann@example.com\r\nBcc: bob@example.com"}, "to", id="a To that breaks the line"),
    pytest.param({"to": "ann@example.com\n"}, "to", id="a line end behind a To"),
    pytest.param({"to": "ann\0@example.com"}, "to", id="NUL in a To"),
    pytest.param({"from": "us@example.com\rBcc: bob@example.com"}, "from", id="a sender that breaks the line"),
    pytest.param({"subject": "Hello\nBcc: bob@example.com"}, "subject", id="a subject that breaks the line"),
    pytest.param({"subject": "\0"}, "subject", id="NUL in a subject"),
    pytest.param({"cc": ["ann@example.com", "x" * 321]}, "cc.1", id="a CC of 321 characters"),
    pytest.param({"cc": ["ann@example.com", "b\rob@example.com"]}, "cc.1", id="a CC that breaks the line"),
    pytest.param({"cc": ["ann@example.com", 0]}, "cc.1", id="a number for a CC"),
    pytest.param({"cc": ["ann@example.com"] * 51}, "cc", id="51 CCs"),
    pytest.param({"metadata": {"a": "x" * MAX_REQUEST_BYTES}}, "metadata", id="metadata without end"),
    pytest.param({"metadata": json.loads("[" * 500 + "]" * 500)}, "metadata", id="metadata without end of depth"),
    pytest.param({"cc": "desk@example.com"}, "cc", id="a text for CCs"),
    pytest.param({"from": 1}, "from", id="a number for a sender"),
    pytest.param({"subject": "x" * 2_000_000}, "subject", id="2 MB of subject"),
    pytest.param({"content": "Hello"}, "content", id="a text for contents"),
    pytest.param({"content": {"html": 1}}, "content.html", id="a number for HTML"),
]


@pytest.mark.parametrize(("said", "field"), BAD)
async def test_a_bad_field_is_named_and_nothing_is_written(kafka: FakeKafka, said: dict[str, Any], field: str) -> None:
    async with a_caller(kafka, a_token("*")) as client:
        answer = await post(client, a_send(**said))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    [error] = answer.json()["errors"]
    assert (error["field"], error["index"], bool(error["problem"])) == (field, 0, True)
    assert f"`{field}`" in answer.json()["detail"]
    assert kafka.sent == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"to=ann%40example.com", id="a form"),
        pytest.param(b'{"to": NaN}', id="NaN"),
        pytest.param(b'{"to": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"to": "\\ud83d"}', id="half an emoji"),
        pytest.param(b"[" * 100_000, id="depths"),
    ],
)
async def test_a_body_that_is_not_json_is_400(client: httpx.AsyncClient, kafka: FakeKafka, body: bytes) -> None:
    answer = await client.post("/v1/sends", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert ("JSON" in answer.json()["detail"], kafka.sent) == (True, [])


@pytest.mark.parametrize("body", [b"[]", b"[" + b"{}," * MAX_SENDS + b"{}]"], ids=["no request", "more than 1,000"])
async def test_a_list_has_1_to_1_000_requests(client: httpx.AsyncClient, kafka: FakeKafka, body: bytes) -> None:
    answer = await client.post("/v1/sends", content=body)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, ["body"])
    assert kafka.sent == []


@pytest.mark.parametrize("body", [None, 17, "ann@example.com", [[]]])
async def test_a_body_that_is_not_an_object_is_not_a_request(client: httpx.AsyncClient, body: object) -> None:
    answer = await client.post("/v1/sends", content=orjson.dumps(body))
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        [{"index": 0, "field": "", "problem": "must be an object"}],
    )


async def test_all_or_none_are_accepted_and_every_invalid_one_is_named(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    asked = [a_send(), a_send(to=" ", channel="fax"), a_send(), 17, a_send(message_id="x")]
    answer = await post(client, asked)
    assert answer.status_code == 422
    named = {(error["index"], error["field"]) for error in answer.json()["errors"]}
    assert named == {(1, "to"), (1, "channel"), (3, ""), (4, "message_id")}
    assert kafka.sent == []


async def test_an_invalid_value_is_never_shown(client: httpx.AsyncClient) -> None:
    answer = await post(client, a_send(to=["secret@example.com"], message_id="secret", template="secret"))
    assert (answer.status_code, "secret" in answer.text) == (422, False)


async def test_a_token_of_several_accounts_must_name_one(kafka: FakeKafka) -> None:
    for accounts in (("acme", "globex"), ("*",)):
        async with a_caller(kafka, a_token(*accounts)) as client:
            answer = await post(client, a_send(account_id=...))
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "account_id")
            assert (await post(client, a_send())).status_code == 202


@pytest.mark.parametrize("wrap", [lambda send: send, lambda send: [a_send(), send, a_send(to="")]], ids=["one", "list"])
async def test_another_account_answers_as_one_that_does_not_exist(
    client: httpx.AsyncClient, kafka: FakeKafka, wrap: Any
) -> None:
    there, nowhere = [await post(client, wrap(a_send(account_id=name))) for name in ("globex", "nobody")]
    assert there.status_code == nowhere.status_code == 404
    assert (without_request_id(there), kafka.sent) == (without_request_id(nowhere), [])


@pytest.mark.parametrize("account", [4711, 4711.0])
async def test_an_account_given_as_a_number_is_treated_as_text(kafka: FakeKafka, account: float) -> None:
    for accounts, status in (("acme",), 404), (("4711",), 202):
        async with a_caller(kafka, a_token(*accounts)) as client:
            assert (await post(client, a_send(account_id=account))).status_code == status
    assert [request["account_id"] for _, request in records(kafka, "sends.requested")] == ["4711"]


HOSTILE = [
    pytest.param({"cc": [0] * 60_000}, id="numbers for CCs"),
    pytest.param({"cc": ["x" * 321] * 700}, id="long CCs"),
    pytest.param({"cc": ["\0" * 300] * 700}, id="CCs of what JSON escapes"),
    pytest.param({"metadata": {"\1" * 30 + str(n): 0 for n in range(1000)}}, id="metadata that is no text"),
    pytest.param({"x" * 1000 + str(n): 0 for n in range(200)}, id="unknown fields"),
    pytest.param({"\1" * 1000 + str(n): 0 for n in range(30)}, id="unknown fields of what JSON escapes"),
    pytest.param({"content": {f"{n}": 0 for n in range(10_000)}}, id="unknown parts of a content"),
    pytest.param({"template": {f"{n}": 0 for n in range(10_000)}}, id="unknown parts of a template"),
]


@pytest.mark.parametrize("many", [1, 10])
@pytest.mark.parametrize("said", HOSTILE)
async def test_an_answer_is_bounded_whatever_is_wrong(
    client: httpx.AsyncClient, kafka: FakeKafka, said: dict[str, Any], many: int
) -> None:
    answer = await post(client, [a_send(**said) for _ in range(many)])
    assert (answer.status_code, len(answer.json()["errors"]) <= MAX_FAULTS) == (422, True)
    assert len(answer.content) <= MAX_ANSWER_BYTES
    assert kafka.sent == []


async def test_the_first_hundred_bad_elements_are_named(client: httpx.AsyncClient) -> None:
    answer = await post(client, [a_send(message_id=a_message_id(number=n), to="") for n in range(MAX_SENDS)])
    assert [error["index"] for error in answer.json()["errors"]] == [*range(100)]
    assert len(answer.json()["detail"]) < 1000


async def test_contents_of_1_mib_are_accepted_and_not_a_byte_more(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    half = "é" * (MAX_CONTENT_BYTES // 4)
    assert (await post(client, a_send(content={"html": half, "text": half}))).status_code == 202
    kafka.outputs.clear()
    answer = await post(client, [a_send(), a_send(content={"html": half, "text": f"{half}x"})])
    assert (answer.status_code, answer.json()["errors"][0]["index"]) == (413, 1)
    assert kafka.sent == []


async def test_a_body_of_more_than_16_mib_is_too_large(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * (1 << 20)

    assert (await client.post("/v1/sends", content=endless())).status_code == 413
    assert (await client.post("/v1/sends", content=b" " * (MAX_BODY_BYTES + 1))).status_code == 413
    assert (await client.post("/v1/sends", content=orjson.dumps(a_send()).ljust(MAX_BODY_BYTES))).status_code == 202


async def test_without_acknowledgement_the_ids_are_named_to_repeat_with(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    kafka.fails = True
    answer = await post(client, [a_send(message_id=..., requested_at=...), a_send()])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    [made, given] = answer.json()["items"]
    assert message_id_or_blank(made["message_id"])
    assert given == {"account_id": "acme", "message_id": a_message_id()}
    assert await metric(client, "sendledger_errors") == {"kafka": 1}


async def test_an_accepted_request_is_accepted_by_the_worker(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    at = rfc3339(NOW_US)[:17].replace("T", " ") + "60.1234567+05:30"
    asked = a_send(to="Ünïcode 👩🏽", subject="\t\u2028", requested_at=at)
    assert (await post(client, asked)).status_code == 202
    [(_, _, value, _)] = kafka.sent
    decode_request(value, a_source_position(received_us=NOW_US), decision_days=30)


@pytest.mark.parametrize("query", ["wait=perhaps", "wiat=1", "wait=1&account=acme"])
async def test_an_invalid_parameter_is_refused(client: httpx.AsyncClient, kafka: FakeKafka, query: str) -> None:
    answer = await client.post(f"/v1/sends?{query}", json=a_send())
    assert (answer.status_code, kafka.sent) == (400, [])


async def test_where_the_topic_refuses_a_record_the_ids_are_named_to_repeat_with(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    kafka.full_topics = {"sends.requested"}
    answer = await post(client, [a_send(message_id=..., content={"text": "x"}), a_send()])
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert answer.json()["detail"].startswith("Stored in part")
    [made, given] = answer.json()["items"]
    assert made["message_id"].encode() == kafka.sent[0][1]
    assert given == {"account_id": "acme", "message_id": a_message_id()}


async def test_a_key_that_is_given_twice_is_refused(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    answer = await client.post(
        "/v1/sends", json=a_send(message_id=...), headers=[("Idempotency-Key", "a"), ("idempotency-key", "b")]
    )
    assert (answer.status_code, answer.json()["code"], kafka.sent) == (400, "repeated-parameter", [])
