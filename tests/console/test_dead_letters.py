"""The pages of dead letters: what they show of hostile bytes, and what an operator does with them."""

from collections.abc import Mapping, Sequence
from html import unescape

import pytest
from playwright.sync_api import Browser, expect

from application.dead_letters import MAX_LETTERS
from gateway.console.dead_letters import MAX_SHOWN_BYTES, readable
from projections.store import Store
from tests.console.building import HOSTILE, a_client, a_token
from tests.console.serving import ConsolePage, a_server
from tests.letters import FakeLetterTopics

OPERATOR = a_token("*", role="operator")
PATH = "/health/dead-letters"
PATHS = [f"{PATH}/0:0", f"{PATH}/act/redrive?letter=0:0", f"{PATH}/act/discard?all=1"]


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> FakeLetterTopics:
    return FakeLetterTopics().install(monkeypatch)


async def get(path: str, token: str = OPERATOR, status: int = 200) -> str:
    async with a_client(None, token) as client:
        answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


async def post(act: str, data: Mapping[str, str | Sequence[str]], status: int = 200, token: str = OPERATOR) -> str:
    async with a_client(None, token) as client:
        answer = await client.post(f"{PATH}/act/{act}", data=dict(data))
    assert answer.status_code == status, answer.text
    return unescape(answer.text)


async def test_a_letter_is_shown_with_its_bytes_and_nothing_of_it_is_run(letters: FakeLetterTopics) -> None:
    headers = [(HOSTILE, HOSTILE.encode())]
    id_ = letters.park(HOSTILE.encode() + b"\x00\xff", detail=HOSTILE, key=HOSTILE.encode(), headers=headers)
    text = await get(f"{PATH}/{id_}")
    assert HOSTILE not in text
    shown = unescape(text)
    assert shown.count(HOSTILE) == 5
    assert f"{HOSTILE}\\x00\\xff" in shown
    assert "rejected: record_not_json" in shown
    assert f"{PATH}/act/redrive?letter={id_}" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a\n\tb", "a\n\tb"),
        (b"\x00\x1b[31m", r"\x00\x1b[31m"),
        ("é\u202eb".encode(), r"é\u202eb"),
        (b"\xff", r"\xff"),
        (b"x" * (MAX_SHOWN_BYTES + 1), "x" * MAX_SHOWN_BYTES),
    ],
)
def test_what_can_not_be_seen_is_escaped(value: bytes, text: str) -> None:
    assert readable(value) == text


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [a_token("acme", role="operator"), a_token("*", role="support"), a_token("*")])
async def test_only_an_operator_of_all_accounts_sees_them(path: str, token: str) -> None:
    await get(path, token, 403)


@pytest.mark.parametrize("token", [a_token("acme", role="operator"), a_token("*", role="support"), a_token("*")])
async def test_only_an_operator_of_all_accounts_acts(letters: FakeLetterTopics, token: str) -> None:
    letters.park(b"a")
    for act in ("redrive", "discard"):
        await post(act, {"all": "1", "reason": "x"}, 403, token)
    assert letters.notes == []


async def test_a_form_of_another_site_is_refused(letters: FakeLetterTopics) -> None:
    letters.park(b"a")
    async with a_client(None, OPERATOR) as client:
        answer = await client.post(f"{PATH}/act/redrive", data={"all": "1"}, headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, letters.notes) == (403, [])


async def test_the_form_says_what_would_be_done_and_changes_nothing(letters: FakeLetterTopics) -> None:
    a, b, c = letters.park(b"a", reason="r"), letters.park(b"b", topic="somebody.else", reason="r"), letters.park(b"c")
    text = await get(f"{PATH}/act/redrive?with_reason=r")
    assert "These would be sent back" in text
    assert (f">{a}</a>" in text, f">{c}</a>" in text) == (True, False)
    assert f">{b}</a>: can&#39;t be sent back: it names no topic of ours" in text
    assert "r, somebody.else" in text, "which letter that is"
    assert '<input type="hidden" name="with_reason" value="r">' in text
    assert letters.notes == []


