"""A gateway on a local port, in its own thread, and a Chromium that opens its pages."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from projections.store import Store
from tests.console.building import a_token
from tests.fakes import FakeKafka
from tests.gateway.serving import served

__all__ = ["CHROMIUM", "ConsolePage", "a_chromium", "a_server"]

CHROMIUM: Final = "/usr/bin/chromium"

_COLLECT_VIOLATIONS: Final = """
if (self === top) addEventListener("securitypolicyviolation", (event) => {
  sessionStorage.violations = `${sessionStorage.violations ?? ""}${location.pathname}: ${event.effectiveDirective}\n`;
});
"""
"""Session storage keeps them when another page is opened. The frame of a preview has violations on purpose."""


@contextmanager
def a_server(store: Store, *, at_port: int = 0, kafka: FakeKafka | None = None, **settings: Any) -> Iterator[str]:
    """Serve the console of a gateway that reads `store`; yield its URL."""
    ports: list[int] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with served(store, at_port=at_port, kafka=kafka, public_url="http://127.0.0.1", **settings) as gateway:
            ports.append(gateway.port)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        stop.set()
        thread.join(30)


@contextmanager
def a_chromium() -> Iterator[Browser]:
    """Start a browser, in the thread of the caller."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class ConsolePage:
    """A signed-in page that collects violations of the policy, requests to other sites, and script errors."""

    def __init__(
        self,
        browser: Browser,
        base: str,
        *,
        role: str = "support",
        width: int = 1440,
        dark: bool = False,
        script: bool = True,
        accounts: Sequence[str] = ("acme",),
        token: str = "",
    ) -> None:
        self.base = base
        self.other_requests: list[str] = []
        self.errors: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",  # what slides in is measured where it ends
            java_script_enabled=script,
        )
        self.context.set_default_timeout(20_000)
        self.context.route("**/*", self._intercept)
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if script:
            self.page.add_init_script(_COLLECT_VIOLATIONS)
        self.page.goto(f"{base}/login")
        self.page.get_by_label("Token").fill(token or a_token(*accounts, role=role))
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/logs*")

    def _intercept(self, route: Route) -> None:
        if route.request.url.startswith((self.base, "data:")):
            route.continue_()
        else:
            self.other_requests.append(route.request.url)
            route.abort()

    def go(self, path: str) -> Page:
        """Open a page."""
        self.page.goto(self.base + path)
        return self.page

    def assert_clean(self) -> None:
        """Assert that nothing went wrong on any page so far."""
        assert self.page.evaluate("sessionStorage.violations ?? ''") == ""
        assert self.other_requests == []
        assert self.errors == []

    def close(self) -> None:
        """Close the page and its context."""
        self.context.close()
