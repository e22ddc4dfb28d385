"""Suppress, release, opt in: the command that is in the log, for a scope that somebody has, and how it was before."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from application.current_state import CurrentState
from application.suppressing import command_of, give
from application.suppression_commands import Action, channel_of
from schemas.errors import RequestError
from schemas.gate_facts import decode_command
from tests.application.building import NOW_US, NOWHERE, FakeKafka, a_principal, records, unanswered
from tests.building import a_place

ASKED = {"channel": "email", "address": "Ann@Example.com", "reason": "she asked by phone"}
TOPIC = "suppressions.commands"


@pytest.mark.parametrize("action", ["suppress", "release", "opt_in"])
async def test_the_command_is_in_the_log_with_who_gave_it(action: Action) -> None:
    kafka = FakeKafka()
    made = command_of(ASKED, action, a_principal("*"), NOW_US)
    before = await give(kafka, NOWHERE, made, unanswered)
    [(key, command)] = records(kafka, TOPIC)
    assert (key, command["action"], command["scope"], command["actor"]) == ("email:ann@example.com", action, "*", "jo")
    assert kafka.sent[0][3] == {"actor": b"jo"}
    assert decode_command(orjson.dumps(command), a_place(received_us=NOW_US)).action == action
    assert before == CurrentState(), "a store that is away delays no command"


async def test_how_it_was_is_told_where_the_tables_say_so() -> None:
    async def suppressed(_: Callable[..., Any], *__: object) -> Any:
        return CurrentState(was_suppressed=True)

    before = await give(FakeKafka(), NOWHERE, command_of(ASKED, "release", a_principal("*"), NOW_US), suppressed)
    assert (before.was_suppressed, before.effect("release")) == (True, "Releases the address")


@pytest.mark.parametrize(
    ("accounts", "given", "scope"),
    [
        pytest.param(["*"], None, "*", id="all, for who acts for all"),
        pytest.param(["acme"], None, "acme", id="the only account"),
        pytest.param(["acme", "globex"], "globex", "globex", id="one of several"),
        pytest.param(["*"], "globex", "globex", id="any, for who acts for all"),
    ],
)
def test_a_scope_that_is_left_out_follows_from_who_asks(accounts: list[str], given: str | None, scope: str) -> None:
    made = command_of(ASKED | {"scope": given}, "suppress", a_principal(*accounts), NOW_US)
    assert made.command.scope == scope


@pytest.mark.parametrize(
    ("accounts", "scope", "code"),
    [
        pytest.param(["acme"], "*", "scope-not-allowed", id="the whole platform"),
        pytest.param(["acme"], "globex", "no-such-account", id="another account"),
        pytest.param(["acme", "globex"], None, "invalid-body", id="one of several is to be named"),
        pytest.param(["acme"], "a b", "invalid-body", id="no account id"),
    ],
)
def test_a_scope_that_somebody_does_not_have_is_refused(accounts: list[str], scope: str | None, code: str) -> None:
    with pytest.raises(RequestError) as raised:
        command_of(ASKED | {"scope": scope}, "suppress", a_principal(*accounts), NOW_US)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("address", "channel"),
    [
        ("+14155550100", "sms"),
        (" (415) 555-0100", "sms"),
        ("whatsapp:+14155550100", "sms"),
        ("RCS:+14155550100", "sms"),
        ("tel: +14155550100", "sms"),
        ("sms:+14155550100", "sms"),
        ("sms@example.com", "email"),
        ("1ann@example.com", "email"),
    ],
)
def test_the_channel_is_told_from_the_address_where_it_is_left_out(address: str, channel: str) -> None:
    assert channel_of(address) == channel
