"""What the sender of docs/examples does with one decision, and how it reads a provider's response: without services."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from docs.examples import request_sends, sender
from docs.examples.sender import Content, Decision, KeysRefused, NotAccepted, SentStore, TryAgain, Unsure
from schemas.decoding.ids import message_id_or_blank, sent_at_us
from schemas.records import SendRequest
from tests.docs.generate import ROOT
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_message_id, a_token, records

EXAMPLES: Final = sorted((ROOT / "docs" / "examples").glob("*.py"))
OURS: Final = {"schemas", "projections", "processors", "application", "gateway", "cli", "simulator", "deploy", "tests"}


class Scripted:
    """A provider that answers each call with the next of `answers`."""

    name = "sendgrid"

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.calls = 0

    async def send(self, decision: Decision, content: Content) -> str:
        self.calls += 1
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def a_decision(**said: Any) -> dict[str, Any]:
    request = request_sends.reminder("acme", "ann@example.com", "c-17")
    ids = {name: request[name] for name in ("message_id", "account_id", "channel", "to")}
    return ids | {"outcome": "approved", "decided_at": request["requested_at"], "request": request} | said


def settings(store: Path, **said: Any) -> sender.Settings:
    return sender.Settings("", "", "", "", "", "hello@booking.example", "MG1", store, **said)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SentStore]:
    made = SentStore(tmp_path / "sent.sqlite")
    yield made
    made.close()


def a_sender(store: SentStore, provider: Scripted, **said: Any) -> sender.Sender:
    return sender.Sender(settings(Path(), **said), store, provider, provider, sleep=at_once)


async def at_once(_: float) -> None:
    """Wait for nothing."""


async def test_a_second_decision_about_a_message_calls_nobody_and_dispatches_the_same(store: SentStore) -> None:
    provider, decision = Scripted("sg-1"), a_decision()
    first, second = [await a_sender(store, provider).handle(decision) for _ in range(2)]
    assert first is not None
    assert first == second
    assert provider.calls == 1


async def test_a_call_that_was_not_answered_is_not_repeated(store: SentStore) -> None:
    provider, decision = Scripted(Unsure("timeout")), a_decision()
    assert [await a_sender(store, provider).handle(decision) for _ in range(2)] == [None, None]
    assert [one["message_id"] for one in store.unsure()] == [decision["message_id"]]
    assert provider.calls == 1


async def test_it_is_repeated_where_the_settings_say_so(store: SentStore) -> None:
    provider = Scripted(Unsure("timeout"), "sg-2")
    assert await a_sender(store, provider, resend_when_unsure=True).handle(a_decision())
    assert store.unsure() == []


async def test_a_call_that_was_certainly_not_taken_is_repeated(store: SentStore) -> None:
    assert await a_sender(store, Scripted(TryAgain("429"), TryAgain("503"), "sg-3")).handle(a_decision())


@pytest.mark.parametrize("error", [TryAgain("503"), KeysRefused("401")], ids=lambda error: type(error).__name__)
async def test_what_ends_the_program_leaves_no_note_so_that_the_message_is_sent_later(
    store: SentStore, error: Exception
) -> None:
    decision = a_decision()
    with pytest.raises(type(error)):
        await a_sender(store, Scripted(*[error] * sender.TRIES)).handle(decision)
    assert await a_sender(store, Scripted("sg-4")).handle(decision)


async def test_a_resend_that_fails_is_still_listed(store: SentStore) -> None:
    decision = a_decision()
    await a_sender(store, Scripted(Unsure("timeout"))).handle(decision)
    with pytest.raises(KeysRefused):
        await a_sender(store, Scripted(KeysRefused("401"))).call(decision, Content("x"))
    assert len(store.unsure()) == 1


async def test_what_the_provider_does_not_accept_is_not_offered_again(store: SentStore) -> None:
    provider, decision = Scripted(NotAccepted("400")), a_decision()
    assert [await a_sender(store, provider).handle(decision) for _ in range(2)] == [None, None]
    assert provider.calls == 1
    assert store.unsure() == []


async def test_without_an_id_of_the_provider_there_is_nothing_to_dispatch(store: SentStore) -> None:
    assert await a_sender(store, Scripted("")).handle(a_decision()) is None
    assert store.unsure() == []


async def test_a_template_that_fails_has_begun_nothing(store: SentStore) -> None:
    decision = a_decision(request={})
    with pytest.raises(KeyError):
        await a_sender(store, Scripted()).handle(decision)
    assert store.claim(decision)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, NotAccepted, id="the content is at fault"),
        pytest.param(401, KeysRefused, id="the key is wrong"),
        pytest.param(403, KeysRefused, id="the key may not send"),
        pytest.param(429, TryAgain, id="too many requests"),
        pytest.param(500, Unsure, id="it failed, maybe after it took the message"),
        pytest.param(503, TryAgain, id="not now"),
    ],
)
async def test_a_status_says_whether_the_provider_has_the_message(status: int, error: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text="why"))
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(error, match="why"):
            await sender.posted(http, "https://provider.example")


@pytest.mark.parametrize(
    ("raised", "error"), [(httpx.ConnectError, TryAgain), (httpx.ReadTimeout, Unsure), (httpx.ReadError, Unsure)]
)
async def test_only_a_failed_connection_is_certainly_not_taken(
    raised: type[httpx.TransportError], error: type[Exception]
) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise raised("away")

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as http:
        with pytest.raises(error):
            await sender.posted(http, "https://provider.example")


def test_an_unsubscribe_group_is_passed_on_if_it_is_one_of_sendgrid() -> None:
    def mail(group: object) -> dict[str, Any]:
        decision = a_decision()
        decision["request"]["template"] = decision["request"]["template"] | {"unsubscribe_group": group}
        return sender.sendgrid_mail(decision, Content("Hello", "<p>Hello</p>"), "hello@booking.example")

    assert [mail(group).get("asm") for group in ("17", 17, None, "weekly")] == [{"group_id": 17}] * 2 + [None] * 2
    assert [part["type"] for part in mail(None)["content"]] == ["text/plain", "text/html"], "SendGrid wants this order"


def test_a_message_id_is_one_of_ours() -> None:
    made = request_sends.new_message_id(1_760_175_000_123)
    assert message_id_or_blank(made) == made
    assert sent_at_us(made) == 1_760_175_000_123_000


def test_the_request_is_valid() -> None:
    SendRequest.model_validate(request_sends.reminder("acme", "ann@example.com", "c-17"))


async def test_requests_over_http_are_accepted_and_repeated_until_they_are() -> None:
    kafka, requests = FakeKafka(fails=True), [request_sends.reminder("acme", "ann@example.com", "c-17")]
    async with a_caller(kafka, a_token("acme")) as http:
        with pytest.raises(httpx.HTTPStatusError):
            await request_sends.request_over_http(http, requests, tries=2, sleep=at_once)
        kafka.fails = False
        (item,) = await request_sends.request_over_http(http, requests)
    assert item["message_id"] == requests[0]["message_id"] == records(kafka, "sends.requested")[-1][0]


async def test_a_request_that_is_at_fault_is_not_repeated() -> None:
    async with a_caller(FakeKafka(), a_token("acme")) as http:
        with pytest.raises(httpx.HTTPStatusError):
            await request_sends.request_over_http(http, [{"message_id": a_message_id()}])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_needs_nothing_of_ours(example: Path) -> None:
    tree = ast.parse(example.read_text(encoding="utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name.partition(".")[0] for name in named} & (OURS | {"docs"}) == set()
