"""axe finds nothing on any page in any state: light, dark and on a phone, where nothing scrolls sideways either."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from application.checks.kafka import KafkaState
from application.dead_letters import MAX_LETTERS
from processors.dead_letters.browsing import Letter, LetterId, LetterSource, OpenLetters
from processors.kafka.cluster import Cluster
from processors.kafka.lag import Lag, PartitionLag
from projections.store import Store
from schemas.topics import GATE_INTERNAL, SENDS_DISPATCHED
from tests.console.building import BULK_ID, fill, fill_bulk_release, fill_suppressions, log_of
from tests.console.serving import ConsolePage, a_server
from tests.letters import FakeLetterTopics
from tests.stores import fresh_store

pytestmark = [pytest.mark.clickhouse, pytest.mark.browser]


@pytest.fixture(scope="module")
def base(clickhouse_url: str) -> Iterator[str]:
    with fresh_store(clickhouse_url) as store, pytest.MonkeyPatch.context() as patch:
        _fill(store)
        patch.setattr("application.checks.kafka.read_state", _kafka_behind)
        patch.setattr("gateway.console.installation.read_open_letters", _letters)
        letters = FakeLetterTopics().install(patch)
        for number in range(4 * MAX_LETTERS):  # each test redrives the most that one form does
            letters.park(b"\xff" * 300, topic="sends.requested" if number % 32 else "x" * 200, detail="x" * 300)
        with a_server(store) as base:
            yield base


async def _kafka_behind(*_: object) -> KafkaState:
    """Kafka without topics, and workers that are far behind."""
    topics = (SENDS_DISPATCHED.name, *(topic.name for topic in GATE_INTERNAL))
    lag = Lag(tuple(PartitionLag("ledger", topic, 0, 1, 123_456_789, 123_456_788) for topic in topics))
    return KafkaState(Cluster("ours", 1, supports_static_members=True, topics={}, groups={}), lag)


async def _letters(*_: object, **__: object) -> OpenLetters:
    """A dead letter of another client, whose reason has no spaces."""
    source = LetterSource("sends.requested", 0, 1, None)
    at = "2026-11-30T08:00:00.000000Z"
    letter = Letter(LetterId(0, 1), source.topic, source, "x" * 100, "", "gate", at, "", None, b"", ())
    return OpenLetters((letter,), 12_345, reached_end=True)


def _fill(store: Store) -> None:
    fill(store, log_of("acme"))
    fill(store, log_of("globex")[1:4])
    fill_suppressions(store)
    fill_bulk_release(store)


PHONE: Final = 390
PATHS: Final = [
    *("/logs", "/logs?q=nobody", "/logs?status=Lost", "/logs/counts", "/logs/unknown", "/bounces?account=*"),
    *("/bounces?q=nobody@nowhere.example", "/suppressions?account=*", "/suppressions?q=nobody@nowhere.example"),
    *("/delivery", "/delivery?group_by=domain&account=*", "/health/dead-letters", "/weather", "/accounts"),
    *("/suppressions/email/eve-acme@gmial.com?account=*", "/suppressions/add", "/suppressions/import"),
    *("/health/dead-letters/0:0", "/health/dead-letters/act/redrive?all=1", "/health/dead-letters/0:777"),
    *("/bulk-releases", "/bulk-releases/preview?domain=acme.example", "/bulk-releases/preview?domain=nobody.example"),
    *(f"/bulk-releases/{BULK_ID}/undo", f"/bulk-releases/{BULK_ID}/refused", "/bulk-releases?cursor=none"),
    "/suppressions/release?which=email:hal@acme.example",
    "/suppressions/release?which=email:hal@acme.example&which=sms:%2B14155550101",
]


def _as_it_is(page: Page) -> None:
    """Nothing is done, but the counts are awaited."""
    expect(page.get_by_text("Counting…")).to_have_count(0)


def _message(page: Page) -> None:
    page.locator("td.to a").first.click()
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer).to_be_visible()
    drawer.evaluate("drawer => drawer.querySelectorAll('details').forEach(one => one.open = true)")


def _own_page(page: Page) -> None:
    link = page.locator("td.to a").first.get_attribute("href")
    assert link is not None
    page.goto(urljoin(page.url, link.partition("?")[0] + "?account=acme"))
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()


def _health(page: Page) -> None:
    expect(page.get_by_role("cell", name="123,456,788").first).to_be_visible()
    expect(page.get_by_text("there are 12,345 older ones")).to_be_visible()


def _menu(name: str) -> Callable[[Page], None]:
    return lambda page: page.locator(name).first.click()


def _row_menu(page: Page) -> None:
    page.locator("td.act summary").first.click()


def _keys(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def _signed_out(page: Page) -> None:
    expect(page.locator("figure.chart figcaption b")).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("link", name="Clear all").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    page.get_by_role("link", name="Sign in again").click()
    page.get_by_label("Token").fill("none")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#problem")).to_be_visible()


def _faults(page: Page) -> None:
    page.get_by_label("Or paste the lines").fill("address,reason\nnobody,\n")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status").first).to_contain_text("0 valid, 1 invalid")


def _refused(page: Page) -> None:
    page.get_by_label("Reason").fill("no reason")
    page.get_by_label("Type the address again").fill("another@acme.example")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _not_discarded(page: Page) -> None:
    page.get_by_label("Reason").fill(" ")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _redriven(page: Page) -> None:
    page.get_by_role("button", name="Redrive").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()


def _no_condition(page: Page) -> None:
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _released_in_bulk(page: Page) -> None:
    page.get_by_label("Reason").fill("their outage")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", name="Done", exact=True)).to_be_visible()


def _suppressed(page: Page) -> None:
    page.get_by_label("Address or phone").fill("zed@acme.example")
    page.get_by_label("Reason").fill("asked by phone")
    page.get_by_role("button", name="Suppress").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()


STATES: Final[Sequence[tuple[str, Callable[[Page], None]]]] = [
    ("/logs?account=*&status=Bounced", _message),
    ("/logs?account=*&status=Opened", _message),
    ("/logs?account=*&status=Suppressed", _own_page),
    ("/logs", _menu("details.more:not(#views) > summary")),
    ("/logs", _menu(".who > summary")),
    ("/logs", _row_menu),
    ("/logs", _keys),
    ("/health", _health),
    ("/health", _menu("details.section > summary")),
    ("/suppressions/import", _faults),
    ("/suppressions/release?which=email:hal@acme.example", _refused),
    ("/suppressions/add", _suppressed),
    ("/bulk-releases", _no_condition),
    ("/bulk-releases/preview?domain=acme.example", _released_in_bulk),
    ("/health/dead-letters/act/discard?letter=0:0", _not_discarded),
    ("/health/dead-letters/act/redrive?all=1", _redriven),
    ("/logs?account=*&status=Bounced", _signed_out),
]


@pytest.mark.parametrize(
    ("width", "dark"), [(1440, False), (1440, True), (PHONE, False)], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    chromium: Browser, base: str, width: int, *, dark: bool
) -> None:
    console = ConsolePage(chromium, base, width=width, dark=dark, role="operator", accounts=["*"])
    for path, act in [*((path, _as_it_is) for path in PATHS), *STATES]:
        if act is _row_menu and width == PHONE:
            continue  # a card has no menu: its actions are in the message
        page = console.go(path)
        act(page)
        found = Axe().run(page).response["violations"]
        assert [(path, one["id"], [n["html"][:120] for n in one["nodes"]][:3]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
    console.assert_clean()
    console.close()
