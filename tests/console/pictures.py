"""Take the pictures of the README, from the demo that `make run` has started: `make pictures`.

In:  the folder of the demo's data, with its address and secrets. Out: `docs/pictures/logs-light.png` and `-dark.png`:
Messaging Logs with a bounced email in the drawer.
"""

import sys
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from playwright.sync_api import Browser, Page, expect

from gateway.tokens import issue
from schemas.errors import ConfigError
from schemas.settings import PREFIX
from tests.console.serving import a_chromium

__all__ = ["take"]

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
MAX_BYTES: Final = 300_000
_WIDTH, _HEIGHT = 1360, 720
_ACCOUNT: Final = "demo"
_MAX_PAGES: Final = 40
_PATIENCE_MS: Final = 30_000


def take(data_dir: Path) -> None:
    """Take both pictures. Raises ConfigError if no demo runs with this folder."""
    settings = dotenv_values(data_dir / "dev.env")
    base, secret = settings.get(f"{PREFIX}PUBLIC_URL"), settings.get(f"{PREFIX}TOKEN_SECRET")
    if not base or not secret:
        raise ConfigError("There is no demo", str(data_dir), "Start `make run`, or name its folder: DATA_DIR=")
    token = issue(secret, subject="ann", role="support", accounts=[_ACCOUNT])
    FOLDER.mkdir(exist_ok=True)
    with a_chromium() as browser:
        for colours in ("light", "dark"):
            file = FOLDER / f"logs-{colours}.png"
            page = _signed_in(browser, base, token, dark=colours == "dark")
            _open_bounced_email(page)
            page.screenshot(path=file)
            page.context.close()
            size = file.stat().st_size
            if size > MAX_BYTES:
                sys.exit(f"{file} has {size:,} bytes: more than {MAX_BYTES:,}")
            sys.stdout.write(f"{file}: {size:,} bytes\n")


def _signed_in(browser: Browser, base: str, token: str, *, dark: bool) -> Page:
    context = browser.new_context(
        viewport={"width": _WIDTH, "height": _HEIGHT},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(_PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{base}/login")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/logs")
    return page


def _open_bounced_email(page: Page) -> None:
    """Turn to a page of the list with a bounced email near its top: the first page of live traffic is all Pending."""
    rows = page.locator("table.log tbody tr:nth-child(-n+9)")
    bounced = rows.filter(has=page.locator(".s-Bounced")).filter(has_not=page.locator(".tag"))
    with_content = bounced.filter(has=page.locator(".act a", has_text="Preview"))
    for number in range(_MAX_PAGES):
        if number and with_content.count():
            break
        shown = page.url
        page.get_by_role("link", name="Older").click()
        expect(page).not_to_have_url(shown)
    with_content.first.locator("td.to a").click()
    expect(page.get_by_role("dialog", name="Message")).to_be_visible()
    expect(page.locator("figure.chart figcaption b")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")


if __name__ == "__main__":
    take(Path(sys.argv[1] if len(sys.argv) > 1 else ".data"))
