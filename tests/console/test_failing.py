"""The console in a real Chromium while something fails: the gateway restarts, ClickHouse is away or slow."""

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route, expect

from projections.store import Store, generations
from schemas.errors import StoreError
from tests.console.building import Sent, fill, log_of
from tests.console.serving import ConsolePage, a_server
from tests.stores import fresh_store

pytestmark = [pytest.mark.clickhouse, pytest.mark.browser]


class FaultyStore(Store):
    """A store that can be away, or hang."""

    def __init__(self, real: Store, url: str) -> None:
        super().__init__(url, database=real.database, generation=generations.FIRST)
        self.is_away = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def _result(self, sql: str, parameters: Mapping[str, object] | None) -> Any:
        self.goes_on.wait(60)
        if self.is_away:
            raise StoreError("ClickHouse does not answer", "127.0.0.1:1", "Start it")
        return super()._result(sql, parameters)


@pytest.fixture(scope="module")
def filled(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, log_of("acme"))
        yield store


@pytest.fixture
def store(filled: Store, clickhouse_url: str) -> Iterator[FaultyStore]:
    store = FaultyStore(filled, clickhouse_url)
    yield store
    store.goes_on.set()


@pytest.fixture
def console(chromium: Browser, store: FaultyStore) -> Iterator[ConsolePage]:
    with a_server(store, request_seconds=1) as base:
        console = ConsolePage(chromium, base)
        yield console
        console.assert_clean()
        console.close()
        store.goes_on.set()


def test_rows_stay_while_clickhouse_is_away(console: ConsolePage, store: FaultyStore) -> None:
    page = console.go("/logs")
    expect(page.locator("figure.chart figcaption b")).to_be_visible()
    store.is_away = True
    page.get_by_role("link", name=re.compile(r"^Bounced \d")).click()
    expect(page.get_by_role("heading", name="ClickHouse does not answer")).to_be_visible()
    expect(page.locator("table.log tbody tr")).to_have_count(17)
    expect(page.locator("#trouble code")).to_have_text(re.compile("^[0-9a-f-]{36}$"))
    store.is_away = False
    page.locator("#trouble").get_by_role("link", name="Try again").click()
    page.wait_for_url("**/logs?status=Bounced")
    expect(page.locator("table.log tbody tr")).to_have_count(3)


def test_the_page_says_since_when_the_log_can_not_be_reached_and_goes_on(
    console: ConsolePage, store: FaultyStore, filled: Store
) -> None:
    page = console.go("/logs?status=Pending")
    store.is_away = True
    expect(page.get_by_role("button", name=re.compile("Can't reach the log since"))).to_be_visible()
    expect(page.locator("table.log tbody tr")).to_have_count(1)
    fill(filled, [Sent(0.2, "later@acme.example", "Sent meanwhile")])
    store.is_away = False
    expect(page.get_by_role("button", name="Live")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="1 new, show")).to_be_visible()


def test_a_slow_clickhouse_ends_in_an_error_and_not_in_an_endless_wait(
    console: ConsolePage, store: FaultyStore
) -> None:
    page = console.go("/logs")
    store.goes_on.clear()
    page.get_by_role("link", name="Not delivered").click()
    expect(page.locator("#trouble")).to_contain_text("did not answer in time")
    expect(page.locator("table.log tbody tr").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("ClickHouse does not answer")
    store.goes_on.set()
    page.get_by_role("link", name="Try again").click()
    expect(page.locator("table.log tbody tr").first).to_be_visible()


def test_slow_counts_do_not_delay_the_rows(console: ConsolePage) -> None:
    held: list[Route] = []
    console.page.route("**/logs/counts*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks it
    page = console.go("/logs?status=Bounced")
    expect(page.locator("table.log tbody tr")).to_have_count(3)
    expect(page.locator("figure.waiting")).to_contain_text("Counting…")
    [counts] = held
    counts.continue_()
    expect(page.locator("figure.chart figcaption b")).to_have_text("3")


def test_the_page_survives_a_restart_of_the_gateway(chromium: Browser, filled: Store, clickhouse_url: str) -> None:
    with a_server(FaultyStore(filled, clickhouse_url)) as base:
        console = ConsolePage(chromium, base)
        page = console.go("/logs?status=Bounced")
        expect(page.locator("figure.chart figcaption b")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Can't reach the log since"))).to_be_visible()
    page.get_by_role("link", name="Clear all").click()
    expect(page.locator("#trouble")).to_contain_text("The log can't be reached")
    expect(page.locator("table.log tbody tr")).to_have_count(3)
    with a_server(FaultyStore(filled, clickhouse_url), at_port=urlsplit(base).port or 0):
        expect(page.get_by_role("button", name="Live")).to_be_visible(timeout=60_000)
        page.get_by_role("link", name="Clear all").click()
        page.wait_for_url("**/logs")
        console.assert_clean()
        console.close()


def test_health_reads_itself_again_and_says_when_it_can_not(console: ConsolePage) -> None:
    page = console.go("/health")
    expect(page.get_by_role("heading", name="Kafka and ClickHouse answer")).to_be_visible()
    page.evaluate("document.querySelector('.banner').dataset.old = 'yes'")
    expect(page.locator(".banner:not([data-old])")).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator("#trouble")).to_contain_text("The gateway can't be reached. This page may be out of date.")
    expect(page.get_by_role("heading", name="Kafka and ClickHouse answer")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("#trouble")).to_be_hidden(timeout=60_000)
