"""Two gateway processes with the same settings behind a proxy that alternates: whichever answers, the console works."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from processors.kafka.read_topic import read_topic
from processors.kafka.topics import create_topics
from projections.store import Store
from schemas.settings import PREFIX, TopicSettings, read
from tests.console.building import SECRET, fill, fill_suppressions, log_of
from tests.console.round_robin import RoundRobin, a_round_robin
from tests.console.serving import ConsolePage
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.stack.programs import answering
from tests.stores import fresh_store

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.browser, pytest.mark.process]


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, log_of("acme"))
        fill_suppressions(store)
        yield store


@contextmanager
def a_gateway_process(env: dict[str, str], folder: Path, port: int) -> Iterator[None]:
    """Run `sendledger gateway` at a port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # noqa: TID251
    command = [sys.executable, str(Path(sys.executable).with_name("sendledger")), "gateway"]
    with (folder / f"gateway-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=inherited | env | {f"{PREFIX}PORT": str(port)}, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


@pytest.fixture(scope="module")
async def proxy(
    store: Store, kafka_bootstrap: str, clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RoundRobin]:
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    base = free_port_base()
    ports = [base, base + 1]
    env = {
        f"{PREFIX}KAFKA_BOOTSTRAP": kafka_bootstrap,
        f"{PREFIX}CLICKHOUSE_URL": clickhouse_url,
        f"{PREFIX}CLICKHOUSE_DATABASE": store.database,
        f"{PREFIX}TOKEN_SECRET": SECRET,
    }
    folder = tmp_path_factory.mktemp("gateways")
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(a_gateway_process(env, folder, port))
        for port in ports:
            await until(lambda: answering(f"http://127.0.0.1:{port}/readyz"), "a gateway")  # noqa: B023
        yield stack.enter_context(a_round_robin(ports))


def test_the_console_works_whichever_gateway_answers(
    proxy: RoundRobin, kafka_bootstrap: str, chromium: Browser
) -> None:
    """Sign in, list, filter, page, drawer, preview, release: which is in the log once."""
    console = ConsolePage(chromium, proxy.url)
    page = console.go("/logs?limit=5")
    expect(page.locator("table.log tbody tr")).to_have_count(5)
    expect(page.locator("figure.chart figcaption b")).to_have_text("17")
    first = page.locator("td.to a").first.inner_text()
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**cursor=**")
    page.get_by_role("link", name="Newer").click()
    page.wait_for_url("**back=1")
    expect(page.locator("td.to a").first).to_have_text(first)
    page.get_by_role("link", name=re.compile(r"^Bounced \d")).click()
    page.wait_for_url("**status=Bounced")
    expect(page.locator("table.log tbody tr")).to_have_count(3)
    page.locator("td.to a").first.click()
    drawer = page.get_by_role("dialog", name="Message")
    drawer.get_by_role("button", name="Next message").click()
    drawer.get_by_role("button", name="Next message").click()
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("carrier could not reach the phone")
    page.locator("iframe").scroll_into_view_if_needed()
    expect(page.frame_locator("iframe").get_by_role("heading", name="See you")).to_be_visible()
    page.reload()
    expect(drawer).to_be_visible()
    drawer.get_by_role("link", name="Release address…").click()
    page.get_by_label("Reason").fill("a new phone")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    for path, heading in (("/bounces", "Bounced Emails"), ("/suppressions", "Suppressions"), ("/health", "Health")):
        expect(console.go(path).get_by_role("heading", name=heading, exact=True)).to_be_visible()
    console.assert_clean()
    console.close()
    operator = ConsolePage(chromium, proxy.url, role="operator", accounts=["*"])
    page = operator.go("/health")
    expect(page.get_by_role("heading", name=re.compile("need.? attention"))).to_be_visible()  # there are no workers
    page.get_by_text("All checks").click()
    expect(page.get_by_role("cell", name="topics.exist", exact=True)).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    operator.assert_clean()
    operator.close()
    for answered in proxy.answered.values():
        assert answered["GET /logs"] > 3
        assert answered["GET /static"]
    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one
        commands = thread.submit(asyncio.run, released(kafka_bootstrap)).result()
    assert [(one["action"], one["address"], one["actor"]) for one in commands] == [
        ("release", "+14155550101", "ann.support")
    ]


async def released(bootstrap: str) -> list[dict[str, str]]:
    """The commands with the reason that the test gave."""
    values = [record.value async for record in read_topic(bootstrap, "suppressions.commands")]
    return [orjson.loads(value) for value in values if value and b"a new phone" in value]
