"""`GET /v1/messages/{email_id}/events/{event_id}/raw`: what a provider sent, who sees it, and its signature."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from processors.engine import Record
from projections.messages import queries
from projections.store import Store
from schemas.errors import BrokerError
from simulator.signing import sign_sendgrid
from tests.building import FakeRecord
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token, without_request_id
from tests.gateway.tenants import ACME, GLOBEX, UNKNOWN, Tenant, a_webhook, event_id, fill, markers
from tests.gateway.test_webhooks import PRIVATE
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse


def signed() -> FakeRecord:
    """The post of both accounts, signed with the second of the keys in force."""
    post = a_webhook()
    signature = sign_sendgrid(PRIVATE, "1600112502", post.value or b"")
    secret = ("authorization", b"Basic c2VjcmV0")
    return replace(
        post, headers=[*post.headers, secret, ("signature", signature.encode()), ("signed_at", b"1600112502")]
    )


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as made:
        fill(made)
        yield made


def path_of(message: Tenant, event: str) -> str:
    return f"/v1/messages/{message.email_id}/events/{event}/raw"


async def get(
    store: Store, record: Record | None, *accounts: str, path: str = "", role: str = "operator"
) -> httpx.Response:
    async def read_one(*_: object) -> Record | None:
        return record

    async with a_caller(FakeKafka(), a_token(*(accounts or "*"), role=role), store, read_one) as client:
        return await client.get(path or path_of(ACME, event_id(ACME)))


async def test_staff_of_all_accounts_get_the_whole_post_and_the_key_that_verifies_it(store: Store) -> None:
    post = signed()
    answer = (await get(store, post)).json()
    body = (post.value or b"").decode()
    assert (answer["signature"]["result"], answer["signature"]["key"]) == ("valid", 2)
    assert answer["signature"]["setting"] == "SENDLEDGER_SENDGRID_PUBLIC_KEYS"
    assert answer["body"] == {"encoding": "utf-8", "size_bytes": len(body), "text": body}
    assert answer["element"]["text"] in body
    assert answer["headers"]["request_url"] == "https://hooks.example.com/webhooks/sendgrid"
    assert "authorization" not in answer["headers"]


async def test_others_get_their_own_element_of_the_same_post(store: Store) -> None:
    answer = await get(store, signed(), "acme")
    found = answer.json()
    assert (found["body"], found["signature"]["result"]) == (None, "valid")
    assert ACME.address in found["element"]["text"]
    assert [marker for marker in markers() if marker in answer.text] == []


async def test_bytes_that_were_changed_are_shown_and_not_verified(store: Store) -> None:
    post = signed()
    answer = await get(store, replace(post, value=(post.value or b"") + b" "))
    assert answer.json()["signature"]["result"] == "no_key_matches"


async def test_a_record_that_kafka_deleted_is_gone(store: Store) -> None:
    answer = await get(store, None)
    assert (answer.status_code, answer.json()["code"]) == (410, "record-gone")


async def test_a_topic_that_was_created_anew_shows_no_other_event(store: Store) -> None:
    answer = await get(store, replace(signed(), value=b'[{"event":"open","email":"bob@scorpio.example"}]'), "acme")
    assert (answer.status_code, answer.json()["code"], "scorpio" in answer.text) == (410, "record-gone", False)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path_of(ACME, event_id(GLOBEX)), id="another message's event"),
        pytest.param(path_of(ACME, "0" * 32), id="nobody's event"),
        pytest.param(path_of(ACME, "17"), id="no event id"),
    ],
)
async def test_an_event_of_another_message_does_not_exist(store: Store, path: str) -> None:
    answer = await get(store, signed(), "acme", path=path)
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-event")
    assert answer.json()["detail"] == "The message has no event with this id"


async def test_another_accounts_message_is_answered_like_one_that_does_not_exist(store: Store) -> None:
    theirs = await get(store, signed(), "acme", path=path_of(GLOBEX, event_id(GLOBEX)))
    nobodys = await get(store, signed(), "acme", path=path_of(UNKNOWN, event_id(GLOBEX)))
    found, expected = ({**without_request_id(one), "instance": ""} for one in (theirs, nobodys))
    assert (theirs.status_code, found) == (404, expected)


async def test_a_record_of_our_own_was_sent_by_no_provider(store: Store) -> None:
    query = queries.timeline("acme", ACME.email_id, limit=100)
    [decided] = [row for row in store.rows(query.sql, query.parameters) if row["type"] == "decided"]
    answer = await get(store, signed(), path=path_of(ACME, decided["event_id"]))
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-event")
    assert "no provider sent" in answer.json()["detail"].lower()


async def test_a_kafka_that_is_away_is_503(store: Store) -> None:
    async def away(*_: object) -> Record | None:
        raise BrokerError("Kafka is away", "broker:9092", "start it")

    async with a_caller(FakeKafka(), a_token("*", role="operator"), store, away) as client:
        answer = await client.get(path_of(ACME, event_id(ACME)))
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka-away")
    assert "broker:9092" not in answer.text
