"""Suppress, release, opt in: the command that is written, and who may write it for which scope."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import pytest

from projections.store import Store
from projections.suppressions.columns import changes_table
from schemas.decoding.gate_inputs import decode_command
from schemas.decoding.times import rfc3339
from schemas.suppressions import SuppressionCommand, SuppressionState
from tests.building import a_source_position
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US, a_caller, a_token, records, without_request_id
from tests.stores import fresh_store

ROUTES = {"/v1/suppressions": "suppress", "/v1/suppressions/release": "release", "/v1/suppressions/opt-in": "opt_in"}
TOPIC = "suppressions.commands"
SUPPORT = a_token("*", role="support", subject="jo")
ASKED = {"channel": "email", "address": " Ann@Bücher.example", "reason": "she asked by phone"}


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def client(kafka: FakeKafka) -> AsyncIterator[httpx.AsyncClient]:
    async with a_caller(kafka, SUPPORT) as made:
        yield made


@pytest.mark.parametrize(("path", "action"), ROUTES.items())
async def test_a_command_is_written_with_its_actor_and_reason(
    client: httpx.AsyncClient, kafka: FakeKafka, path: str, action: str
) -> None:
    answer = await client.post(path, json=ASKED | {"note": "ticket 17"})
    assert answer.status_code == 202
    [(key, command)] = records(kafka, TOPIC)
    assert key == "email:ann@xn--bcher-kva.example"
    assert command.pop("at")
    assert command == {
        "command_id": answer.json()["command_id"],
        "action": action,
        "channel": "email",
        "address": " Ann@Bücher.example",
        "scope": "*",
        "reason": "she asked by phone",
        "actor": "jo",
        "note": "ticket 17",
    }


async def test_a_command_is_accepted_by_the_gate(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    asked = {"channel": "sms", "address": "whatsapp:+1 (415) 555-0100", "reason": "STOP was a mistake", "sender": "+1"}
    answer = await client.post("/v1/suppressions/opt-in", json=asked)
    [(_, key, value, headers)] = kafka.sent
    assert (key, headers) == (b"sms:whatsapp:+14155550100", {"actor": b"jo"})
    SuppressionCommand.model_validate_json(value)
    command = decode_command(value, a_source_position(received_us=2**60))
    assert (command.command_id, command.sender) == (answer.json()["command_id"], "+1")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        pytest.param({"channel": "fax"}, "channel", id="unknown channel"),
        pytest.param({"channel": None}, "channel", id="no channel"),
        pytest.param({"address": "ann"}, "address", id="no address"),
        pytest.param({"address": "Ann <ann@example.com>"}, "address", id="a name before it"),
        pytest.param({"address": " "}, "address", id="a blank address"),
        pytest.param({"channel": "sms"}, "address", id="an email address for a phone"),
        pytest.param({"channel": "sms", "address": "0415 555 0100"}, "address", id="a number without its country"),
        pytest.param({"reason": None}, "reason", id="no reason"),
        pytest.param({"reason": " "}, "reason", id="a blank reason"),
        pytest.param({"reason": 17}, "reason", id="a number for a reason"),
        pytest.param({"scope": "a b"}, "scope", id="a scope that is no account"),
        pytest.param({"scope": ["acme"]}, "scope", id="a list for a scope"),
        pytest.param({"scpoe": "acme"}, "scpoe", id="a misspelt scope, which would widen it"),
        pytest.param({"actor": "somebody else"}, "actor", id="another's name"),
        pytest.param({"at": None}, "at", id="a field that is not the caller's, though it says nothing"),
        pytest.param({"address": "x" * 309 + "@example.com"}, "address", id="321 characters"),
        pytest.param({"address": "ann@example.com\n"}, "address", id="a line end behind it"),
        pytest.param({"address": "+1415\r555\n0100", "channel": "sms"}, "address", id="a number that breaks the line"),
        pytest.param({"address": "ann@example.com\0"}, "address", id="NUL"),
        pytest.param({"group": "12"}, "group", id="a group without an opt-in"),
        pytest.param({"sender": "+1"}, "sender", id="a sender without an opt-in"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_written(
    client: httpx.AsyncClient, kafka: FakeKafka, said: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/suppressions", json=ASKED | said)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])
    assert kafka.sent == []


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"no JSON", 400), (b"[]", 422), (b'"ann@example.com"', 422)])
async def test_a_body_that_is_not_json_is_400_and_one_that_is_not_an_object_is_422(
    client: httpx.AsyncClient, path: str, body: bytes, status: int
) -> None:
    assert (await client.post(path, content=body)).status_code == status


@pytest.mark.parametrize("path", ROUTES)
async def test_a_misspelt_scope_does_not_widen_the_command(
    client: httpx.AsyncClient, kafka: FakeKafka, path: str
) -> None:
    answer = await client.post(path, json=ASKED | {"scpoe": "acme"})
    assert (answer.status_code, "did you mean `scope`?" in answer.json()["detail"]) == (422, True)
    assert kafka.sent == []


async def test_an_endless_body_is_too_large(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/suppressions", json=ASKED | {"note": "x" * 100_000})).status_code == 413


@pytest.mark.parametrize("path", [*ROUTES, "/v1/suppressions/import"])
@pytest.mark.parametrize(
    ("accounts", "scope", "found"),
    [
        pytest.param(["*"], None, "*", id="all accounts: the platform"),
        pytest.param(["*"], "acme", "acme", id="all accounts, one named"),
        pytest.param(["acme"], None, "acme", id="one account: that one"),
        pytest.param(["acme", "globex"], "globex", "globex", id="several accounts, one named"),
        pytest.param(["acme", "globex"], None, 422, id="several accounts must name one"),
        pytest.param(["acme"], "*", 403, id="the platform takes a token of all"),
        pytest.param(["acme"], "globex", 404, id="another account"),
        pytest.param(["acme"], "nobody", 404, id="an account that does not exist"),
        pytest.param(["acme"], 4711, 404, id="another account, given as a number"),
        pytest.param(["4711"], 4711, "4711", id="an account given as a number"),
    ],
)
async def test_the_scope_is_one_that_the_token_has(
    kafka: FakeKafka, path: str, accounts: list[str], scope: str | int | None, found: str | int
) -> None:
    asked = ASKED | {"scope": scope} if scope else ASKED
    async with a_caller(kafka, a_token(*accounts, role="support")) as client:
        answer = await client.post(path, json=asked)
    if isinstance(found, int):
        assert (answer.status_code, kafka.sent) == (found, [])
    else:
        assert [command["scope"] for _, command in records(kafka, TOPIC)] == [found]


async def test_another_account_answers_as_one_that_does_not_exist(kafka: FakeKafka) -> None:
    async with a_caller(kafka, a_token("acme", role="support")) as client:
        there, nowhere = [
            await client.post("/v1/suppressions", json=ASKED | {"scope": name}) for name in ("globex", "nobody")
        ]
    assert without_request_id(there) == without_request_id(nowhere)


async def test_without_acknowledgement_the_answer_is_503(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    kafka.fails = True
    answer = await client.post("/v1/suppressions", json=ASKED)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


async def test_a_command_does_not_wait_for_the_tables(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    answer = await client.post("/v1/suppressions", json=ASKED)  # nothing answers at this store's address
    assert (answer.status_code, answer.json()["was_suppressed"], len(kafka.sent)) == (202, None, 1)


def a_state(address: str, channel: str = "email", **scopes: bool) -> SuppressionState:
    """The state of an address: which scopes are suppressed, or were. `everywhere` is the scope `*`."""
    at = "2026-01-02T03:04:05.000000Z"
    return SuppressionState.model_validate(
        {"channel": channel, "address": address, "opt_outs": [], "version": 1, "changed_at": at}
        | {
            "scopes": [
                {"scope": "*" if name == "everywhere" else name, "suppressed": held, "reason": "manual"}
                | {"since": at, "evidence": ["1"], "released": None if held else {"at": at, "actor": "jo"}}
                for name, held in scopes.items()
            ]
        }
    )


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        states = [
            a_state("ann@example.com", acme=True, everywhere=False),
            a_state("bob@example.com", everywhere=True),
            a_state("+14155550100", "sms", acme=False),
        ]
        store.insert("suppression_changes", changes_table(states))
        yield store


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("path", "address", "scope", "was"),
    [
        pytest.param("", "ANN@example.com", "acme", True, id="by the key of the address"),
        pytest.param("", "ann@example.com", "*", False, id="a scope of its own"),
        pytest.param("", "bob@example.com", "acme", False, id="the platform's is not the account's"),
        pytest.param("", "eve@example.com", "*", False, id="never heard of"),
        pytest.param("", "x'-@example.com", "*", False, id="quotes are no SQL"),
        pytest.param("/release", "ann@example.com", "*", True, id="the platform's release is of every scope"),
        pytest.param("/release", "bob@example.com", "acme", False, id="an account's release is of its own"),
        pytest.param("/release", "+14155550100", "*", False, id="released before"),
        pytest.param("/opt-in", "ann@example.com", "acme", True, id="an opt-in says it too"),
    ],
)
async def test_the_answer_has_the_state_before_the_command(
    kafka: FakeKafka, store: Store, path: str, address: str, scope: str, was: bool
) -> None:
    channel = "email" if "@" in address else "sms"
    asked = {"channel": channel, "address": address, "scope": scope, "reason": "r"}
    async with a_caller(kafka, SUPPORT, store) as client:
        answer = await client.post(f"/v1/suppressions{path}", json=asked)
    assert (answer.status_code, answer.json()["was_suppressed"]) == (202, was)
    assert len(kafka.sent) == 1


class OnlyCommands(Store):
    """A store with this many commands, and nothing else about any address."""

    many = 1

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        command = {"action": "release", "scope": "acme", "group": "", "sender": "", "reason": "", "note": ""}
        command |= {"actor": "jo", "at": rfc3339(NOW_US)}
        return [command | {"command_id": f"c{n}"} for n in range(self.many)] if "FROM commands" in sql else []


async def test_an_address_that_only_a_command_is_about_is_known(kafka: FakeKafka) -> None:
    store = OnlyCommands("http://127.0.0.1:1")
    async with a_caller(kafka, a_token("*", role="viewer"), store) as client:
        answer = await client.get("/v1/suppressions/email/ann@example.com")
    assert answer.status_code == 200
    assert [command["command_id"] for command in answer.json()["commands"]] == ["c0"]
    assert (answer.json()["scopes"], answer.json()["history"]) == ([], [])


@pytest.mark.parametrize(("many", "complete"), [(1000, True), (1001, False)])
async def test_incomplete_lists_are_marked(kafka: FakeKafka, many: int, complete: bool) -> None:
    store = OnlyCommands("http://127.0.0.1:1")
    store.many = many
    async with a_caller(kafka, a_token("*", role="viewer"), store) as client:
        said = (await client.get("/v1/suppressions/email/ann@example.com")).json()
    assert (len(said["commands"]), said["commands"][-1]["command_id"]) == (1000, f"c{many - 1}")
    assert said["complete"] is complete
