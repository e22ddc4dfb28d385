"""Opt-outs, commands, policies and preferences, written as the ledger does and read back from ClickHouse."""

from itertools import permutations
from typing import Any
from uuid import uuid4

import orjson
import pytest

from processors.ledger.decode import read_records
from processors.ledger.write import tables_of
from projections.accounts.queries import policy, preference
from projections.decisions.account import in_force
from projections.messages.queries import Query
from projections.store import Store
from projections.suppressions import queries
from schemas.decoding.gate_inputs import decode_policy
from schemas.topics import (
    ACCOUNTS_POLICIES,
    PARKED_BY_GATE,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_CHANGED,
    SUPPRESSIONS_COMMANDS,
)
from tests.building import FakeRecord, a_source_position

pytestmark = pytest.mark.clickhouse

AT = "2026-05-01T00:00:00Z"
LATER = "2026-05-02T00:00:00Z"


def write(store: Store, topic: str, fields: dict[str, Any], offset: int = 0) -> None:
    """Store a record as the ledger does."""
    sheet = read_records([FakeRecord(topic, orjson.dumps(fields), offset=offset)], decision_days=30)
    assert sheet.letters == []
    for table, rows in tables_of(sheet)[0].items():
        store.insert(table, rows)


def read(store: Store, query: Query) -> list[dict[str, Any]]:
    return store.rows(query.sql, query.parameters)


POLICIES = [
    {"updated_at": AT, "trial_days": 20},
    {"updated_at": LATER, "trial_days": 7},
    {"updated_at": LATER, "trial_days": 9, "disabled_templates": ["t1"]},
]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_policy_in_force_is_read_back(store: Store, account: str, order: tuple[int, ...]) -> None:
    records = [{"account_id": account, **fields} for fields in POLICIES]
    for number in (*order, order[0]):
        write(store, ACCOUNTS_POLICIES.name, records[number])
    known = [decode_policy(orjson.dumps(record), a_source_position()) for record in records]
    newest = in_force(in_force(known[0], known[1]), known[2])
    (row,) = read(store, policy(account))
    assert decode_policy(row["record"].encode(), a_source_position()) == newest


def test_a_preference_belongs_to_one_recipient(store: Store, account: str) -> None:
    for kind, template in (("client", "t1"), ("staff", "t2")):
        fields = {"account_id": account, "recipient_kind": kind, "recipient_id": "7", "declined_templates": [template]}
        write(store, RECIPIENTS_PREFERENCES.name, fields | {"updated_at": AT})
    (row,) = read(store, preference(account, "staff", "7"))
    assert orjson.loads(row["record"])["declined_templates"] == ["t2"]


def test_missing_records_give_no_row(store: Store, account: str) -> None:
    assert read(store, policy(account)) == []
    assert read(store, preference(account, "client", "7")) == []
    assert read(store, queries.opt_outs(None, "email", ["nobody@example.com"])) == []
    assert read(store, queries.commands(["nothing"])) == []


@pytest.mark.parametrize("topic", sorted(topic.name for topic in PARKED_BY_GATE))
def test_records_that_the_gate_parks_are_skipped(topic: str) -> None:
    sheet = read_records([FakeRecord(topic, b"{"), FakeRecord(topic, b"")], decision_days=30)
    assert (sheet.letters, sheet.commands, sheet.policies, sheet.preferences) == ([], [], [], [])


def a_command(address: str, **fields: str) -> dict[str, Any]:
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
    } | fields


def test_a_command_has_its_reason_note_and_actor(store: Store) -> None:
    ids = [uuid4().hex for _ in range(3)]
    for command_id in ids[:2]:
        write(store, SUPPRESSIONS_COMMANDS.name, a_command("Ann@Example.com", command_id=command_id))
    rows = read(store, queries.commands(ids[1:]))
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


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_commands_with_one_id_the_first_stays(store: Store, *, reverse: bool) -> None:
    command_id = uuid4().hex
    commands = [(a_command("a@b.c", command_id=command_id, note=note), n) for n, note in enumerate(("first", "second"))]
    for command, offset in reversed(commands) if reverse else commands:
        write(store, SUPPRESSIONS_COMMANDS.name, command, offset)
    assert [row["note"] for row in read(store, queries.commands([command_id]))] == ["first"]


def an_opt_out(scope: str, **fields: str) -> dict[str, str]:
    return {"scope": scope, "reason": "unsubscribe", "since": AT, **fields}


def a_state(address: str, version: int, *opt_outs: dict[str, str]) -> dict[str, Any]:
    state = {"channel": "email", "address": address, "scopes": [], "version": version, "changed_at": AT}
    return state | {"opt_outs": list(opt_outs)}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_opt_outs_of_the_newest_version_are_in_force(store: Store, account: str, *, reverse: bool) -> None:
    address = f"{uuid4().hex}@example.com"
    states = [
        a_state(address, 1, an_opt_out(account)),
        a_state(address, 2, an_opt_out(account, group="news"), an_opt_out("globex"), an_opt_out("*", group="stream")),
    ]
    for state in reversed(states) if reverse else states:
        write(store, SUPPRESSIONS_CHANGED.name, state)
    every = read(store, queries.opt_outs(None, "email", [address]))
    assert {(row["scope"], row["group"], row["sender"]) for row in every} == {
        (account, "news", ""),
        ("globex", "", ""),
        ("*", "stream", ""),
    }
    assert {row["address"] for row in every} == {address}
    own = read(store, queries.opt_outs([account], "email", [address]))
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
    own = read(store, queries.opt_outs([account], "email", [address]))
    assert {row["scope"] for row in own} == {account, "*"}, "and now it has"
    write(store, SUPPRESSIONS_CHANGED.name, a_state(address, 3))
    assert read(store, queries.opt_outs(None, "email", [address])) == [], "a version without opt-outs replaces them"
