"""What people wished and wrote, read back from ClickHouse: opt-outs, commands, policies, preferences."""

from itertools import permutations
from typing import Any
from uuid import uuid4

import orjson
import pytest

from processors.ledger.reading import read_records
from processors.ledger.writing import tables_of
from projections.accounts.queries import policy, preference
from projections.gate.account import later
from projections.messages.queries import Query
from projections.store import Store
from projections.suppressions import queries
from schemas.gate_facts import decode_policy
from schemas.topics import (
    ACCOUNTS_POLICIES,
    PARKED_BY_GATE,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_CHANGED,
    SUPPRESSIONS_COMMANDS,
)
from tests.building import FakeRecord, a_place

pytestmark = pytest.mark.clickhouse

AT = "2026-05-01T00:00:00Z"
LATER = "2026-05-02T00:00:00Z"


def tell(store: Store, topic: str, said: dict[str, Any], offset: int = 0) -> None:
    """As the ledger takes a record in."""
    sheet = read_records([FakeRecord(topic, orjson.dumps(said), offset=offset)], decision_days=30)
    assert sheet.letters == []
    for table, rows in tables_of(sheet)[0].items():
        store.insert(table, rows)


def asked(store: Store, query: Query) -> list[dict[str, Any]]:
    return store.rows(query.sql, query.parameters)


POLICIES = [
    {"updated_at": AT, "trial_days": 20},
    {"updated_at": LATER, "trial_days": 7},
    {"updated_at": LATER, "trial_days": 9, "disabled_templates": ["t1"]},
]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_policy_that_the_gate_goes_by_is_read_back(store: Store, account: str, order: tuple[int, ...]) -> None:
    records = [{"account_id": account, **said} for said in POLICIES]
    for number in (*order, order[0]):
        tell(store, ACCOUNTS_POLICIES.name, records[number])
    known = [decode_policy(orjson.dumps(record), a_place()) for record in records]
    in_force = later(later(known[0], known[1]), known[2])
    (row,) = asked(store, policy(account))
    assert decode_policy(row["record"].encode(), a_place()) == in_force


def test_a_preference_is_one_recipients(store: Store, account: str) -> None:
    for kind, template in (("client", "t1"), ("staff", "t2")):
        said = {"account_id": account, "recipient_kind": kind, "recipient_id": "7", "declined_templates": [template]}
        tell(store, RECIPIENTS_PREFERENCES.name, said | {"updated_at": AT})
    (row,) = asked(store, preference(account, "staff", "7"))
    assert orjson.loads(row["record"])["declined_templates"] == ["t2"]


def test_what_nobody_stated_gives_no_row(store: Store, account: str) -> None:
    assert asked(store, policy(account)) == []
    assert asked(store, preference(account, "client", "7")) == []
    assert asked(store, queries.opt_outs(None, "email", ["nobody@example.com"])) == []
    assert asked(store, queries.commands(["nothing"])) == []


@pytest.mark.parametrize("topic", sorted(topic.name for topic in PARKED_BY_GATE))
def test_what_the_gate_parks_is_passed_over(topic: str) -> None:
    sheet = read_records([FakeRecord(topic, b"{"), FakeRecord(topic, b"")], decision_days=30)
    assert (sheet.letters, sheet.commands, sheet.policies, sheet.preferences) == ([], [], [], [])


def a_command(address: str, **said: str) -> dict[str, Any]:
    return {
        "command_id": "",
        "action": "suppress",
        "channel": "email",
        "address": address,
        "scope": "*",
        "reason": "asked by phone",
        "actor": "support",
        "note": "ticket 7",
        "at": AT,
    } | said


def test_a_command_says_who_wrote_what(store: Store) -> None:
    ids = [uuid4().hex for _ in range(3)]
    for command_id in ids[:2]:
        tell(store, SUPPRESSIONS_COMMANDS.name, a_command("Ann@Example.com", command_id=command_id))
    rows = asked(store, queries.commands(ids[1:]))
    assert [{name: row[name] for name in row if name != "at"} for row in rows] == [
        {
            "command_id": ids[1],
            "action": "suppress",
            "scope": "*",
            "reason": "asked by phone",
            "note": "ticket 7",
            "actor": "support",
        }
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_commands_under_one_id_the_first_stays(store: Store, *, turned: bool) -> None:
    command_id = uuid4().hex
    told = [(a_command("a@b.c", command_id=command_id, note=note), n) for n, note in enumerate(("first", "second"))]
    for said, offset in reversed(told) if turned else told:
        tell(store, SUPPRESSIONS_COMMANDS.name, said, offset)
    assert [row["note"] for row in asked(store, queries.commands([command_id]))] == ["first"]


def an_opt_out(scope: str, **said: str) -> dict[str, str]:
    return {"scope": scope, "reason": "unsubscribe", "since": AT, **said}


def a_state(address: str, version: int, *opt_outs: dict[str, str]) -> dict[str, Any]:
    told = {"channel": "email", "address": address, "scopes": [], "version": version, "changed_at": AT}
    return told | {"opt_outs": list(opt_outs)}


@pytest.mark.parametrize("turned", [False, True])
def test_the_opt_outs_of_the_newest_version_are_in_force(store: Store, account: str, *, turned: bool) -> None:
    address = f"{uuid4().hex}@example.com"
    states = [
        a_state(address, 1, an_opt_out(account)),
        a_state(address, 2, an_opt_out(account, group="news"), an_opt_out("globex"), an_opt_out("*", group="stream")),
    ]
    for state in reversed(states) if turned else states:
        tell(store, SUPPRESSIONS_CHANGED.name, state)
    every = asked(store, queries.opt_outs(None, "email", [address]))
    assert {(row["scope"], row["group"], row["sender"]) for row in every} == {
        (account, "news", ""),
        ("globex", "", ""),
        ("*", "stream", ""),
    }
    assert {row["address"] for row in every} == {address}
    own = asked(store, queries.opt_outs([account], "email", [address]))
    assert [row["scope"] for row in own] == [account], "the account has not sent to it"
    request: dict[str, Any] = {
        "message_id": "018f0000-0000-7000-8000-000000000000",
        "account_id": account,
        "channel": "email",
    }
    request |= {"template": {"id": "t", "name": "T", "kind": "marketing"}, "recipient": {"kind": "client", "id": "c"}}
    sheet = read_records(
        [
            FakeRecord(
                SENDS_REQUESTED.name, orjson.dumps(request | {"to": address, "requested_at": "2024-04-21T00:00:00Z"})
            )
        ],
        decision_days=10_000,
    )
    assert sheet.letters == []
    for table, rows in tables_of(sheet)[0].items():
        store.insert(table, rows)
    own = asked(store, queries.opt_outs([account], "email", [address]))
    assert {row["scope"] for row in own} == {account, "*"}, "and now it has"
    tell(store, SUPPRESSIONS_CHANGED.name, a_state(address, 3))
    assert asked(store, queries.opt_outs(None, "email", [address])) == [], "a version without any voids them"
