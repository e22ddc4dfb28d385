"""The console in a real Chromium: by mouse, by keys, by link, and without JavaScript."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, expect

from projections.store import Store
from tests.console.building import HOSTILE, Sent, fill, fill_suppressions, log_of
from tests.console.serving import ConsolePage, a_server
from tests.stores import fresh_store

pytestmark = [pytest.mark.clickhouse, pytest.mark.browser]

EVE = "eve@gmial.com"


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, [sent._replace(minutes_ago=sent.minutes_ago + 100) for sent in [*log_of("acme")] * 4])
        fill(store, log_of("acme"))
        fill(store, log_of("globex")[1:4])
        fill_suppressions(store)
        yield store


@pytest.fixture(scope="module")
def base(store: Store) -> Iterator[str]:
    with a_server(store) as base:
        yield base


@pytest.fixture
def console(chromium: Browser, base: str) -> Iterator[ConsolePage]:
    console = ConsolePage(chromium, base)
    yield console
    console.assert_clean()
    console.close()


def test_a_search_finds_the_messages_to_an_address(console: ConsolePage) -> None:
    page = console.go("/logs")
    page.keyboard.press("/")
    page.keyboard.type(EVE)
    page.keyboard.press("Enter")
    page.wait_for_url("**/logs?address=**")
    expect(page.locator("table.log tbody tr")).to_have_count(5)
    expect(page.get_by_role("link", name="Address: eve@gmial.com")).to_be_visible()


def test_counts_come_after_the_rows_and_filter(console: ConsolePage) -> None:
    page = console.go("/logs")
    expect(page.locator("figure.chart figcaption")).to_contain_text("messages, last 7 days")
    page.get_by_role("link", name=re.compile(r"^Bounced \d")).click()
    page.wait_for_url("**/logs?status=Bounced")
    expect(page.locator("table.log .chip.s-Bounced").first).to_be_visible()
    expect(page.locator("table.log .chip.s-Delivered")).to_have_count(0)
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url("**/logs")


def test_a_message_opens_beside_the_list_and_back_closes_it(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    page.get_by_role("link", name=EVE, exact=True).first.click()
    page.wait_for_url("**/logs/*?status=Bounced")
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("mailbox does not exist")
    expect(drawer).to_contain_text("did they mean eve@gmail.com")
    page.go_back()
    expect(drawer).to_be_hidden()
    page.go_forward()
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    page.wait_for_url("**/logs?status=Bounced")


def test_a_link_to_a_message_shows_it_at_once(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    link = page.locator("td.to a").first.get_attribute("href")
    assert link is not None
    console.go(link)
    expect(page.get_by_role("dialog", name="Message")).to_be_visible()
    page.get_by_role("link", name="Close").click()
    page.wait_for_url("**/logs?status=Bounced")


def test_the_preview_shows_what_was_sent(console: ConsolePage) -> None:
    page = console.go("/logs?q=ann%40acme.example")
    page.locator("td.to a").first.click()
    frame = page.frame_locator("iframe[title='What was sent']")
    page.locator("iframe").scroll_into_view_if_needed()
    expect(frame.get_by_role("heading", name="See you")).to_be_visible()


def test_the_keys_move_through_the_filtered_list(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    rows = page.locator("td.to a")
    page.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator("tr.chosen td.to a")).to_have_text(rows.nth(2).inner_text())
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_label("Keys are on").uncheck()
    keys.get_by_role("button", name="Close").click()
    page.keyboard.press("?")
    page.keyboard.press("/")
    expect(keys).to_be_hidden()
    expect(page.get_by_label(re.compile("^Find by"))).not_to_be_focused()


def test_pages_turn_both_ways(console: ConsolePage) -> None:
    page = console.go("/logs?limit=10")
    first = page.locator("td.id code").first.get_attribute("title")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**cursor=**")
    expect(page.get_by_role("link", name="Newer")).to_be_visible()
    page.get_by_role("link", name="Newer").click()
    page.wait_for_url("**back=1")
    expect(page.locator("td.id code").first).to_have_attribute("title", str(first))


def test_the_arrows_of_the_drawer_walk_the_list_and_go_on_to_the_next_page(console: ConsolePage) -> None:
    page = console.go("/logs?limit=3&status=Bounced")
    rows = page.locator("table.log tbody tr")
    drawer = page.get_by_role("dialog", name="Message")

    def shows(number: int) -> str:
        """Wait until the drawer shows the row of this number; return its id."""
        id_ = str(rows.nth(number).get_attribute("id")).removeprefix("m-")
        expect(drawer.locator("article")).to_have_attribute("data-message", id_)
        expect(rows.nth(number)).to_have_class("chosen")
        return id_

    first = str(rows.nth(0).get_attribute("id")).removeprefix("m-")
    rows.nth(1).locator("td.to a").click()
    shows(1)
    drawer.get_by_role("button", name="Next message").click()
    last = shows(2)
    drawer.get_by_role("button", name="Next message").click()
    page.wait_for_url("**cursor=**")
    expect(rows.nth(0)).not_to_have_id(f"m-{last}")
    assert shows(0) != last
    page.go_back()
    expect(rows.nth(2)).to_have_id(f"m-{last}")
    assert shows(2) == last
    page.go_forward()
    expect(rows.nth(0)).not_to_have_id(f"m-{first}")
    assert shows(0) != last
    drawer.get_by_role("button", name="Previous message").click()
    page.wait_for_url("**back=1")
    assert shows(2) == last


def test_back_restores_the_list_also_if_it_is_pressed_again_while_it_loads(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    rows = page.locator("table.log tbody tr")
    bounced = rows.count()
    for name in ("Dropped", "Suppressed"):
        page.get_by_role("link", name="Clear all").click()
        page.wait_for_url("**/logs")
        page.get_by_role("link", name=re.compile(rf"^{name} \d")).click()
        page.wait_for_url(f"**/logs?status={name}")
        expect(rows.first.locator(f".chip.s-{name}")).to_be_visible()
    rows.first.locator("td.to a").click()
    page.wait_for_url("**/logs/*?status=Suppressed")
    page.evaluate("for (let i = 0; i < 5; i += 1) history.back()")
    page.wait_for_url("**/logs?status=Bounced")
    expect(rows).to_have_count(bounced)
    expect(rows.first.locator(".chip.s-Bounced")).to_be_visible()
    expect(page.get_by_role("dialog", name="Message")).to_be_hidden()


def test_if_the_next_page_fails_the_open_message_stays(console: ConsolePage) -> None:
    page = console.go("/logs?limit=3&status=Bounced")
    page.locator("td.to a").last.click()
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer).to_be_visible()
    before = drawer.locator("article").get_attribute("data-message")
    page.route("**/logs?*cursor=*", lambda route: route.abort())
    drawer.get_by_role("button", name="Next message").click()
    expect(page.locator("#trouble")).to_contain_text("The log can't be reached")
    expect(drawer.locator("article")).to_have_attribute("data-message", str(before))


def test_the_last_message_has_no_next_one(console: ConsolePage) -> None:
    page = console.go("/logs?status=Blocked&limit=500")
    page.locator("td.to a").last.click()
    page.get_by_role("button", name="Next message").click()
    expect(page.locator("#status")).to_have_text("This is the last message")
    expect(page.get_by_role("dialog", name="Message")).to_be_visible()


@pytest.mark.parametrize(
    ("choice", "option", "query", "found"),
    [
        pytest.param("channel", "SMS", "channel=sms", 10, id="channel"),
        pytest.param("sent_to", "Staff", "sent_to=staff", 0, id="sent to"),
        pytest.param("type", "Text reminder (5)", "type=Text+reminder", 5, id="type"),
        pytest.param("period", "All time", "from=1970-01-01", 50, id="time"),
    ],
)
def test_a_choice_filters_at_once(console: ConsolePage, choice: str, option: str, query: str, found: int) -> None:
    page = console.go("/logs")
    expect(page.locator("figure.chart figcaption b")).to_be_visible()
    page.locator(f"select#{choice}").select_option(label=option)
    page.wait_for_url(f"**/logs?{query}")
    if found:
        expect(page.locator("table.log tbody tr")).to_have_count(found)
    else:
        expect(page.get_by_role("heading", name="No messages match")).to_be_visible()


def test_the_types_can_be_chosen_again(console: ConsolePage) -> None:
    page = console.go("/logs")
    choice = page.locator("select#type")
    expect(choice.locator("option", has_text="Text reminder")).to_have_count(1)
    choice.focus()
    choice.select_option(label="Text reminder (5)")
    page.wait_for_url("**/logs?type=Text+reminder")
    expect(choice).to_be_focused()
    expect(choice).to_have_value("Text reminder")
    expect(choice.locator("option", has_text="Appointment reminder")).to_have_count(1)
    choice.select_option("Appointment reminder")
    page.wait_for_url("**/logs?type=Appointment+reminder")


@pytest.mark.parametrize(
    ("label", "value", "query", "found"),
    [
        pytest.param("From (UTC)", "1999-01-01", "from=1999-01-01", 50, id="from"),
        pytest.param("Before (UTC)", "1999-01-01", "to=1999-01-01", 0, id="before"),
        pytest.param("Client", "c5", "client_id=c5", 2, id="client"),
        pytest.param("Staff", "s1", "staff_id=s1", 0, id="staff"),
        pytest.param("Appointment", "a5", "appointment_id=a5", 2, id="appointment"),
        pytest.param("Classification", "Invalid Address", "classification=Invalid+Address", 5, id="classification"),
        pytest.param("Hours without an event", "1", "stuck_hours=1", 8, id="stuck"),
    ],
)
def test_a_field_of_more_filters(console: ConsolePage, label: str, value: str, query: str, found: int) -> None:
    page = console.go("/logs")
    page.get_by_text("More", exact=True).click()
    page.get_by_label(label, exact=True).fill(value)
    page.locator(".menu.fields").get_by_role("button", name="Search").click()
    page.wait_for_url(f"**/logs?{query}")
    expect(page.locator("table.log tbody tr")).to_have_count(found)


def test_the_field_of_a_type_in_more_is_for_browsers_without_javascript(chromium: Browser, base: str) -> None:
    for script in (True, False):
        console = ConsolePage(chromium, base, script=script)
        page = console.go("/logs")
        page.get_by_text("More", exact=True).click()
        expect(page.get_by_label("Client", exact=True)).to_be_visible()
        expect(page.locator(".menu.fields input[name=type]")).to_be_visible(visible=not script)
        console.close()


def test_not_delivered_is_one_click_and_the_order_another(console: ConsolePage) -> None:
    page = console.go("/logs")
    page.get_by_role("link", name="Not delivered").click()
    page.wait_for_url("**status=Bounced**")
    expect(page.locator(".chip.s-Delivered, .chip.s-Pending")).to_have_count(0)
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Order").select_option("oldest")
    page.locator(".menu.fields").get_by_role("button", name="Search").click()
    page.wait_for_url("**order=oldest**")
    expect(page.locator("table.log caption")).to_have_text("Messages, oldest first")


def test_an_account_is_chosen_in_the_header(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, role="operator", accounts=["*"])
    page = console.go("/logs")
    expect(page.locator("td.account").first).to_be_visible()
    picker = page.get_by_label("Account", exact=True)
    picker.focus()
    expect(page.locator("#accounts option")).to_have_count(2)
    picker.fill("globex")
    picker.press("Enter")
    page.wait_for_url("**/logs?account=globex")
    expect(page.locator("table.log tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url("**/logs?account=*")
    expect(picker).to_have_value("")
    for path in ("/bounces", "/suppressions", "/delivery", "/health"):
        page = console.go(path)
        picker = page.get_by_label("Account", exact=True)
        picker.fill("acme")
        picker.press("Enter")
        page.wait_for_url(f"**{path}?**account=acme**")
    console.assert_clean()
    console.close()


def test_suggestions_are_those_of_the_last_text(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, role="operator", accounts=["*"])
    page = console.go("/logs")
    page.route("**/accounts?q=ac", lambda _: None)  # it gets no answer
    picker = page.get_by_label("Account", exact=True)
    with page.expect_request("**/accounts?q=ac"):
        picker.fill("ac")
    with page.expect_event("requestfailed", lambda request: request.url.endswith("q=ac")):  # the page aborted it
        picker.fill("glob")
    options = page.locator("#accounts option")
    expect(options).to_have_count(1)
    expect(options).to_have_attribute("value", "globex")
    console.assert_clean()
    console.close()


def test_the_page_of_accounts_is_found_without_javascript(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, role="operator", accounts=["*"], script=False)
    page = console.go("/health")
    page.locator("details.who summary").click()
    page.get_by_role("link", name="Accounts").click()
    page.get_by_role("link", name="globex").click()
    page.wait_for_url("**/logs?account=globex")
    console.close()


def test_health_says_when_it_pauses_and_why_it_fails(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, role="operator", accounts=["*"])
    page = console.page
    page.clock.install()
    console.go("/health?account=*")
    paused = page.locator("#paused")
    page.get_by_text("All checks").click()
    page.clock.run_for(100)
    expect(paused).to_have_text("Paused while you read")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.run_for(60_000)
    assert requests == []
    page.get_by_text("All checks").click()
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(100)
    expect(paused).to_have_text("")
    trouble = page.locator("#trouble")
    page.route("**/health?*", lambda route: route.fulfill(status=503, content_type="text/html", body="<p>busy</p>"))
    page.clock.run_for(10_000)
    expect(trouble).to_contain_text("The gateway answered with an error (503).")
    page.unroute("**/health?*")
    page.route("**/health?*", lambda route: route.abort())
    page.clock.run_for(60_000)
    expect(trouble).to_contain_text("The gateway can't be reached.")
    console.close()


def test_new_messages_wait_for_a_click_and_changed_rows_are_replaced(console: ConsolePage, store: Store) -> None:
    page = console.go("/logs?address_prefix=live")
    expect(page.get_by_text("No messages match")).to_be_visible()
    late = Sent(0.1, "live@acme.example", "Just now")
    fill(store, [late])
    pill = page.get_by_role("button", name="1 new, show")
    expect(pill).to_be_visible()
    expect(page.locator("table.log")).to_have_count(0)
    pill.click()
    expect(page.locator("table.log .chip")).to_have_text("Pending")
    fill(store, [late._replace(events=[{"event": "processed"}, {"event": "delivered"}])])
    expect(page.locator("table.log .chip")).to_have_text("Delivered")


def test_live_can_be_paused_and_shows_when_the_log_is_unreachable(console: ConsolePage) -> None:
    page = console.go("/logs")
    page.get_by_role("button", name="Live").click()
    expect(page.get_by_role("button", name="Paused")).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("button", name="Paused").click()
    expect(page.get_by_role("button", name=re.compile("Can't reach the log since"))).to_be_visible()
    expect(page.locator("table.log tbody tr").first).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("button", name="Live")).to_be_visible()


def test_after_the_end_of_the_session_the_rows_stay_and_a_message_says_so(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    page.context.clear_cookies()
    page.get_by_role("link", name=re.compile(r"^Dropped \d")).click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    expect(page.locator("table.log tbody tr").first).to_be_visible()
    page.get_by_role("link", name="Sign in again").click()
    page.wait_for_url("**/login?next=%2Flogs%3Fstatus%3DBounced")


def test_a_view_is_saved_under_its_name(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    page.locator("#views > summary").click()
    page.get_by_label("Save this view as").fill(HOSTILE[:50])
    page.get_by_role("button", name="Save").click()
    console.go("/logs")
    page.locator("#views > summary").click()
    page.get_by_role("link", name=HOSTILE[:50]).click()
    page.wait_for_url("**/logs?status=Bounced")


def test_an_address_is_released_from_its_message(console: ConsolePage) -> None:
    page = console.go("/logs?q=gus%40acme.example")
    page.locator("td.to a").first.click()
    page.get_by_role("link", name="Release address…").click()
    page.get_by_label("Reason").fill("confirmed by phone")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(page.locator("main")).to_contain_text("released")
    page.get_by_role("link", name="show", exact=True).click()
    expect(page.locator("table.log .chip").first).to_have_text("Suppressed")


def test_addresses_are_released_from_bounced_emails(console: ConsolePage) -> None:
    page = console.go("/bounces")
    page.locator("select[name=suppressed]").select_option(label="Suppressed")
    page.wait_for_url("**/bounces?suppressed=true")
    boxes = page.locator("input[name=which]")
    page.get_by_label("Select all").check()
    for box in boxes.all():
        expect(box).to_be_checked()
    page.get_by_label("Select all").uncheck()
    page.get_by_label(re.compile(r"^Select \+1")).check()
    page.get_by_role("button", name="Release selected…").click()
    expect(page.locator("form.stacked li")).to_have_text(re.compile(r"^\+14155550101: suppressed"))
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_label("Reason")).to_be_focused()  # the browser itself asks for a reason
    page.get_by_label("Reason").fill("a new phone")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(page.locator("main")).to_contain_text("The provider has a separate suppression list")


def test_the_export_has_what_is_filtered(console: ConsolePage) -> None:
    page = console.go("/logs?status=Clicked")
    with page.expect_download() as started:
        page.get_by_role("link", name="Export CSV").click()
    lines = Path(started.value.path()).read_text().splitlines()
    assert started.value.suggested_filename.endswith(".csv")
    assert len(lines) == 6
    assert all('"Clicked"' in line for line in lines[1:])


def test_a_viewer_has_no_button_that_would_fail(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, role="viewer")
    acts = re.compile("Release|Add…|Import…|Suppress…|Opt in")
    for path in ("/bounces", "/suppressions", "/suppressions/email/eve-acme@gmial.com"):
        page = console.go(path)
        expect(page.get_by_role("link", name=acts)).to_have_count(0)
        expect(page.get_by_role("button", name=acts)).to_have_count(0)
    page = console.go("/logs?status=Suppressed")
    page.locator("td.to a").first.click()
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer.get_by_role("link", name="Copy link")).to_be_visible()
    expect(drawer.get_by_role("link", name=acts)).to_have_count(0)
    page = console.go("/suppressions/import")
    expect(page.get_by_role("heading", level=2)).to_have_text("Role not allowed")
    console.assert_clean()
    console.close()


def test_a_link_of_another_account_is_not_found(chromium: Browser, base: str, console: ConsolePage) -> None:
    operator = ConsolePage(chromium, base, role="operator", accounts=["*"])
    link = operator.go("/logs?account=globex").locator("td.to a").first.get_attribute("href")
    assert link is not None
    operator.close()
    for path in (link, link.partition("?")[0]):
        page = console.go(path)
        expect(page.get_by_role("heading", level=2)).to_have_text(re.compile("^No such"))
        expect(page.locator("main")).not_to_contain_text("globex.example")


def test_the_switch_changes_the_colours_and_the_next_page_keeps_them(console: ConsolePage) -> None:
    page = console.go("/logs")
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.evaluate(colour) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(colour) == "rgb(20, 23, 28)"
    console.go("/bounces")
    assert page.evaluate(colour) == "rgb(20, 23, 28)"


def test_a_link_is_copied_by_menu_and_by_key(console: ConsolePage) -> None:
    page = console.go("/logs?status=Bounced")
    console.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("td.act summary").first.click()
    page.locator("td.act").first.get_by_role("link", name="Copy link").click()
    expect(page.locator("#status")).to_have_text("Link copied")
    assert re.search("/logs/[0-9a-f-]{36}$", page.evaluate("navigator.clipboard.readText()"))
    page.keyboard.press("c")
    expect(page.locator("body")).to_have_attribute("data-notice", "Link copied")


def test_by_keys_alone_a_message_is_found_and_left_again(console: ConsolePage) -> None:
    page = console.go("/logs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    page.keyboard.type("@gmial.com")
    page.keyboard.press("Enter")
    page.wait_for_url("**/logs?domain=gmial.com")
    page.get_by_label(re.compile("^Find by")).blur()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer.get_by_role("link", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page.locator("td.to a").first).to_be_focused()


def test_on_a_phone_the_drawer_covers_the_screen_and_menus_stay_within_it(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, width=390, accounts=["acme", "globex"])
    page = console.go("/logs?account=acme&status=Bounced")
    page.get_by_text("More", exact=True).click()
    box = page.locator(".menu.fields").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.get_by_text("More", exact=True).click()
    page.locator("table.log tbody tr").first.click()
    drawer = page.get_by_role("dialog", name="Message")
    expect(drawer).to_be_visible()
    covered = drawer.bounding_box()
    assert covered is not None
    assert (covered["x"], covered["y"], covered["width"]) == (0, 0, 390)
    drawer.get_by_role("link", name="Close").click()
    expect(drawer).to_be_hidden()
    console.assert_clean()
    console.close()


def test_on_a_phone_the_name_of_the_page_is_in_view(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, width=390)
    page = console.go("/health")
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Health")).to_be_in_viewport(ratio=0.9)
    console.close()


def test_pasted_lines_are_imported_after_a_check(console: ConsolePage) -> None:
    page = console.go("/suppressions/import")
    page.get_by_label("Or paste the lines").fill("address,reason\nzoe@acme.example,asked\n")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status").first).to_contain_text("1 line: 1 valid, 0 invalid")
    page.get_by_role("button", name="Import 1 address").click()
    expect(page.locator("main")).to_contain_text("1 address imported")


def test_all_of_it_works_without_javascript(chromium: Browser, base: str) -> None:
    console = ConsolePage(chromium, base, script=False)
    page = console.page
    page.get_by_label(re.compile("^Find by address")).fill(EVE)
    page.get_by_role("button", name="Search").first.click()
    page.wait_for_url("**/logs?address=**")
    console.go("/logs?limit=10")
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newer")).to_be_visible()
    page.get_by_role("link", name="Counts and chart").click()
    expect(page.locator("figure.chart figcaption")).to_contain_text("messages")
    console.go("/logs?status=Bounced")
    page.locator("td.to a").first.click()
    expect(page.get_by_role("dialog", name="Message")).to_be_visible()
    page.locator("iframe").scroll_into_view_if_needed()
    expect(page.frame_locator("iframe").get_by_role("heading", name="See you")).to_be_visible()
    page.get_by_role("link", name="Close").click()
    console.go("/bounces?suppressed=true")
    page.get_by_label(re.compile("^Select \\+1")).check()
    page.get_by_role("button", name="Release selected…").click()
    page.get_by_label("Reason").fill("a new phone")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    console.close()


def test_rows_are_34_pixels_high(console: ConsolePage) -> None:
    page = console.go("/logs")
    box = page.locator("table.log tbody tr").nth(3).bounding_box()
    assert box is not None
    assert round(box["height"]) == 34


def test_hostile_texts_do_not_run(console: ConsolePage, store: Store) -> None:
    clicked = [
        {"event": "processed"},
        {"event": "delivered", "response": HOSTILE},
        {"event": "click", "url": "javascript:document.title='stolen'", "useragent": HOSTILE, "ip": HOSTILE},
    ]
    hostile = Sent(90, "hostile@acme.example", HOSTILE, events=clicked, template=HOSTILE, cc=["cc@acme.example"])
    fill(store, [hostile])
    for path in ("/logs?q=dan%40acme.example", "/logs?q=hostile%40acme.example"):
        page = console.go(path)
        page.locator("td.to a").first.click()
        drawer = page.get_by_role("dialog", name="Message")
        expect(drawer).to_contain_text("onerror=alert(1)")
        expect(drawer.locator("img, script")).to_have_count(0)
        expect(page.locator("a[href^=javascript]")).to_have_count(0)
        assert "stolen" not in page.title()
    page = console.go(f"/logs?{urlencode({'subject': HOSTILE, 'type': HOSTILE})}")
    expect(page.locator(".pill").first).to_contain_text("onerror=alert(1)")
    expect(page.locator("table.log tbody tr")).to_have_count(1)
    assert "stolen" not in page.title()
