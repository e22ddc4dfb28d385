"""Take a picture of every page of the console, to look at: `python -m tests.console.every_page FOLDER [DATA_DIR]`.

In:  the folder of a running demo's data (`sendledger up --demo`, after some minutes). Out: a PNG in FOLDER for each
page, state and form: `full-light-logs.png`. The states: full (the demo), empty (new tables), and gateways whose
ClickHouse or Kafka does not answer. The forms: light, dark, and a phone.

It fails if a page scrolls sideways, breaks its Content-Security-Policy, has an error in its script, or loads something
from elsewhere.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError

from gateway.tokens import issue
from projections.store import Store, generations
from schemas.errors import ConfigError
from schemas.settings import PREFIX
from tests.console.building import SECRET
from tests.console.serving import ConsolePage, a_chromium, a_server
from tests.fakes import FakeKafka
from tests.stores import fresh_store

__all__ = ["take"]

Act = Callable[[Page], Any]

FORMS: Final = {"light": (1440, 1100), "dark": (1440, 1100), "phone": (390, 1500)}
_PATIENCE_MS: Final = 60_000
_AWAY: Final = "http://127.0.0.1:1"


def _open_message(page: Page) -> None:
    page.locator("td.to a").first.click()
    expect(page.get_by_role("dialog", name="Message")).to_be_visible()


def _open_all_of_message(page: Page) -> None:
    _open_message(page)
    drawer = page.get_by_role("dialog", name="Message")
    drawer.evaluate("drawer => drawer.querySelectorAll('details').forEach(one => one.open = true)")


def _raw_event(page: Page) -> None:
    _open_all_of_message(page)
    page.get_by_role("link", name="What the provider sent").last.click()
    expect(page.get_by_role("heading", level=2, name="This event")).to_be_visible()


def _follow(name: str) -> Act:
    return lambda page: page.get_by_role("link", name=name).first.click()


def _press(selector: str) -> Act:
    return lambda page: page.locator(selector).first.click()


def _import(lines: str) -> Act:
    def act(page: Page) -> None:
        page.get_by_label("Or paste the lines").fill(lines)
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("status").first).to_contain_text("valid")

    return act


def _row_then(name: str) -> Act:
    def act(page: Page) -> None:
        page.locator("table.list td a").first.click()
        page.get_by_role("link", name=name).first.click()

    return act


def _as_it_is(page: Page) -> None:
    """Nothing is done."""


PAGES: Final[Sequence[tuple[str, str, Act]]] = [
    ("logs", "/logs", _as_it_is),
    ("logs-none", "/logs?q=nobody@nowhere.example", _as_it_is),
    ("logs-wrong", "/logs?status=Lost", _as_it_is),
    ("counts", "/logs/counts", _as_it_is),
    ("bounces", "/bounces", _as_it_is),
    ("suppressions", "/suppressions", _as_it_is),
    ("suppress", "/suppressions/add", _as_it_is),
    ("import", "/suppressions/import", _as_it_is),
    ("import-checked", "/suppressions/import", _import("address,reason\nzoe@example.com,asked by phone\n")),
    ("import-faults", "/suppressions/import", _import("address,reason\nnobody,\nzoe@example.com,asked by phone\n")),
    ("bulk-releases", "/bulk-releases", _as_it_is),
    ("bulk-preview", "/bulk-releases/preview?domain=example.org", _as_it_is),
    ("delivery", "/delivery", _as_it_is),
    ("health", "/health", _as_it_is),
    ("weather", "/weather", _as_it_is),
    ("dead-letters", "/health/dead-letters", _as_it_is),
    ("redrive-all", "/health/dead-letters/act/redrive?all=1", _as_it_is),
    ("accounts", "/accounts", _as_it_is),
    ("error-404", "/logs/unknown", _as_it_is),
]
"""Pages of every state."""
MORE_PAGES: Final[Sequence[tuple[str, str, Act]]] = [
    ("message-bounced", "/logs?status=Bounced&channel=email", _open_all_of_message),
    ("message-sms", "/logs?status=Bounced&channel=sms", _open_message),
    ("message-opened", "/logs?status=Opened", _open_message),
    ("message-suppressed", "/logs?status=Suppressed", _open_message),
    ("raw-event", "/logs?status=Bounced&channel=email", _raw_event),
    ("logs-not-delivered", "/logs", _follow("Not delivered")),
    ("logs-more", "/logs", _press("details.more:not(#views) > summary")),
    ("logs-menu", "/logs", _press(".who > summary")),
    ("logs-keys", "/logs", lambda page: page.keyboard.press("?")),
    ("suppression", "/suppressions?suppressed=true", _press("table.list td.to a")),
    ("release", "/suppressions?suppressed=true&reason=bounces", _follow("Release…")),
    ("release-complaint", "/suppressions?suppressed=true&reason=complaint", _follow("Release…")),
    ("delivery-by-domain", "/delivery?group_by=domain", _as_it_is),
    ("health-checks", "/health", _press("details.section > summary")),
    ("dead-letter", "/health/dead-letters", _press("table.list td a")),
    ("discard", "/health/dead-letters", _row_then("Discard…")),
]
"""Pages that need rows."""


def take(folder: Path, data_dir: Path) -> list[str]:
    """Take the pictures, and return what was wrong. Raises ConfigError if no demo runs with this folder."""
    env = dotenv_values(data_dir / "dev.env")
    demo = {name: env.get(f"{PREFIX}{name}") or "" for name in ("PUBLIC_URL", "TOKEN_SECRET", "CLICKHOUSE_URL")}
    if not all(demo.values()):
        raise ConfigError("There is no demo", str(data_dir), "Start `sendledger up --demo`, or name its folder")
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=_PATIENCE_MS)
    bootstrap = env[f"{PREFIX}KAFKA_BOOTSTRAP"]
    with a_chromium() as browser:
        wrong = _take_state(browser, folder, "full", demo["PUBLIC_URL"], [*PAGES, *MORE_PAGES], demo["TOKEN_SECRET"])
        with _without_kafka(demo["CLICKHOUSE_URL"]) as base:
            wrong += _take_state(browser, folder, "no-kafka", base, PAGES)
        with a_server(Store(_AWAY), kafka_bootstrap=bootstrap) as base:
            wrong += _take_state(browser, folder, "no-clickhouse", base, PAGES)
        with _empty(demo["CLICKHOUSE_URL"], bootstrap) as base:
            wrong += _take_state(browser, folder, "empty", base, PAGES)
    return wrong


@contextmanager
def _without_kafka(clickhouse_url: str) -> Iterator[str]:
    store = Store(clickhouse_url, database="sendledger", generation=generations.FIRST)
    with a_server(store, kafka=FakeKafka(healthy=False), clickhouse_url=clickhouse_url) as base:
        yield base


@contextmanager
def _empty(clickhouse_url: str, bootstrap: str | None) -> Iterator[str]:
    with (
        fresh_store(clickhouse_url) as store,
        a_server(
            store, kafka_bootstrap=bootstrap, clickhouse_url=clickhouse_url, clickhouse_database=store.database
        ) as base,
    ):
        yield base


def _take_state(
    browser: Browser,
    folder: Path,
    state: str,
    base: str,
    pages: Sequence[tuple[str, str, Act]],
    secret: str = SECRET,
) -> list[str]:
    wrong: list[str] = []
    token = issue(secret, subject="ann", role="operator", accounts=["*"])
    for form, (width, height) in FORMS.items():
        console = ConsolePage(browser, base, width=width, dark=form == "dark", token=token)
        console.context.set_default_timeout(_PATIENCE_MS)
        console.page.set_viewport_size({"width": width, "height": height})
        for name, path, act in pages:
            try:
                _picture(console.go(path), act, folder / f"{state}-{form}-{name}.png")
            except (AssertionError, PlaywrightError) as error:
                wrong.append(f"{state}-{form}-{name}: {str(error)[:300]}")
        console.assert_clean()
        console.close()
    return wrong


def _picture(page: Page, act: Act, file: Path) -> None:
    expect(page.get_by_text("Counting…")).to_have_count(0)
    act(page)
    page.wait_for_load_state()
    expect(page.locator("[aria-busy=true]").or_(page.get_by_text("Counting…"))).to_have_count(0)
    page.screenshot(path=file)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "it scrolls sideways"


if __name__ == "__main__":
    found = take(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else ".data"))
    print(*found, sep="\n")
    sys.exit(1 if found else 0)
