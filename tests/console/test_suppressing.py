"""The pages Bounced Emails and Suppressions: what they show, and who may suppress and release addresses."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from gateway.console.acts import MAX_ADDRESSES
from projections.store import Store
from tests.application.building import FakeKafka, records
from tests.console.building import HOSTILE, a_client, a_token, fill, fill_suppressions, log_of
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

SUPPORT, VIEWER, ALL = a_token("acme", role="support"), a_token("acme"), a_token("*", role="operator")
GUS, HAL, DAN = "email:gus@acme.example", "email:hal@acme.example", "email:dan@acme.example"


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, log_of("acme"))
        fill(store, log_of("globex"))
        fill_suppressions(store)
        fill_suppressions(store, "globex")
        yield store


async def get(store: Store, path: str, token: str = SUPPORT, status: int = 200) -> str:
    async with a_client(store, token) as client:
        answer = await client.get(path, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return unescape(answer.text)


async def post(store: Store, path: str, data: dict[str, Any], token: str = SUPPORT) -> tuple[int, str, FakeKafka]:
    kafka = FakeKafka()
    async with a_client(store, token, kafka) as client:
        answer = await client.post(path, data=data)
        return answer.status_code, unescape(answer.text), kafka


async def test_bounced_emails_show_why_and_what_to_do(store: Store) -> None:
    page = await get(store, "/bounces")
    for text in (
        "eve@gmial.com",
        "No such mailbox",
        "Check the spelling",
        "550 5.1.1 no such user here",
        "+14155550101",
    ):
        assert text in page
    assert "globex" not in page


async def test_bounces_are_filtered_and_exported(store: Store) -> None:
    assert "eve@gmial.com" not in await get(store, "/bounces?channel=sms")
    assert "dan@acme.example" not in await get(store, "/bounces?q=eve%40gmial.com")
    assert "+14155550101" in await get(store, "/bounces?suppressed=true")
    assert "`address` must be" in await get(store, "/bounces?q=nothing", status=400)
    assert len((await get(store, "/bounces/export")).splitlines()) == 4


async def test_bounced_emails_offer_no_time_that_has_ended_since_theirs_is_the_last_bounce(store: Store) -> None:
    page = await get(store, "/bounces")
    assert re.findall('<option value="(7|week|30)">', page) == ["7", "30"]


async def test_suppressions_are_listed_found_and_exported(store: Store) -> None:
    page = await get(store, "/suppressions")
    for text in ("gus@acme.example", "bounced too often", "marked as spam", "all accounts"):
        assert text in page
    assert "globex" not in page
    assert "gus@acme.example" not in await get(store, "/suppressions?reason=manual")
    assert "hal@acme.example" not in await get(store, "/suppressions?q=gus%40acme.example")
    assert len((await get(store, "/suppressions/export?reason=complaint")).splitlines()) == 2


async def test_an_address_has_its_evidence_and_its_history(store: Store) -> None:
    page = await get(store, "/suppressions/email/eve-acme@gmial.com")
    assert "asked by phone" in page
    assert "suppressed since" in page
    assert HOSTILE in page  # `get` unescapes the page
    await get(store, "/suppressions/email/eve-globex@gmial.com", status=404)
    await get(store, "/suppressions/email/nobody@nowhere.example", status=404)


@pytest.mark.parametrize("path", ["/bounces", "/suppressions/email/eve-acme@gmial.com"])
async def test_hostile_texts_are_escaped(store: Store, path: str) -> None:
    async with a_client(store, SUPPORT) as client:
        answer = await client.get(path)
    assert "<script>document" not in answer.text
    assert "&lt;script&gt;document" in answer.text


@pytest.mark.parametrize("path", ["/bounces", "/suppressions", "/suppressions/email/gus@acme.example"])
async def test_a_viewer_sees_no_button_that_would_fail(store: Store, path: str) -> None:
    assert re.search(r"/suppressions/(release|add|import)", await get(store, path))
    assert not re.search(r"/suppressions/(release|add|import)", await get(store, path, VIEWER))


async def test_where_no_address_is_suppressed_none_can_be_selected(store: Store) -> None:
    assert "Release selected" in await get(store, "/bounces?suppressed=true")
    assert "Release selected" not in await get(store, "/bounces?suppressed=false")


@pytest.mark.parametrize("path", ["add", "release", "opt-in", "import"])
async def test_a_viewer_may_change_nothing(store: Store, path: str) -> None:
    await get(store, f"/suppressions/{path}", VIEWER, status=403)
    status, _, kafka = await post(store, f"/suppressions/{path}", {"which": GUS, "reason": "x"}, VIEWER)
    assert (status, kafka.sent) == (403, [])


async def test_a_release_needs_a_reason_and_shows_its_effect(store: Store) -> None:
    form = await get(store, f"/suppressions/release?which={GUS}")
    assert "Bounces and complaints up to now no longer count" in form
    status, page, kafka = await post(store, "/suppressions/release", {"which": GUS, "reason": "rang her", "note": "17"})
    assert status == 200
    for text in (": released.", "Not sent meanwhile", "separate suppression list"):
        assert text in page
    [(key, command)] = records(kafka, "suppressions.commands")
    assert key == GUS
    fields = {name: command[name] for name in ("action", "scope", "actor", "reason", "note")}
    assert fields == {"action": "release", "scope": "acme", "actor": "ann.support", "reason": "rang her", "note": "17"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"which": GUS}, "Give a reason"),
        ({"reason": "x"}, "you may not release it"),
        ({"which": DAN, "reason": "x"}, "you may not release it"),
        ({"which": HAL, "reason": "x"}, "Type the address again"),
        ({"which": HAL, "reason": "x", "again": "hal@other.example"}, "Type the address again"),
        ({"which": [GUS, HAL], "reason": "x"}, "must be released alone"),
    ],
)
async def test_an_incomplete_form_is_shown_again_and_writes_nothing(
    store: Store, data: dict[str, Any], problem: str
) -> None:
    status, page, kafka = await post(store, "/suppressions/release", data)
    assert (status, kafka.sent) == (422, [])
    assert problem in page


async def test_more_addresses_than_one_form_may_have_are_refused_and_none_is_dropped(store: Store) -> None:
    which = [f"email:user{n}@example.com" for n in range(MAX_ADDRESSES + 1)]
    status, page, kafka = await post(store, "/suppressions/add", {"which": which, "reason": "x"})
    assert (status, kafka.sent) == (400, [])
    assert f"up to {MAX_ADDRESSES} at once" in page


async def test_a_complaint_is_released_once_the_address_is_typed_again(store: Store) -> None:
    data = {"which": HAL, "reason": "she asked", "again": "HAL@acme.example"}
    status, _, kafka = await post(store, "/suppressions/release", data)
    assert (status, len(kafka.sent)) == (200, 1)


async def test_many_are_released_at_once(store: Store) -> None:
    data = {"which": [GUS, "sms:+14155550101"], "reason": "moved"}
    _, _, kafka = await post(store, "/suppressions/release", data)
    assert [key for key, _ in records(kafka, "suppressions.commands")] == data["which"]


async def test_only_a_user_of_all_accounts_releases_for_all(store: Store) -> None:
    assert "Only a user of all accounts can release it" in await get(store, f"/suppressions/release?which={DAN}")
    _, _, kafka = await post(store, "/suppressions/release", {"which": DAN, "reason": "x", "scope": "*"}, ALL)
    assert records(kafka, "suppressions.commands")[0][1]["scope"] == "*"


async def test_the_scope_of_another_account_is_refused(store: Store) -> None:
    data = {"address": "zoe@acme.example", "reason": "x", "scope": "globex"}
    status, page, kafka = await post(store, "/suppressions/add", data)
    assert (status, kafka.sent) == (422, [])
    assert "No such account" in page


async def test_an_address_is_suppressed_by_hand(store: Store) -> None:
    _, page, kafka = await post(store, "/suppressions/add", {"address": "Zoe@acme.example", "reason": "asked"})
    assert ": suppressed." in page
    assert records(kafka, "suppressions.commands")[0][1]["action"] == "suppress"
    status, page, kafka = await post(store, "/suppressions/add", {"address": "no address", "reason": "asked"})
    assert (status, kafka.sent) == (422, [])
    assert "must be an email address" in page


async def test_a_failure_of_kafka_is_shown_beside_the_address(store: Store) -> None:
    kafka = FakeKafka()
    kafka.fails = True
    async with a_client(store, SUPPORT, kafka) as client:
        answer = await client.post("/suppressions/release", data={"which": GUS, "reason": "x"})
    assert "not confirmed by Kafka" in answer.text


async def test_a_form_of_another_site_releases_nothing(store: Store) -> None:
    kafka = FakeKafka()
    async with a_client(store, SUPPORT, kafka) as client:
        headers = {"sec-fetch-site": "cross-site"}
        answer = await client.post("/suppressions/release", data={"which": GUS, "reason": "x"}, headers=headers)
    assert (answer.status_code, kafka.sent) == (403, [])


async def test_a_file_is_checked_and_then_imported(store: Store) -> None:
    kafka = FakeKafka()
    async with a_client(store, SUPPORT, kafka) as client:

        async def send(step: str, text: str) -> str:
            file = {"file": ("held.csv", text.encode(), "text/csv")}
            return unescape((await client.post("/suppressions/import", data={"step": step}, files=file)).text)

        good = "address,reason\nzoe@acme.example,asked\n+14155550199,asked\n"
        page = await send("check", good)
        assert "2 lines: 2 valid, 0 invalid" in page
        assert "Import 2 addresses" in page
        assert kafka.sent == []
        wrong = await send("check", f"{good}nobody,\n")
        assert "3 lines: 2 valid, 1 invalid" in wrong
        assert "line 4" in wrong
        assert 'value="import"' not in wrong
        assert "line 4" in await send("import", f"{good}nobody,\n")
        assert kafka.sent == []
        assert "2 addresses imported" in await send("import", good)
    assert len(records(kafka, "suppressions.commands")) == 2


async def test_a_message_says_so_if_its_address_is_no_longer_suppressed(store: Store) -> None:
    [path] = re.findall(r'href="([^"]*)" data-drawer title="gus', await get(store, "/logs?q=gus%40acme.example"))
    assert "then release it" in await get(store, path)
    [email_id] = fill(store, [log_of("globex")[7]._replace(to="free@globex.example", minutes_ago=20)])
    assert "no longer suppressed" in await get(store, f"/logs/{email_id}", a_token("globex"))


async def test_a_message_leads_to_the_release_of_its_address(store: Store) -> None:
    log = await get(store, "/logs?q=gus%40acme.example")
    [path] = re.findall(r'href="([^"]*)" data-drawer title="gus', log)
    assert f"/suppressions/release?which={GUS}".replace("@", "%40") in await get(store, path)
    assert "/suppressions/release" not in await get(store, path, VIEWER)
