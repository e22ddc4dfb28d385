"""*What the provider sent*, in the console: who is led to it, and that hostile bytes stay text."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import httpx
import orjson
import pytest

from processors.engine import Record
from projections.store import Store
from tests.console.building import HOSTILE, a_client, a_token
from tests.gateway.tenants import ACME, a_webhook, event_id, fill, markers
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

PATH = f"/logs/{ACME.email_id}/events/{event_id(ACME)}"
TURNED = "\u202egnp.exe"
"""A text that a browser shows from right to left."""


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as made:
        fill(made)
        yield made


async def read_hostile(*_: object) -> Record | None:
    """The post, with one more field in each element."""
    post = a_webhook()
    value = orjson.dumps([element | {"note": HOSTILE + TURNED} for element in orjson.loads(post.value or b"")])
    return replace(post, value=value, headers=[*post.headers, ("signature", HOSTILE.encode())])


async def read_nothing(*_: object) -> Record | None:
    return None


async def get(store: Store, path: str, *accounts: str, role: str = "operator", gone: bool = False) -> httpx.Response:
    read_one = read_nothing if gone else read_hostile
    async with a_client(store, a_token(*accounts, role=role), read_one=read_one) as client:
        return await client.get(path)


async def test_the_message_leads_operators_to_what_the_provider_sent(store: Store) -> None:
    page = await get(store, f"/logs/{ACME.email_id}", "acme")
    links = re.findall(r'href="([^"]*)">What the provider sent', page.text)
    assert PATH in links
    assert len(links) == 8  # one for each event of the provider, none for the request, decision and dispatch
    assert (await get(store, links[0], "acme")).status_code == 200


@pytest.mark.parametrize("role", ["viewer", "support"])
async def test_others_are_not_led_there_and_may_not_go(store: Store, role: str) -> None:
    page = await get(store, f"/logs/{ACME.email_id}", "acme", role=role)
    assert "What the provider sent" not in page.text
    assert (await get(store, PATH, "acme", role=role)).status_code == 403


async def test_hostile_bytes_stay_text(store: Store) -> None:
    answer = await get(store, PATH, "acme")
    assert answer.status_code == 200
    assert "<script>document" not in answer.text
    assert "<img" not in answer.text
    assert "\u202e" not in answer.text
    assert orjson.dumps(HOSTILE).decode()[1:-1] in unescape(answer.text)


async def test_it_says_what_the_signature_is_worth(store: Store) -> None:
    assert "No key in force verifies the signature" in (await get(store, PATH, "acme")).text


async def test_only_staff_of_all_accounts_see_the_whole_post(store: Store) -> None:
    own, all_of_it = await get(store, PATH, "acme"), await get(store, f"{PATH}?account=acme", "*")
    assert [marker for marker in markers() if marker in own.text] == []
    assert "The whole post" not in own.text
    assert "The whole post" in all_of_it.text
    assert "scorpio" in all_of_it.text


async def test_a_record_that_is_gone_says_so(store: Store) -> None:
    answer = await get(store, PATH, "acme", gone=True)
    assert answer.status_code == 410
    assert "Kafka no longer has what was sent" in answer.text
