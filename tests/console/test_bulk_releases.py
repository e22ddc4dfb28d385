"""The pages of bulk releases: who sees them, what they show before anything is done, and what was done."""

import re
from collections.abc import Iterator, Mapping
from html import unescape

import httpx
import pytest
from playwright.sync_api import Browser, expect

from gateway import bulk_releaser as module
from projections.store import Store
from schemas.decoding.ids import uuid7
from tests.application.building import FakeKafka, records
from tests.console.building import (
    BULK_ID,
    HOSTILE,
    a_client,
    a_token,
    fill,
    fill_bulk_release,
    fill_suppressions,
    log_of,
)
from tests.console.serving import ConsolePage, a_server
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

PATH = "/bulk-releases"
OPERATOR, OF_ACME = a_token("*", role="operator"), a_token("acme", role="operator")
OTHERS = [a_token("*", role="support"), a_token("*"), a_token("acme")]
DOMAIN = f"{PATH}/preview?domain=acme.example"
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    """Dan is suppressed for all, gus of globex by globex; gus of acme was released in bulk."""
    with fresh_store(clickhouse_url) as store:
        for account in ("acme", "globex"):
            fill(store, log_of(account))
            fill_suppressions(store, account)
        fill_bulk_release(store)
        yield store


async def get(store: Store, path: str, token: str = OPERATOR, status: int = 200) -> str:
    async with a_client(store, token) as client:
        answer = await client.get(path, follow_redirects=True)
    assert answer.status_code == status, answer.text
    return unescape(answer.text)


async def post(
    store: Store, path: str, data: Mapping[str, str], kafka: FakeKafka, token: str = OPERATOR
) -> httpx.Response:
    async with a_client(store, token, kafka) as client:
        return await client.post(f"{PATH}{path}", data=dict(data))


def form_of(page: str) -> dict[str, str]:
    """The hidden fields of the form of a page."""
    return {name: unescape(value) for name, value in HIDDEN.findall(page)}


async def test_suppressions_leads_to_it_but_for_an_operator_alone(store: Store) -> None:
    assert f'href="{PATH}"' in await get(store, "/suppressions")
    assert f'href="{PATH}"' in await get(store, "/suppressions", OF_ACME)
    for token in OTHERS:
        assert PATH not in await get(store, "/suppressions", token)


@pytest.mark.parametrize("token", OTHERS)
async def test_nobody_else_may_do_anything(store: Store, token: str) -> None:
    kafka = FakeKafka()
    for path in (PATH, DOMAIN, f"{PATH}/{BULK_ID}/undo", f"{PATH}/{BULK_ID}/refused"):
        await get(store, path, token, 403)
    for path in ("/release", f"/{BULK_ID}/undo"):
        answer = await post(store, path, {"domain": "acme.example", "reason": "x"}, kafka, token)
        assert answer.status_code == 403
    assert kafka.sent == []


async def test_a_form_of_another_site_is_refused(store: Store) -> None:
    kafka = FakeKafka()
    async with a_client(store, OPERATOR, kafka) as client:
        for path in ("release", f"{BULK_ID}/undo"):
            data = {"domain": "acme.example", "reason": "x"}
            answer = await client.post(f"{PATH}/{path}", data=data, headers={"sec-fetch-site": "cross-site"})
            assert answer.status_code == 403
    assert kafka.sent == []


async def test_a_preview_shows_how_many_and_some_of_them(store: Store) -> None:
    page = await get(store, f"{DOMAIN}&with_reason=bounces&from=2020-01-01T00:00&to=")
    assert "<b>1 address</b> would be released" in page
    assert "dan@acme.example" in page
    assert "separate suppression list" in page
    assert form_of(page).keys() == {"domain", "with_reason", "from", "id"}


async def test_a_release_says_what_it_did_and_what_not(store: Store) -> None:
    kafka = FakeKafka()
    form = form_of(await get(store, DOMAIN))
    answer = await post(store, "/release", form | {"reason": "their outage"}, kafka)
    page = unescape(answer.text)
    assert (answer.status_code, "<b>1 address</b> released" in page) == (200, True)
    for text in ("not sent now", "own suppression list was not changed", f"{PATH}/{form['id']}/refused"):
        assert text in page
    [(key, command)] = records(kafka, "suppressions.commands")
    assert key == "email:dan@acme.example"
    fields = {name: command[name] for name in ("action", "scope", "actor", "reason", "note")}
    assert fields == {
        "action": "release",
        "scope": "*",
        "actor": "ann.support",
        "reason": "their outage",
        "note": "bulk release: domain acme.example",
    }
    await post(store, "/release", form | {"reason": "their outage"}, kafka)
    assert kafka.sent[0].value == kafka.sent[1].value


