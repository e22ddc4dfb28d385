"""What an account sees of the evidence of decisions and suppressions, of opt-outs, and of commands."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from application import sending
from application.decisions import DecisionListener, DecisionRecord, Waiter
from application.evidence import visible_evidence
from processors.ledger.decode import read_records
from processors.ledger.write import tables_of
from projections.messages.columns import events_table, state_table
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import decode_decision
from schemas.decoding.times import rfc3339
from tests.building import NOW_US, FakeRecord, a_source_position, an_event
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US as REQUESTED_US
from tests.gateway.building import a_caller, a_send, a_token
from tests.stores import fresh_store

ANN, BOB, CAT = (f"{name}@example.com" for name in ("ann", "bob", "cat"))
AT = rfc3339(NOW_US)


def a_complaint(account: str, number: int) -> Any:
    message = uuid7(NOW_US, number.to_bytes(10, "big"))
    return an_event("complained", account_id=account, message_id=message, address=ANN, natural_us=number)


COMPLAINTS = {account: a_complaint(account, n) for n, account in enumerate(("acme", "globex"))}
EVENTS = {account: event.event_id for account, event in COMPLAINTS.items()}
COMMANDS = {scope: uuid7(NOW_US, scope.encode().ljust(10)) for scope in ("acme", "globex", "*")}
RECORDS = {
    account: [f"policy:{account}@{AT}", f"preference:{account}/client/c-1@{AT}", f"preference:{account}/staff/a@b@{AT}"]
    for account in ("acme", "globex")
}
EVIDENCE = [*EVENTS.values(), *COMMANDS.values(), *RECORDS["acme"], *RECORDS["globex"], "0" * 32, "unknown", "policy:"]
OF_ACME = [EVENTS["acme"], COMMANDS["acme"], *RECORDS["acme"]]
DECIDED = uuid7(NOW_US, b"decided___")


def a_command(scope: str, action: str = "suppress", address: str = ANN, **said: Any) -> dict[str, Any]:
    return {
        "command_id": COMMANDS[scope],
        "action": action,
        "channel": "email",
        "address": address,
        "scope": scope,
        "reason": f"asked by {scope}",
        "actor": f"jo of {scope}",
        "note": "ticket 17",
        "at": AT,
    } | said


def a_decision(message_id: str = DECIDED, **said: Any) -> dict[str, Any]:
    request = a_send(message_id=message_id, to=ANN, requested_at=AT) | said
    return {name: request[name] for name in ("message_id", "account_id", "channel", "to")} | {
        "outcome": "suppressed",
        "reason": "complaint",
        "detail": "A recipient complained",
        "evidence": EVIDENCE,
        "decided_at": AT,
        "request": request,
    }


def a_state(address: str, opt_outs: list[dict[str, Any]], scopes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "channel": "sms" if address.startswith("+") else "email",
        "address": address,
        "scopes": scopes,
        "opt_outs": opt_outs,
        "version": 1,
        "changed_at": AT,
    }


def an_opt_out(scope: str, **said: str) -> dict[str, Any]:
    return {"scope": scope, "reason": "unsubscribed", "since": AT} | said


PHONE = "+14155550100"
SUPPRESSED = {"suppressed": True, "reason": "complaint", "since": AT, "released": None}
STATES = [
    a_state(ANN, [], [{"scope": "*", "evidence": [*EVENTS.values(), COMMANDS["*"]]} | SUPPRESSED]),
    a_state(
        BOB,
        [an_opt_out("acme"), an_opt_out("globex", group="12"), an_opt_out("*", group="outbound")],
        [],
    ),
    a_state(PHONE, [an_opt_out("*", sender="MG7F", reason="sms_opt_out")], []),
]


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as store:
        events = events_table([*COMPLAINTS.values()])
        store.insert("events", events)
        store.insert("message_state", state_table(events))
        records = [
            *(FakeRecord("suppressions.commands", orjson.dumps(a_command(scope))) for scope in COMMANDS),
            FakeRecord(
                "suppressions.commands",
                orjson.dumps(a_command("acme", "release", command_id="r-1", reason="a mistake")),
            ),
            FakeRecord("sends.decided", orjson.dumps(a_decision())),
            *(FakeRecord("suppressions.changed", orjson.dumps(state)) for state in STATES),
        ]
        for offset, record in enumerate(records):
            sheet = read_records([FakeRecord(record.topic, record.value, offset=offset)], decision_days=30)
            assert sheet.letters == []
            for table, rows in tables_of(sheet)[0].items():
                store.insert(table, rows)
        yield store


async def get(store: Store, path: str, *accounts: str, **query: str) -> httpx.Response:
    async with a_caller(FakeKafka(), a_token(*accounts, role="viewer"), store) as client:
        return await client.get(f"/v1/{path}", params=query)


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("accounts", "seen"),
    [
        pytest.param(["acme"], OF_ACME, id="its own"),
        pytest.param(["*"], EVIDENCE, id="all, for who may see all"),
        pytest.param(["acme", "initech"], OF_ACME, id="its own, of several"),
    ],
)
async def test_the_timeline_has_only_visible_evidence_of_a_decision(
    store: Store, accounts: list[str], seen: list[str]
) -> None:
    answer = await get(store, f"messages/{DECIDED}/events", *accounts)
    [event] = answer.json()["items"]
    assert orjson.loads(event["extra"])["evidence"] == seen
    assert orjson.loads(event["extra"])["request"]["to"] == ANN
    said = (await get(store, f"messages/{DECIDED}/explain", *accounts)).json()
    assert said["axes"]["decision"]["evidence"] == seen
    assert (said["rule"], said["winner"]["type"], said["not_counted"]) == ("refused", "decided", [])


@pytest.mark.clickhouse
async def test_no_answer_contains_an_id_of_another_account(store: Store) -> None:
    foreign = {EVENTS["globex"], COMMANDS["globex"], COMMANDS["*"], *RECORDS["globex"], "jo of globex", "jo of *"}
    of_message = (f"messages/{DECIDED}", f"messages/{DECIDED}/events", f"messages/{DECIDED}/explain")
    for path in (*of_message, f"suppressions/email/{ANN}", "suppressions"):
        text = (await get(store, path, "acme")).text
        assert [known for known in foreign if known in text] == []


@pytest.mark.clickhouse
async def test_the_account_of_evidence_is_looked_up(store: Store) -> None:
    assert visible_evidence(store, ["acme"], EVIDENCE) == set(OF_ACME)
    assert visible_evidence(store, ["acme", "globex"], EVIDENCE) == {
        *EVENTS.values(),
        COMMANDS["acme"],
        COMMANDS["globex"],
        *RECORDS["acme"],
        *RECORDS["globex"],
    }


async def waited(
    monkeypatch: pytest.MonkeyPatch, store: Store | None, account: str, decision: dict[str, Any], **other: Any
) -> httpx.Response:
    """Send with `wait`, with a listener that has the decision immediately."""
    value = orjson.dumps(decision)
    record = DecisionRecord(value, decode_decision(value, a_source_position(received_us=2**60)))

    async def wait_for_all(self: Waiter, seconds: float) -> Any:
        return {next(iter(self.message_keys)): record}

    async def is_ready(self: DecisionListener) -> bool:
        return True

    monkeypatch.setattr(Waiter, "wait_for_all", wait_for_all)
    monkeypatch.setattr(DecisionListener, "_is_ready", is_ready)
    async with a_caller(FakeKafka(), a_token(account), store) as client:
        return await client.post("/v1/sends?wait=1", json=decision["request"] | other)


RECENT = a_send()["message_id"]


@pytest.mark.clickhouse
@pytest.mark.parametrize(("account", "seen"), [("acme", OF_ACME), ("*", EVIDENCE)])
async def test_a_waiting_caller_gets_only_visible_evidence(
    monkeypatch: pytest.MonkeyPatch, store: Store, account: str, seen: list[str]
) -> None:
    decision = a_decision(RECENT, requested_at=a_send()["requested_at"])
    answer = await waited(monkeypatch, store, account, decision)
    assert (answer.status_code, answer.json()["items"]) == (200, [decision | {"evidence": seen}])


async def test_evidence_that_can_not_be_looked_up_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = a_decision(RECENT, requested_at=a_send()["requested_at"])
    answer = await waited(monkeypatch, None, "acme", decision)  # nothing answers at this store's address
    assert (answer.status_code, answer.json()["items"][0]["evidence"]) == (200, RECORDS["acme"])


async def test_without_ids_to_look_up_there_is_no_query(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> set[str]:
        raise AssertionError

    monkeypatch.setattr(sending, "visible_evidence", never)
    decision = a_decision(RECENT, requested_at=a_send()["requested_at"]) | {"evidence": RECORDS["acme"]}
    answer = await waited(monkeypatch, None, "acme", decision)
    assert (answer.status_code, answer.json()["items"]) == (200, [decision])


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        pytest.param({"to": BOB}, ["to"], id="another To"),
        pytest.param({"subject": "Hello", "cc": [CAT]}, ["cc", "subject"], id="what was left out"),
        pytest.param({"recipient": {"kind": "staff", "id": "c1"}}, ["recipient.kind"], id="another kind of recipient"),
        pytest.param({"requested_at": rfc3339(REQUESTED_US + 1)}, ["requested_at"], id="another time"),
        pytest.param({"metadata": {"a": "1"}}, ["metadata"], id="metadata"),
        pytest.param({"subject": "", "cc": [], "metadata": {}, "from": None}, [], id="blank is left out"),
    ],
)
async def test_a_repeat_with_another_content_is_a_conflict_that_names_what_differs(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], differing: list[str]
) -> None:
    decision = a_decision(RECENT, requested_at=a_send()["requested_at"]) | {"evidence": []}
    answer = await waited(monkeypatch, None, "acme", decision, **other)
    if not differing:
        assert answer.status_code == 200
        return
    said = answer.json()
    assert (answer.status_code, said["code"]) == (409, "idempotency-conflict")
    assert [(e["index"], e["field"]) for e in said["errors"]] == [(0, name) for name in differing]
    assert said["items"] == [{"account_id": "acme", "message_id": RECENT}]


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("account", "seen"),
    [
        pytest.param("acme", [("acme", "", "")], id="its own"),
        pytest.param("globex", [("globex", "12", "")], id="another's group"),
        pytest.param("*", [("*", "outbound", ""), ("acme", "", ""), ("globex", "12", "")], id="all"),
    ],
)
async def test_an_address_with_opt_outs_alone_is_known(
    store: Store, account: str, seen: list[tuple[str, str, str]]
) -> None:
    answer = await get(store, f"suppressions/email/{BOB}", account)
    said = answer.json()
    assert (answer.status_code, said["scopes"], said["history"], said["evidence"]) == (200, [], [], [])
    assert [(out["scope"], out["group"], out["sender"]) for out in said["opt_outs"]] == seen
    assert {(out["reason"], out["since"]) for out in said["opt_outs"]} == {("unsubscribed", AT)}


@pytest.mark.clickhouse
async def test_an_opt_out_of_a_sender_is_shown_as_it_was_written(store: Store) -> None:
    [out] = (await get(store, f"suppressions/sms/{PHONE}", "*")).json()["opt_outs"]
    assert (out["scope"], out["sender"], out["reason"]) == ("*", "MG7F", "sms_opt_out")


@pytest.mark.clickhouse
@pytest.mark.parametrize(("account", "path"), [("initech", f"email/{BOB}"), ("acme", f"sms/{PHONE}")])
async def test_opt_outs_of_others_are_not_shown(store: Store, account: str, path: str) -> None:
    assert (await get(store, f"suppressions/{path}", account)).status_code == 404


@pytest.mark.clickhouse
async def test_commands_are_read_back(store: Store) -> None:
    said = (await get(store, f"suppressions/email/{ANN}", "*")).json()
    written = {command["command_id"]: command for command in said["commands"]}
    assert written.keys() == {*COMMANDS.values(), "r-1"}
    assert {name: written[COMMANDS["*"]][name] for name in ("action", "scope", "reason", "note", "actor", "at")} == {
        "action": "suppress",
        "scope": "*",
        "reason": "asked by *",
        "note": "ticket 17",
        "actor": "jo of *",
        "at": AT,
    }
    assert (written["r-1"]["action"], written["r-1"]["reason"]) == ("release", "a mistake")
    # Of the commands, the evidence has those that count.
    assert [row["command_id"] for row in said["evidence"] if "command_id" in row] == [COMMANDS["*"]]


@pytest.mark.clickhouse
async def test_an_account_reads_back_what_was_written_for_it_alone(store: Store) -> None:
    said = (await get(store, f"suppressions/email/{ANN}", "acme")).json()
    assert {command["command_id"] for command in said["commands"]} == {COMMANDS["acme"], "r-1"}
    assert [row["event_id"] for row in said["evidence"]] == [EVENTS["acme"]]


@pytest.mark.clickhouse
@pytest.mark.parametrize(
    ("address", "said", "was"),
    [
        pytest.param(BOB, {"scope": "acme"}, True, id="all of its scope"),
        pytest.param(BOB, {"scope": "acme", "group": "12"}, False, id="a group that it is not in"),
        pytest.param(BOB, {"scope": "globex", "group": "12"}, True, id="its group"),
        pytest.param(BOB, {"scope": "globex", "group": "13"}, False, id="another group"),
        pytest.param(BOB, {"scope": "initech"}, False, id="another account's are not its own"),
        pytest.param(PHONE, {"sender": "mg7f"}, True, id="a sender in other letters"),
        pytest.param(PHONE, {"sender": "+1"}, False, id="another sender"),
        pytest.param(ANN, {}, False, id="suppressed, and never opted out"),
    ],
)
async def test_an_opt_in_says_whether_there_was_an_opt_out_to_lift(
    store: Store, address: str, said: dict[str, str], was: bool
) -> None:
    asked = {"channel": "sms" if address == PHONE else "email", "address": address, "reason": "she asked"} | said
    async with a_caller(FakeKafka(), a_token("*", role="support"), store) as client:
        answer = await client.post("/v1/suppressions/opt-in", json=asked)
    told = answer.json()
    assert (answer.status_code, told["was_opted_out"], told["was_suppressed"]) == (202, was, address == ANN)
    assert ("no opt-out to lift" in told["effect"]) == (not was)


@pytest.mark.clickhouse
@pytest.mark.parametrize(("address", "was"), [(ANN, True), (CAT, False)])
async def test_a_release_says_whether_there_was_something_to_release(store: Store, address: str, was: bool) -> None:
    asked = {"channel": "email", "address": address, "reason": "a mistake"}
    async with a_caller(FakeKafka(), a_token("*", role="support"), store) as client:
        told = (await client.post("/v1/suppressions/release", json=asked)).json()
    assert (told["was_suppressed"], "not suppressed" in told["effect"]) == (was, not was)
