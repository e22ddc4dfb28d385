"""The page Weather: what an operator sees, what hostile names do, and in a real Chromium."""

import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from projections.store import Store
from tests.console.building import HOSTILE, a_client, a_token
from tests.console.serving import ConsolePage, a_server
from tests.stores import fresh_store
from tests.weather.building import write_delivered_silence, write_traffic

OPERATOR = a_token("*", role="operator")


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        now_us = time.time_ns() // 1000
        write_delivered_silence(store, now_us)
        write_traffic(store, now_us, HOSTILE, HOSTILE, each_minute=1, first_offset=10_000_000)
        yield store


async def page_of(token: str, store: Store | None = None, path: str = "/weather", **headers: Any) -> tuple[int, str]:
    async with a_client(store, token) as client:
        answer = await client.get(path, headers=headers)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    "token", [a_token("acme", role="operator"), a_token("*", role="support"), a_token("*", role="viewer")]
)
async def test_it_is_for_operators_of_all_accounts(token: str) -> None:
    assert (await page_of(token))[0] == 403
    assert 'href="/weather"' not in (await page_of(token, path="/health?account=*"))[1]


async def test_health_leads_to_it() -> None:
    assert 'href="/weather"' in (await page_of(OPERATOR, path="/health?account=*"))[1]


async def test_without_clickhouse_the_page_says_so() -> None:
    status, text = await page_of(OPERATOR)
    assert (status, "ClickHouse" in text) == (503, True)


@pytest.mark.clickhouse
async def test_it_says_who_is_silent_and_what_to_do(store: Store) -> None:
    status, text = await page_of(OPERATOR, store)
    assert (status, "Something does not arrive" in text) == (200, True)
    assert re.search(r"No delivered from sendgrid for \d+ min, and \d+ events were expected", text)
    assert (
        "It is unclear on whose side: no fault on our side was found so far, but these could not be read: webhooks that"
        " the ledger has not read, dead letters" in unescape(text)
    )
    assert "Find out what could not be read" in text
    assert '<td data-label="Copies per event" class="n">1.00' in text
    assert "dispatched" not in text


@pytest.mark.clickhouse
async def test_texts_from_outside_are_escaped(store: Store) -> None:
    _, text = await page_of(OPERATOR, store)
    assert HOSTILE not in text
    assert (
        text.count(HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")) == 2
    )


@pytest.mark.clickhouse
async def test_the_part_that_is_read_again_has_no_frame(store: Store) -> None:
    _, part = await page_of(OPERATOR, store, **{"x-partial": "1"})
    assert part.lstrip().startswith('<section class="banner bad"')
    assert "<nav" not in part


@pytest.mark.clickhouse
async def test_minutes_that_can_not_be_are_refused(store: Store) -> None:
    assert (await page_of(OPERATOR, store, "/weather?minutes=0"))[0] == 400


@pytest.mark.clickhouse
@pytest.mark.browser
def test_in_a_browser_the_minutes_are_chosen(chromium: Browser, store: Store) -> None:
    with a_server(store) as base:
        console = ConsolePage(chromium, base, role="operator", accounts=["*"])
        page = console.go("/health?account=*")
        page.get_by_role("link", name="Provider weather").click()
        page.wait_for_url("**/weather")
        expect(page.get_by_role("heading", name="Something does not arrive")).to_be_visible()
        row = page.locator("table.list").first.locator("tbody tr").filter(has_text="twilio")
        expect(row.locator("td[data-label=Received]")).to_contain_text("150 (150)")
        page.get_by_label("Time").select_option("60")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**/weather?minutes=60")
        expect(row.locator("td[data-label=Received]")).to_contain_text("600 (600)")
        assert page.title() == "Provider weather · sendledger"
        console.assert_clean()
        console.close()
