"""The preview of content: complete, sandboxed, and only for tokens that may read the message."""

import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from gateway.api.preview import page
from projections.messages.columns import contents_table, events_table, state_table
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import Content, Erasure
from schemas.decoding.times import DAY_US
from tests.building import a_request, a_source_position
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

NOW_US = time.time_ns() // 1000
HTML, TEXT, BARE, OLD, LATE, ERASED = (uuid7(NOW_US - days * DAY_US, uuid4().bytes) for days in (1, 2, 3, 31, 4, 5))
"""Messages with HTML, with text alone, without a content, with one that is older than it is kept, with one that is
told of, but not stored yet, and with one that was erased.
"""
SENT = "<p>Grüße</p><script>alert(1)</script><img src=https://example.com/pixel>"


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        for message_id, html, text in (
            (HTML, SENT, "Grüße"),
            (TEXT, "", "<b>1 < 2</b>\n"),
            (OLD, SENT, ""),
            (ERASED, SENT, ""),
        ):
            content = Content("acme", message_id, html, text, a_source_position(topic="sends.content"))
            store.insert("contents", contents_table([content]))
            store.insert("message_state", state_table(events_table([]), contents=[content]))
        source = a_source_position(topic="sends.erased")
        erasure = Erasure("acme", ERASED, "e1", NOW_US, "cli:ann", "request 4711", source)
        store.insert("contents", contents_table([], [erasure]))
        late = Content("acme", LATE, SENT, "", a_source_position(topic="sends.content"))
        store.insert("message_state", state_table(events_table([]), contents=[late]))
        request = a_request(account_id="acme", message_id=BARE)
        store.insert("message_state", state_table(events_table([]), requests=[request]))
        yield store


async def test_html_is_shown_as_it_was_sent_and_is_sandboxed(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/messages/{HTML}/preview")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.content == SENT.encode()
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"sandbox", "default-src 'none'", "base-uri 'none'", "form-action 'none'"} <= set(policy)
    assert not any("script" in part or "http" in part or "*" in part for part in policy)
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == (
        "nosniff",
        "private, no-store",
    )


@pytest.mark.parametrize("tag", ["<link rel=preconnect href=//x>", "<LINK/rel=dns-prefetch>", "<meta\nhttp-equiv=x>"])
def test_elements_that_reach_other_servers_past_the_policy_are_made_unknown(tag: str) -> None:
    assert page(f"<p>{tag}<linked></p>", "").body == f"<p><x-{tag[1:]}<linked></p>".encode()


async def test_text_is_shown_as_text(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/messages/{TEXT}/preview")
    assert answer.status_code == 200
    assert "&lt;b&gt;1 &lt; 2&lt;/b&gt;\n</pre>" in answer.text


@pytest.mark.parametrize(
    ("message_id", "status", "code"),
    [
        pytest.param(BARE, 404, "no-content", id="it never had one"),
        pytest.param(LATE, 404, "no-content", id="it is not stored yet"),
        pytest.param(ERASED, 410, "content-erased", id="it was erased"),
        pytest.param(OLD, 410, "content-expired", id="it has expired, though the table still has it"),
        pytest.param(uuid7(NOW_US, bytes(10)), 404, "no-such-message", id="no message"),
        pytest.param("17", 404, "no-such-message", id="no id"),
    ],
)
async def test_missing_content_is_404_or_410(
    client: httpx.AsyncClient, message_id: str, status: int, code: str
) -> None:
    answer = await client.get(f"/v1/messages/{message_id}/preview")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_content_of_another_account_is_answered_like_none(store: Store) -> None:
    async with a_caller(FakeKafka(), a_token("globex", role="viewer"), store) as other:
        answer = await other.get(f"/v1/messages/{HTML}/preview")
        absent = await other.get(f"/v1/messages/{uuid7(NOW_US, bytes(10))}/preview")
    assert answer.status_code == absent.status_code == 404
    assert answer.json()["detail"] == absent.json()["detail"]


async def test_an_item_links_to_what_can_be_shown(client: httpx.AsyncClient) -> None:
    items = (await client.get("/v1/messages")).json()["items"]
    links = {item["email_id"]: item["actions"]["preview"] for item in items}
    assert {message_id: link is not None for message_id, link in links.items()} == {
        HTML: True,
        TEXT: True,
        BARE: False,
        OLD: False,
        LATE: True,
        ERASED: True,
    }
    assert (await client.get(links[HTML])).content == SENT.encode()