@pytest.mark.parametrize("reason", ["", " ", "x" * 1_001])
async def test_nothing_is_done_without_a_reason(store: Store, reason: str) -> None:
    kafka = FakeKafka()
    form = form_of(await get(store, DOMAIN))
    for path in ("/release", f"/{BULK_ID}/undo"):
        answer = await post(store, path, form | {"reason": reason}, kafka)
        assert (answer.status_code, "Give a reason of up to 1,000 characters" in unescape(answer.text)) == (422, True)
        assert "id" not in form_of(answer.text) or form_of(answer.text) == form
    assert kafka.sent == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", "give at least one of"),
        ("account=acme", "an account alone is no cause"),
        ("domain=%25", "must be a whole domain"),
        ("from=soon", "must be a time like"),
        ("from=2026-11-30T00:00&to=2026-11-29T00:00", "must not be after"),
        ("domain=acme.example&with_reason=complaint", "must be bounces or manual or provider"),
        ("with_reason=manual&code=550", "have no code"),
        ("domain=acme.example&account=a%20b", "No such account"),
    ],
)
async def test_conditions_that_can_not_be_are_refused_and_kept_in_the_form(
    store: Store, query: str, problem: str
) -> None:
    page = await get(store, f"{PATH}/preview?{query}", status=422)
    assert problem in page
    if "domain=acme" in query:
        assert 'value="acme.example"' in page


async def test_hostile_texts_are_escaped(store: Store) -> None:
    async with a_client(store, OPERATOR) as client:
        for path, params in (
            (PATH, {}),
            (f"{PATH}/preview", {"text": HOSTILE}),
            (f"{PATH}/preview", {"domain": HOSTILE, "text": HOSTILE}),
        ):
            answer = await client.get(path, params=params)
            assert "<script>document" not in answer.text
            assert "&lt;script&gt;document" in answer.text


async def test_the_id_of_another_preview_is_refused(store: Store) -> None:
    kafka = FakeKafka()
    form = form_of(await get(store, DOMAIN))
    answer = await post(store, "/release", form | {"domain": "gmial.com", "reason": "x"}, kafka)
    assert (answer.status_code, "not the id of a preview" in answer.text, kafka.sent) == (422, True, [])


async def test_what_takes_long_is_done_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_RELEASED", 1)
    monkeypatch.setattr(module, "MAX_RELEASED", 1)
    kafka = FakeKafka()
    form = form_of(await get(store, f"{PATH}/preview?from=2020-01-01T00:00"))
    answer = await post(store, "/release", form | {"reason": "their outage"}, kafka)
    titles = [re.findall("<h1>(.*)</h1>", answer.text)[0]]
    while "Go on" in answer.text:
        answer = await post(store, "/release", form_of(answer.text), kafka)
        titles += re.findall("<h1>(.*)</h1>", answer.text)
    assert titles == ["Done in part", "Done in part", "Nothing was done"]
    assert [key for key, _ in records(kafka, "suppressions.commands")] == [
        "email:dan@acme.example",
        "email:gus@globex.example",
    ]


async def test_if_kafka_fails_the_page_has_the_form_to_do_it_again(store: Store) -> None:
    kafka = FakeKafka()
    kafka.fails = True
    form = form_of(await get(store, DOMAIN))
    answer = await post(store, "/release", form | {"reason": "their outage"}, kafka)
    assert (answer.status_code, "Kafka does not answer" in answer.text) == (503, True)
    kafka.fails = False
    again = form_of(answer.text)
    assert again == form | {"reason": "their outage"}
    assert "1 address</b> released" in (await post(store, "/release", again, kafka)).text


async def test_past_bulk_releases_are_listed_with_undo(store: Store) -> None:
    page = await get(store, PATH)
    assert "their outage" in page
    for path in ("undo", "refused"):
        assert f"{PATH}/{BULK_ID}/{path}" in page
    older = await get(store, f"{PATH}?limit=1")
    assert "Next" not in older


