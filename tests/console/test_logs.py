"""The pages Messaging Logs and one message: what they show, to whom, and how they fail."""

import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest

from gateway.console.charts import WIDTH
from gateway.console.words import label
from projections.messages.filters import STATUSES
from projections.store import Store
from schemas.decoding.times import SECOND_US
from schemas.errors import StoreError
from tests.console.building import HOSTILE, NOW_US, Sent, a_client, a_token, an_id, fill, fill_suppressions, log_of
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

ACME, GLOBEX = log_of("acme"), log_of("globex")
PART = {"x-partial": "1"}
HEADINGS = (*("Date Sent", "Status", "To address", "Type", "Subject", "Sent to", "CC address", "Email ID", "Actions"),)


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        fill(store, ACME)
        fill(store, GLOBEX)
        yield store


@pytest.fixture(scope="module")
def ids(store: Store) -> list[str]:
    return [an_id(sent, n) for n, sent in enumerate(ACME)]


async def get(store: Store, path: str, token: str | None = None, **headers: str) -> httpx.Response:
    async with a_client(store, token or a_token("acme")) as client:
        return await client.get(path, headers=headers, follow_redirects=True)


def addresses(answer: httpx.Response) -> list[str]:
    return [unescape(found) for found in re.findall(r'data-drawer title="([^"]*)"', answer.text)]


async def test_the_log_shows_the_last_seven_days_with_all_columns(store: Store) -> None:
    answer = await get(store, "/logs")
    assert answer.status_code == 200
    assert len(addresses(answer)) == 17
    for heading in HEADINGS:
        assert f">{heading}<" in answer.text


async def test_a_search_for_an_address_covers_all_time(store: Store) -> None:
    answer = await get(store, "/logs?q=Ann%40acme.example")
    assert str(answer.url).endswith("/logs?address=Ann%40acme.example")
    assert len(addresses(answer)) == 3
    assert "All time" in answer.text


async def test_a_form_leads_to_the_query_string_of_the_api(store: Store) -> None:
    answer = await get(store, "/logs?q=&period=&channel=sms&sent_to=&status=Bounced&subject=&type=")
    assert answer.url.query == b"channel=sms&status=Bounced"
    assert addresses(answer) == ["+14155550101"]


@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_is_a_filter_by_link(store: Store, status: str) -> None:
    answer = await get(store, f"/logs?status={status}")
    assert f"Status: {label(status)}" in answer.text
    found = set(re.findall(r'class="chip s-(\w+)"', answer.text))
    assert found == (set() if status == "Subscriptionchange" else {status})


async def test_a_link_filters_what_was_not_delivered(store: Store) -> None:
    page = await get(store, "/logs")
    [link] = re.findall(r'class="button quiet" href="([^"]*)" data-partial>Not delivered', page.text)
    answer = await get(store, unescape(link))
    assert len(addresses(answer)) == 10


async def test_paging_forward_and_back_shows_the_same_rows(store: Store) -> None:
    async with a_client(store, a_token("acme")) as client:
        pages, url = [], "/logs?limit=5"
        while url:
            page = await client.get(url)
            pages.append(addresses(page))
            url = unescape(next(iter(re.findall(r'href="([^"]*)" data-partial rel="next"', page.text)), ""))
        assert [len(page) for page in pages] == [5, 5, 5, 2]
        back = [pages[-1]]
        while url := unescape(next(iter(re.findall(r'href="([^"]*)" data-partial rel="prev"', page.text)), "")):
            page = await client.get(url)
            back.append(addresses(page))
    assert back == pages[::-1]


async def test_counts_are_a_separate_part_and_add_up(store: Store) -> None:
    rows = await get(store, "/logs", **PART)
    assert "Counting" in rows.text
    answer = await get(store, "/logs/counts", **PART)
    numbers = {name: int(n) for name, n in re.findall(r"</svg>([\w ]+) <b>(\d+)</b>", answer.text)}
    assert sum(numbers.values()) == 17
    assert numbers["Bounced"] == 3
    chosen = await get(store, "/logs/counts?status=Bounced", **PART)
    assert "<b>3</b> messages" in chosen.text


async def test_one_message_of_all_time_is_one_bar_of_a_week(store: Store, ids: list[str]) -> None:
    page = (await get(store, f"/logs/counts?email_id={ids[-1]}")).text
    [width] = re.findall(r'class="hit" x="[\d.]+" y="0" width="([\d.]+)"', page)
    assert float(width) < WIDTH / 7