async def test_letters_are_sent_back_once_and_the_page_says_what_was_not_done(letters: FakeLetterTopics) -> None:
    id_ = letters.park(b"a")
    text = await post("redrive", {"letter": [id_, "0:7"]})
    assert "1 letter sent back:" in text
    assert ">0:7</a>: there is no such letter" in text
    again = await post("redrive", {"letter": id_})
    assert "Nothing was done" in again
    assert f">{id_}</a>: nothing to do: redriven by ann.support at" in again
    assert (letters.sent_back(), [note.actor for note in letters.notes]) == ([b"a"], ["ann.support"])
    shown = await get(f"{PATH}/{id_}")
    assert "redriven by ann.support at" in shown
    assert "/act/redrive" not in shown


async def test_of_many_a_part_is_done_and_the_page_leads_on(letters: FakeLetterTopics) -> None:
    for number in range(MAX_LETTERS + 1):
        letters.park(b"%d" % number, reason="r")
    text = await post("discard", {"with_reason": "r", "reason": "a test"})
    assert "100 letters discarded:" in text
    assert "1 more letter is left" in text
    assert f'href="{PATH}/act/discard?with_reason=r">Go on…' in text


@pytest.mark.parametrize("reason", ["", " ", "x" * 1_001])
async def test_nothing_is_discarded_without_a_reason(letters: FakeLetterTopics, reason: str) -> None:
    id_ = letters.park(b"a")
    text = await post("discard", {"letter": id_, "reason": reason}, 422)
    assert "Give a reason of up to 1,000 characters" in text
    assert f'name="letter" value="{id_}"' in text
    assert letters.notes == []
    assert "1 letter discarded:" in await post("discard", {"letter": id_, "reason": "a test"})
    assert [note.reason for note in letters.notes] == ["a test"]


@pytest.mark.parametrize("data", [{}, {"letter": "x"}, {"all": "1", "letter": "0:0"}])
async def test_a_form_that_names_no_letters_is_refused(letters: FakeLetterTopics, data: dict[str, str]) -> None:
    letters.park(b"a")
    await post("redrive", data, 422)
    assert letters.notes == []


@pytest.mark.parametrize("path", PATHS)
async def test_without_kafka_the_pages_say_so(path: str) -> None:
    page = await get(path, status=503)
    assert "Kafka does not answer" in page
    assert "Nothing was changed" in page


@pytest.mark.browser
def test_in_a_browser_without_scripts_a_letter_is_discarded_and_another_redriven(
    chromium: Browser, letters: FakeLetterTopics
) -> None:
    first, second = letters.park(HOSTILE.encode()), letters.park(b"b")
    with a_server(Store("http://127.0.0.1:1")) as base:
        console = ConsolePage(chromium, base, role="operator", accounts=["*"], script=False)
        page = console.go(f"{PATH}/{first}")
        expect(page.locator("pre").nth(1)).to_have_text(HOSTILE)
        page.get_by_role("link", name="Discard…").click()
        page.get_by_label("Reason").fill("a test")
        page.get_by_role("button", name="Discard").click()
        expect(page.get_by_role("heading", name="Done")).to_be_visible()
        page.get_by_role("link", name=first).click()
        expect(page.get_by_text("discarded by ann.support")).to_be_visible()
        expect(page.get_by_role("link", name="Redrive…")).to_have_count(0)
        page = console.go(f"{PATH}/{second}")
        page.get_by_role("link", name="Redrive…").click()
        page.get_by_role("button", name="Redrive").click()
        expect(page.get_by_text("1 letter sent back:")).to_be_visible()
        assert console.other_requests == []
        console.close()
    assert ([note.action for note in letters.notes], letters.sent_back()) == (["discarded", "redriven"], [b"b"])
