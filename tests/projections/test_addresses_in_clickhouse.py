"""Bounced Emails and the states of addresses, as ClickHouse returns them."""

import random
from collections import defaultdict
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from projections.bounces.columns import bounces_table
from projections.bounces.pages import read_bounces
from projections.bounces.queries import Filter
from projections.messages.columns import events_table, state_table
from projections.messages.reference_fold import BOUNCES
from projections.store import Store
from projections.suppressions.columns import changes_table
from schemas.decoding.ids import uuid7
from schemas.events import Event, EventType
from schemas.suppressions import SuppressionState
from tests.building import NOW_US, a_request, an_event
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

ANN, BOB = "ann@example.com", "bob@example.com"


def bounced(store: Store, account: str) -> dict[str, dict[str, Any]]:
    """The rows of an account by address, from the view; pages with and without a filter must give the same."""
    rows = store.rows("SELECT * FROM bounced_emails WHERE account_id = {a:String}", {"a": account})
    rows.sort(key=lambda row: (row["last_bounced_at"], row["channel"], row["address"]), reverse=True)
    assert read_bounces(store, Filter([account]), limit=99) == rows
    for suppressed in (True, False):
        page = read_bounces(store, Filter([account], suppressed=suppressed), limit=99)
        assert page == [row for row in rows if row["suppressed"] is suppressed]
    return {row["address"]: row for row in rows}


def new_id(number: int = 0) -> str:
    return uuid7(NOW_US + number * 1_000_000, uuid4().bytes)


@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
@given(st.integers(0, 2**32))
def test_each_address_has_its_bounces_counted_by_message(store: Store, seed: int) -> None:
    chance, account = random.Random(seed), f"acct-{uuid4().hex[:12]}"
    ids = [new_id(n) for n in range(4)]
    events = [
        an_event(
            chance.choice(["bounced", "blocked", "failed", "delivered"]),
            account_id=account,
            message_id=chance.choice(ids),
            address=chance.choice([ANN, BOB]),
            occurred_us=NOW_US + chance.randrange(50),
            natural_us=n,
            reason=f"reason {n}",
            code=chance.choice(["", "5.1.1"]),
        )
        for n in range(12)
    ]
    deliveries = events + chance.sample(events, 6)
    chance.shuffle(deliveries)
    for some in (deliveries[:9], deliveries[9:]):
        store.insert("bounces", bounces_table(some))
    by_address: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.type in BOUNCES:
            by_address[event.address].append(event)
    rows = bounced(store, account)
    assert rows.keys() == by_address.keys()
    for address, of_address in by_address.items():
        last = max(of_address, key=lambda e: (e.occurred_us, e.event_id))
        assert rows[address]["bounces"] == len({e.message_id for e in of_address})
        assert (rows[address]["last_reason"], rows[address]["last_code"]) == (last.reason, last.code)
        assert str(rows[address]["last_email_id"]) == last.message_id


def test_the_recipient_is_shown_if_the_address_is_a_to(store: Store, account: str) -> None:
    message_id = new_id()
    store.insert(
        "message_state",
        state_table(events_table([]), [a_request(account_id=account, message_id=message_id, recipient_id="c7")]),
    )
    own, of_cc = (
        an_event("bounced", account_id=account, message_id=message_id, address=address) for address in (ANN, BOB)
    )
    store.insert("bounces", bounces_table([own, of_cc]))
    rows = bounced(store, account)
    assert {a: (row["recipient_kind"], row["recipient_id"]) for a, row in rows.items()} == {
        ANN: ("client", "c7"),
        BOB: ("", ""),
    }


def test_a_bounce_without_an_address_belongs_to_the_to(store: Store, account: str) -> None:
    message_id = new_id()
    store.insert("message_state", state_table(events_table([]), [a_request(account_id=account, message_id=message_id)]))
    store.insert("bounces", bounces_table([an_event("blocked", account_id=account, message_id=message_id, address="")]))
    assert bounced(store, account).keys() == {ANN}


@pytest.mark.parametrize("address", ["rcs:+15550000001", "15550000001", ""])
@pytest.mark.parametrize("provider", ["twilio", "sendgrid"])
def test_a_bounced_sms_belongs_to_its_to(store: Store, account: str, provider: str, address: str) -> None:
    message_id = new_id()
    request = a_request(account_id=account, message_id=message_id, channel="sms", to="+15550000001")
    store.insert("message_state", state_table(events_table([]), [request]))
    event = an_event("failed", account_id=account, message_id=message_id, provider=provider, address=address)
    store.insert("bounces", bounces_table([event]))
    rows = bounced(store, account)
    assert {to: (row["channel"], row["recipient_id"]) for to, row in rows.items()} == {"+15550000001": ("sms", "c1")}


@pytest.mark.parametrize("type_", list(EventType))
@pytest.mark.parametrize(("provider", "channel"), [("sendgrid", "email"), ("postmark", "email"), ("twilio", "sms")])
def test_the_server_and_the_matcher_make_the_same_bounces(
    store: Store, account: str, provider: str, channel: str, type_: str
) -> None:
    """For every event type: a materialized view makes the server's bounces, the matcher inserts its own."""
    event = an_event(type_, account_id=account, message_id=new_id(), provider=provider, reason="why", code="550")
    store.insert("events", events_table([event, event]))
    made = store.rows("SELECT *, copy FROM bounces FINAL WHERE account_id = {a:String}", {"a": account})
    assert [row["channel"] for row in made] == [channel] * (type_ in BOUNCES)
    store.insert("bounces", bounces_table([event]))
    assert store.rows("SELECT *, copy FROM bounces FINAL WHERE account_id = {a:String}", {"a": account}) == made