async def test_events_of_several_days_have_their_dates(store: Store, ids: list[str]) -> None:
    def times(page: httpx.Response) -> set[str]:
        return set(re.findall(r"<time [^>]*(data-dated|data-clock)", page.text))

    assert times(await get(store, f"/logs/{ids[1]}")) == {"data-clock"}
    before_midnight = (NOW_US // SECOND_US % 86_400 + 1) / 60
    [id_] = fill(store, [Sent(before_midnight, "late@night.example", "x", events=[{"event": "open"}], account="night")])
    assert times(await get(store, f"/logs/{id_}", a_token("night"))) == {"data-dated"}


async def test_nothing_found_says_what_to_do(store: Store) -> None:
    answer = await get(store, "/logs?q=nobody%40nowhere.example")
    assert "No messages match" in answer.text
    assert "Clear filters" in answer.text


async def test_a_new_installation_says_so(clickhouse_url: str) -> None:
    with fresh_store(clickhouse_url) as empty:
        answer = await get(empty, "/logs")
        counts = await get(empty, "/logs/counts?from=1970-01-01")
    assert "No messages yet" in answer.text
    assert counts.status_code == 200


@pytest.mark.parametrize(
    "query", ["statuss=Bounced", "status=Lost", "from=yesterday", "limit=0", "cursor=AAAA", "address=none", "back=2"]
)
async def test_an_invalid_parameter_is_named_on_a_page(store: Store, query: str) -> None:
    answer = await get(store, f"/logs?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.text
    assert answer.headers["content-type"].startswith("text/html")


async def test_without_clickhouse_a_page_has_the_request_id() -> None:
    answer = await get(Store("http://127.0.0.1:1"), "/logs?status=Bounced")
    assert answer.status_code == 503
    assert answer.headers["request-id"] in answer.text
    assert 'href="/logs?status=Bounced">Try again' in answer.text
    assert "127.0.0.1" not in answer.text


async def test_an_error_of_the_user_has_no_request_id_since_the_log_does_not_have_it(store: Store) -> None:
    answer = await get(store, "/logs/unknown")
    assert answer.status_code == 404
    assert "Request id" not in answer.text


async def test_hostile_texts_are_escaped(store: Store, ids: list[str]) -> None:
    pages = [await get(store, path) for path in ("/logs", f"/logs/{ids[4]}", f"/logs/{ids[4]}?status=Bounced")]
    for page in [*pages, await get(store, f"/logs?subject={HOSTILE}")]:
        assert "<script>document" not in page.text
        assert "<img" not in page.text
    for page in pages:
        assert "&lt;script&gt;document" in page.text


async def test_a_message_has_its_own_page(store: Store, ids: list[str]) -> None:
    answer = await get(store, f"/logs/{ids[5]}")
    for text in (
        "this mailbox does not exist",
        "Check the spelling",
        "eve@gmail.com",
        "550 5.1.1 no such user here",
        "1 message to it bounced",
        "1 of 3 bounces in 30 days that would suppress it, counting only your messages.",
        "Why this status",
        "highest rank",
        f'sandbox src="/logs/{ids[5]}/preview"',
    ):
        assert text in unescape(answer.text), text
    assert 'id="drawer"' not in answer.text


async def test_with_filters_a_message_is_beside_its_list(store: Store, ids: list[str]) -> None:
    answer = await get(store, f"/logs/{ids[5]}?status=Bounced")
    assert '<dialog id="drawer" aria-label="Message" open>' in answer.text
    assert len(addresses(answer)) == 3
    assert 'href="/logs?status=Bounced" data-close' in answer.text


async def test_beside_its_list_a_message_links_to_those_around_it(store: Store, ids: list[str]) -> None:
    answer = await get(store, f"/logs/{ids[5]}?status=Bounced")
    steps = re.findall(r'href="([^"]*)" data-step="([^"]*)" aria-label="([^"]*)"', answer.text)
    assert steps == [
        (f"/logs/{ids[4]}?status=Bounced", "-1", "Previous message"),
        (f"/logs/{ids[15]}?status=Bounced", "1", "Next message"),
    ]
    last = await get(store, f"/logs/{ids[15]}?status=Bounced")
    assert re.findall(r'<a [^>]*data-step="([^"]*)"', last.text) == ["-1"]


async def test_bounces_before_a_release_do_not_count(clickhouse_url: str) -> None:
    with fresh_store(clickhouse_url) as store:
        [message] = fill(store, [ACME[5]])
        fill_suppressions(store, released=[ACME[5].to])
        answer = await get(store, f"/logs/{message}")
    assert "not suppressed; no bounce of your messages counts against it" in answer.text


async def test_only_a_session_of_all_accounts_knows_of_all_bounces(
    store: Store, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all = a_token("*")
    path = f"/logs/{ids[5]}?account=acme"
    assert re.search(r"\d of 3 bounces in 30 days that would suppress it\.", (await get(store, path, of_all)).text)

    def fails(*_: object, **__: object) -> int:
        raise StoreError("ClickHouse did not answer in time", "a read", "See what it is busy with")

    monkeypatch.setattr("gateway.console.message.read_counted_bounces", fails)
    text = (await get(store, path, of_all)).text
    assert "not suppressed." in text
    assert "counts against it" not in text


async def test_bounces_that_the_address_did_not_cause_do_not_count(store: Store) -> None:
    events = [{"event": "bounce", "type": "blocked", "status": "5.7.1", "reason": "550 5.7.1 refused"}]
    [message] = fill(store, [ACME[5]._replace(to="once@acme.example", minutes_ago=50_000, events=events)])
    assert "no bounce of your messages counts against it" in (await get(store, f"/logs/{message}")).text


async def test_the_types_of_messages_come_with_the_counts(store: Store) -> None:
    answer = await get(store, "/logs/counts?type=Text+reminder", **PART)
    [types] = re.findall(r'<datalist id="types">(.*?)</datalist>', answer.text)
    assert re.findall(r'value="([^"]*)">[^<]*\((\d+)\)', types) == [
        ("Appointment reminder", "16"),
        ("Text reminder", "1"),
    ]
    chosen = await get(store, "/logs?type=Text+reminder")
    assert addresses(chosen) == ["+14155550100"]
    assert "<option selected>Text reminder</option>" in chosen.text


async def test_the_accounts_of_a_session_are_suggested(store: Store) -> None:
    of_all = await get(store, "/accounts?q=CM", a_token("*"), **PART)
    assert of_all.text.split() == ["<option", 'value="acme"></option>']
    own = await get(store, "/accounts", a_token("acme", "nobody"))
    assert re.findall(r'href="/logs\?account=([^"]*)"', own.text) == ["acme", "nobody"]


async def test_a_list_of_all_accounts_says_whose_a_message_is(store: Store) -> None:
    of_all = await get(store, "/logs", a_token("acme", "globex"))
    assert '<td class="account" title="globex">' in of_all.text
    one = await get(store, "/logs?account=globex", a_token("acme", "globex"))
    assert '<td class="account"' not in one.text


@pytest.mark.parametrize("path", ["/logs", "/bounces", "/suppressions", "/delivery", "/health"])
async def test_every_page_has_the_account_picker(store: Store, path: str) -> None:
    assert 'name="account"' not in (await get(store, path)).text
    assert '<select name="account" id="account" form="filters">' in (await get(store, path, a_token("acme", "x"))).text
    of_all = await get(store, f"{path}?account=acme", a_token("*"))
    assert re.search(r'<input name="account" id="account" form="filters" [^>]*value="acme"', of_all.text)
    assert '<form class="filters" id="filters"' in of_all.text or '<form id="filters"' in of_all.text


async def test_a_part_has_only_the_message(store: Store, ids: list[str]) -> None:
    answer = await get(store, f"/logs/{ids[5]}?status=Bounced", **PART)
    assert answer.text.lstrip().startswith("<article")


async def test_the_preview_is_sandboxed(store: Store, ids: list[str]) -> None:
    answer = await get(store, f"/logs/{ids[1]}/preview")
    assert "Tomorrow at ten" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "x-frame-options" not in answer.headers


async def test_the_export_has_the_filters_of_the_list(store: Store) -> None:
    answer = await get(store, "/logs/export?status=Bounced")
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.text.splitlines()) == 4


@pytest.mark.parametrize("path", ["/logs?account=globex", "/logs/counts?account=globex", "/logs/export?account=globex"])
async def test_another_account_is_answered_like_an_unknown_one(store: Store, path: str) -> None:
    there, nowhere = await get(store, path), await get(store, path.replace("globex", "nobody"))
    assert there.status_code == nowhere.status_code == 404


@pytest.mark.parametrize("path", ["/logs", "/logs?q=eve%40gmial.com", "/logs/counts", "/logs/export"])
async def test_no_page_of_one_account_shows_another(store: Store, path: str) -> None:
    answer = await get(store, path)
    assert answer.status_code == 200
    assert "globex" not in answer.text


async def test_a_message_of_another_account_is_not_found(store: Store) -> None:
    with_own = [sent._replace(account="initech", minutes_ago=1234 + n) for n, sent in enumerate(ACME[:1])]
    [theirs] = fill(store, with_own)
    for path in (f"/logs/{theirs}", f"/logs/{theirs}?status=Pending", f"/logs/{theirs}/preview"):
        assert (await get(store, path)).status_code == 404
        assert (await get(store, path, a_token("initech"))).status_code == 200
    assert (await get(store, "/logs/no-id")).status_code == 404


async def test_a_session_of_several_accounts_shows_all_until_one_is_chosen(store: Store) -> None:
    answer = await get(store, "/logs?limit=500", a_token("acme", "globex"))
    assert answer.url.params["account"] == "*"
    assert len(addresses(answer)) == 34
    one = await get(store, "/logs?account=globex", a_token("acme", "globex"))
    assert len(addresses(one)) == 17


async def test_an_id_that_accounts_share_requires_an_account(store: Store, ids: list[str]) -> None:
    answer = await get(store, f"/logs/{ids[0]}", a_token("*"))
    assert answer.status_code == 400
    assert "Several accounts share this id" in answer.text
    assert (await get(store, f"/logs/{ids[0]}?account=acme", a_token("*"))).status_code == 200


async def test_the_first_page_is_small(store: Store) -> None:
    async with (
        a_client(store, a_token("acme")) as client,
        client.stream("GET", "/logs", headers={"accept-encoding": "gzip"}) as answer,
    ):
        sent = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert len(sent) < 20_000
