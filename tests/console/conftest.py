"""The browser, one for each module: a test that awaits must not run while Playwright's loop does."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.console.serving import a_chromium

expect.set_options(timeout=20_000)  # for a slow machine


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with a_chromium() as browser:
        yield browser