async def test_an_undo_is_previewed_and_done_with_a_reason(store: Store) -> None:
    kafka = FakeKafka()
    page = await get(store, f"{PATH}/{BULK_ID}/undo")
    assert "<b>1 address</b> would be suppressed again" in page
    assert "gus@acme.example" in page
    answer = await post(store, f"/{BULK_ID}/undo", {"reason": "the wrong domain"}, kafka)
    assert "<b>1 address</b> suppressed again" in answer.text
    [(_, command)] = records(kafka, "suppressions.commands")
    fields = {name: command[name] for name in ("action", "scope", "actor", "reason")}
    assert fields == {"action": "suppress", "scope": "acme", "actor": "ann.support", "reason": "the wrong domain"}


async def test_refused_messages_are_shown_and_exported(store: Store) -> None:
    page = await get(store, f"{PATH}/{BULK_ID}/refused")
    assert "gus@acme.example" in page
    assert "hal@acme.example" not in page
    [path] = re.findall(rf'href="({PATH}/[^"]*export[^"]*)"', page)
    assert len((await get(store, path)).splitlines()) == 2
    assert "No refused messages" in await get(store, f"{PATH}/{BULK_ID}/refused?account=globex")


@pytest.mark.parametrize("path", ["undo", "refused", "refused/export"])
async def test_what_is_no_bulk_release_is_not_found(store: Store, path: str) -> None:
    await get(store, f"{PATH}/{uuid7(0, b'0' * 10)}/{path}", status=404)
    await get(store, f"{PATH}/none/{path}", status=400)


async def test_an_operator_of_an_account_sees_and_releases_its_own_alone(store: Store) -> None:
    kafka = FakeKafka()
    assert "There is nothing to release" in await get(store, DOMAIN, OF_ACME), "dan's is platform-wide"
    assert "takes a user of all accounts" in await get(store, PATH, OF_ACME)
    assert "their outage" in await get(store, PATH, OF_ACME)
    of_globex = a_token("globex", role="operator")
    assert "their outage" not in await get(store, PATH, of_globex)
    form = form_of(await get(store, f"{PATH}/preview?from=2020-01-01T00:00", of_globex))
    await post(store, "/release", form | {"reason": "x"}, kafka, of_globex)
    assert [command["scope"] for _, command in records(kafka, "suppressions.commands")] == ["globex"]
    await get(store, f"{PATH}/{BULK_ID}/undo", of_globex, 404)
    await get(store, f"{PATH}/{BULK_ID}/refused", of_globex, 404)


async def test_without_clickhouse_the_pages_say_so() -> None:
    nowhere = Store("http://127.0.0.1:1")
    for path in (PATH, DOMAIN, f"{PATH}/{BULK_ID}/undo", f"{PATH}/{BULK_ID}/refused"):
        assert "ClickHouse does not answer" in await get(nowhere, path, status=503)


@pytest.mark.browser
def test_on_a_phone_without_scripts_a_wave_is_released(chromium: Browser, store: Store) -> None:
    with a_server(store) as base:
        console = ConsolePage(chromium, base, role="operator", accounts=["*"], script=False, width=390, dark=True)
        page = console.go("/suppressions")
        page.get_by_role("link", name="Release in bulk…").click()
        page.get_by_label("Domain").fill("acme.example")
        page.get_by_label("Suppressed from").fill("2020-01-01T00:00")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_text("would be released")).to_contain_text("1 address")
        page.get_by_label("Reason").fill("their outage")
        page.get_by_role("button", name="Release").click()
        expect(page.get_by_role("heading", name="Done")).to_be_visible()
        page.get_by_role("link", name="Bulk releases").click()
        page.get_by_role("link", name="Undo…").click()
        page.get_by_label("Reason").fill("the wrong domain")
        page.get_by_role("button", name="Suppress again").click()
        expect(page.get_by_text("suppressed again")).to_contain_text("1 address")
        page.get_by_role("link", name="Bulk releases").click()
        page.get_by_role("link", name="Refused messages").click()
        expect(page.get_by_role("link", name="gus@acme.example")).to_be_visible()
        assert console.other_requests == []
        console.close()