def test_a_withdrawn_bounce_does_not_count(store: Store, account: str) -> None:
    event = an_event("bounced", account_id=account, message_id=new_id())
    store.insert("bounces", bounces_table([event], "matched"))
    assert bounced(store, account).keys() == {ANN}
    store.insert("bounces", bounces_table([event._replace(received_us=0)], "withdrawn"))
    assert bounced(store, account) == {}


def a_state(address: str, version: int, *scopes: dict[str, Any]) -> SuppressionState:
    return SuppressionState.model_validate(
        {
            "channel": "email",
            "address": address,
            "scopes": list(scopes),
            "opt_outs": [],
            "version": version,
            "changed_at": f"2026-05-0{version}T00:00:00Z",
        }
    )


def a_scope(scope: str, *, suppressed: bool = True, reason: str = "manual", **fields: Any) -> dict[str, Any]:
    since = "2026-05-01T00:00:00Z"
    return {"scope": scope, "suppressed": suppressed, "reason": reason, "since": since, "evidence": ["cmd-1"], **fields}


RELEASED = {"at": "2026-05-02T00:00:00Z", "actor": "support"}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_newest_version_of_an_address_is_in_force(store: Store, *, reverse: bool) -> None:
    address = f"{uuid4().hex}@example.com"
    states = [
        a_state(address, 1, a_scope("*")),
        a_state(address, 2, a_scope("*"), a_scope("acme")),
        a_state(address, 3, a_scope("*", suppressed=False, released=RELEASED), a_scope("acme")),
    ]
    for state in (*(reversed(states) if reverse else states), states[0]):
        store.insert("suppression_changes", changes_table([state]))
    now = store.tuples(
        "SELECT scope, suppressed, actor FROM suppressions WHERE address = {a:String} ORDER BY scope", {"a": address}
    )
    assert [tuple(row) for row in now] == [("*", False, "support"), ("acme", True, "")]
    assert history_of(store, address) == [(1, "*", True), (2, "acme", True), (3, "*", False)]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_version_without_scopes_replaces_the_one_before(store: Store, account: str, order: tuple[int, int]) -> None:
    address = f"{uuid4().hex}@example.com"
    event = an_event("bounced", account_id=account, message_id=new_id(), address=address)
    store.insert("bounces", bounces_table([event]))
    states = {1: a_state(address, 1, a_scope("*"), a_scope(account)), 2: a_state(address, 2)}
    for version in order:
        store.insert("suppression_changes", changes_table([states[version]]))
    assert store.tuples("SELECT * FROM suppressions WHERE address = {a:String}", {"a": address}) == []
    assert not bounced(store, account)[address]["suppressed"]
    assert history_of(store, address) == [(1, "*", True), (1, account, True), (2, "*", False), (2, account, False)]


def test_a_scope_that_disappears_and_returns_is_two_changes(store: Store) -> None:
    address = f"{uuid4().hex}@example.com"
    released = a_scope("acme", suppressed=False, released=RELEASED)
    states = [
        a_state(address, 1, a_scope("*"), released),
        a_state(address, 2, a_scope("globex")),
        a_state(address, 4, a_scope("*"), a_scope("globex")),
    ]
    for state in reversed(states):
        store.insert("suppression_changes", changes_table([state]))
    assert history_of(store, address) == [
        (1, "*", True),
        (1, "acme", False),
        (2, "*", False),
        (2, "globex", True),
        (4, "*", True),
    ], "a released scope that is missing in the next version is no change"


def history_of(store: Store, address: str) -> list[tuple[object, ...]]:
    rows = store.tuples(
        "SELECT version, scope, suppressed FROM suppression_history WHERE address = {a:String} ORDER BY version, scope",
        {"a": address},
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("scope", "suppressed"),
    [
        pytest.param("*", True, id="the whole platform's"),
        pytest.param("own", True, id="the account's own"),
        pytest.param("another", False, id="another account's"),
    ],
)
def test_a_bounced_address_shows_whether_it_is_suppressed(
    store: Store, account: str, scope: str, *, suppressed: bool
) -> None:
    address = f"{uuid4().hex}@example.com"
    store.insert(
        "bounces",
        bounces_table([an_event("bounced", account_id=account, message_id=new_id(), address=address)]),
    )
    assert not bounced(store, account)[address]["suppressed"]
    state = a_state(address, 1, a_scope(account if scope == "own" else scope))
    store.insert("suppression_changes", changes_table([state]))
    assert bounced(store, account)[address]["suppressed"] is suppressed


def test_a_restarted_address_history_shows_once_the_old_rows_are_deleted(clickhouse_url: str) -> None:
    """docs/explanation/gate.md, "Addresses started over", step 3: versions begin at 1 again."""
    with fresh_store(clickhouse_url) as store:
        restarted = changes_table([a_state(ANN, 1, a_scope("acme"))])
        store.insert("suppression_changes", changes_table([a_state(ANN, 7, a_scope("*"))]))
        store.insert("suppression_changes", restarted)
        assert scopes_of(store) == ["*"], "the greatest version is in force"
        for table in ("suppression_changes", "opt_outs"):
            store.command(f"TRUNCATE TABLE {table}", database=store.tables)
        store.insert("suppression_changes", restarted)
        assert scopes_of(store) == ["acme"]


def scopes_of(store: Store) -> list[str]:
    return [row["scope"] for row in store.rows("SELECT scope FROM suppressions WHERE suppressed ORDER BY scope")]
