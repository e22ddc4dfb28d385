"""Suppress, release, opt in: the command in Kafka, the scopes of a principal, and the state before the command."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from application.current_state import CurrentState
from application.suppressing import command_for, submit_command
from application.suppression_commands import Action, channel_of
from schemas.decoding.gate_inputs import decode_command
from schemas.errors import RequestError
from tests.application.building import NOW_US, NOWHERE, FakeKafka, a_principal, records, unanswered
from tests.building import a_source_position

ASKED = {"channel": "email", "address": "Ann@Example.com", "reason": "she asked by phone"}
TOPIC = "suppressions.commands"


@pytest.mark.parametrize("action", ["suppress", "release", "opt_in"])
async def test_the_command_is_in_the_log_with_who_gave_it(action: Action) -> None:
    kafka = FakeKafka()
    made = command_for(ASKED, action, a_principal("*"), NOW_US)
    before = await submit_command(kafka, NOWHERE, made, unanswered)
    [(key, command)] = records(kafka, TOPIC)
    assert (key, command["action"], command["scope"], command["actor"]) == ("email:ann@example.com", action, "*", "jo")
    assert kafka.sent[0][3] == {"actor": b"jo"}
    assert decode_command(orjson.dumps(command), a_source_position(received_us=NOW_US)).action == action
    assert before == CurrentState(), "a store that is away delays no command"


async def test_the_state_before_the_command_is_returned() -> None:
    async def suppressed(_: Callable[..., Any], *__: object) -> Any:
        return CurrentState(was_suppressed=True)

    before = await submit_command(
        FakeKafka(), NOWHERE, command_for(ASKED, "release", a_principal("*"), NOW_US), suppressed
    )
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
def test_the_default_scope_follows_from_the_principal(accounts: list[str], given: str | None, scope: str) -> None:
    made = command_for(ASKED | {"scope": given}, "suppress", a_principal(*accounts), NOW_US)
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
def test_a_scope_that_the_principal_does_not_have_is_refused(accounts: list[str], scope: str | None, code: str) -> None:
    with pytest.raises(RequestError) as raised:
        command_for(ASKED | {"scope": scope}, "suppress", a_principal(*accounts), NOW_US)
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
def test_the_channel_follows_from_the_address(address: str, channel: str) -> None:
    assert channel_of(address) == channel
