"""Bulk releases on the real ClickHouse: selection, dry run, resuming, undo, tenancy, and the messages to send again.

The gate and the ledger are replaced by the functions that they call; tests/stack/test_incident.py has the real ones.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from application.bulk_causes import cause_of
from application.bulk_releases import (
    BulkRelease,
    Limits,
    Report,
    list_bulk_releases,
    plan_release,
    plan_undo,
    release_in_bulk,
    undo_release,
    valid_bulk_id,
)
from application.errors import FieldsInvalid
from application.principals import Principal
from application.refused_messages import refused_messages
from projections.messages.columns import events_table, state_table
from projections.store import Store
from projections.suppressions.addressing import AddressKey
from projections.suppressions.columns import changes_table, commands_table
from projections.suppressions.evidence import Evidence, Kind, evidence_of, evidence_of_command
from projections.suppressions.published import suppression_state_value
from projections.suppressions.rules import GateRules
from projections.suppressions.state import AddressState, apply_evidence
from schemas.decoding.gate_inputs import Command, decode_command
from schemas.decoding.ids import uuid7
from schemas.decoding.times import SECOND_US, rfc3339
from schemas.errors import BrokerError, RequestError
from schemas.events import Event, SourcePosition
from schemas.suppressions import SuppressionState
from tests.application.building import a_principal
from tests.building import a_decision, a_request, an_event
from tests.fakes import FakeKafka
from tests.stores import fresh_store

WAVE_US = 1_780_000_000 * SECOND_US
PREVIEW_US = WAVE_US + 3600 * SECOND_US
STAFF = a_principal("*", subject="ann")
TWO_AT_ONCE = Limits(1_000, 2, lambda _: asyncio.sleep(0))
RULES = GateRules(suppress_bounces=2)
WAVE = {"domain": "example.com", "text": "user unknown"}


@dataclass
class Installation:
    """The tables, as the gate and the ledger would fill them."""

    store: Store
    states: dict[AddressKey, AddressState] = field(default_factory=dict)
    kafka: FakeKafka = field(default_factory=FakeKafka)
    applied: int = 0
    now_us: int = WAVE_US
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def tick(self) -> int:
        self.now_us += SECOND_US
        return self.now_us

    def message(self, account: str, **request: Any) -> str:
        """A message id of this moment."""
        return uuid7(self.tick(), next(self.numbers).to_bytes(10, "big"))

    def event(self, kind: str, address: str, account: str = "acme", **fields: Any) -> Event:
        """An event about an address, in the tables and applied; it is its evidence."""
        at_us = self.tick()
        event = an_event(
            kind,
            account_id=account,
            message_id=self.message(account) if account else "",
            provider_message_id=f"m{next(self.numbers)}",
            address=address,
            occurred_us=at_us,
            received_us=at_us,
            fault="recipient" if kind == "bounced" else "",
            **{"code": "550", "enhanced_code": "5.1.1", "reason": "550 5.1.1 User unknown"} | fields,
        )
        self.store.insert("events" if account else "orphans", events_table([event]))
        found = evidence_of(event)
        assert found is not None
        self.apply(found.key, found.evidence)
        return event

    def bounces(self, *addresses: str, account: str = "acme", **fields: Any) -> None:
        """Two bounces of each address: it is suppressed."""
        for address in [*addresses, *addresses]:
            self.event("bounced", address, account, **fields)

    def command(self, action: str, address: str, scope: str = "*") -> None:
        at_us = self.tick()
        evidence = Evidence(Kind(action), f"c{next(self.numbers)}", at_us, at_us, scope, actor="jo")
        self.apply(AddressKey("email", address), evidence)

    def apply(self, key: AddressKey, evidence: Evidence) -> None:
        update = apply_evidence(self.states.get(key, AddressState()), evidence, RULES)
        self.states[key] = update.state
        if update.changed:
            value = suppression_state_value(key, update.snapshot, update.state.version, self.tick())
            self.store.insert("suppression_changes", changes_table([SuppressionState.model_validate_json(value)]))

    def apply_commands(self) -> None:
        """Apply the commands in Kafka that were not applied yet."""
        for command in self.commands()[self.applied :]:
            self.applied += 1
            self.store.insert("commands", commands_table([command]))
            key, evidence = evidence_of_command(command)
            self.apply(key, evidence)

    def commands(self) -> list[Command]:
        at_us = self.now_us
        return [
            decode_command(sent.value, SourcePosition(sent.topic, 0, number, at_us))
            for number, sent in enumerate(self.kafka.sent)
        ]

    def suppressed(self) -> list[tuple[str, str]]:
        rows = self.store.tuples("SELECT address, scope FROM suppressions WHERE suppressed ORDER BY address, scope")
        return [(address, scope) for address, scope in rows]

    def plan(self, fields: dict[str, str] = WAVE, by: Principal = STAFF, bulk_id: str | None = None) -> BulkRelease:
        return plan_release(fields, "their outage", by, self.tick(), bulk_id=bulk_id)

    async def preview(self, plan: BulkRelease) -> Report:
        return await release_in_bulk(None, self.store, plan, TWO_AT_ONCE)

    async def release(self, plan: BulkRelease) -> Report:
        report = await release_in_bulk(self.kafka, self.store, plan, TWO_AT_ONCE)
        self.apply_commands()
        return report

    async def undo(self, bulk_id: str, by: Principal = STAFF, dry_run: bool = False) -> Report:
        kafka = None if dry_run else self.kafka
        plan = plan_undo(bulk_id, "the wrong domain", by, self.tick())
        report = await undo_release(kafka, self.store, plan, TWO_AT_ONCE)
        self.apply_commands()
        return report


@pytest.fixture
def tables(clickhouse_url: str) -> Iterator[Installation]:
    with fresh_store(clickhouse_url) as store:
        yield Installation(store)


pytestmark = pytest.mark.clickhouse


async def test_a_preview_writes_nothing_and_says_what_a_release_does(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com")
    tables.bounces("bob@example.com", account="bold")
    tables.bounces("cat@other.org")
    tables.bounces("dan@example.com", reason="550 5.7.1 spam")
    tables.event("complained", "ann@example.com")
    tables.bounces("eve@example.com", account="")
    plan = tables.plan()
    report = await tables.preview(plan)
    assert (tables.kafka.sent, report.addresses, report.left) == ([], 2, {})
    assert report.by_account == {"acme": 1, "*": 1}, "events that name no message are of no account"
    assert report.by_cause == {"sendgrid 5.1.1": 2}
    assert [(sample["address"], sample["scope"], sample["reason"]) for sample in report.samples] == [
        ("bob@example.com", "*", "550 5.1.1 User unknown"),
        ("eve@example.com", "*", "550 5.1.1 User unknown"),
    ]
    assert (await tables.release(plan)).as_json() == report.as_json()
    assert tables.suppressed() == [("ann@example.com", "*"), ("cat@other.org", "*"), ("dan@example.com", "*")]


async def test_the_commands_say_who_why_and_for_what(tables: Installation) -> None:
    tables.bounces("ann@example.com")
    plan = tables.plan()
    await tables.release(plan)
    [command] = tables.commands()
    assert (command.action, command.address, command.scope, command.actor) == ("release", "ann@example.com", "*", "ann")
    assert (command.reason, command.at_us) == ("their outage", plan.as_of_us)
    assert command.note == "bulk release: domain example.com, text user unknown"
    assert tables.kafka.sent[0].headers == {"actor": b"ann"}


async def test_what_changed_after_the_preview_is_left(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com", "cat@example.com")
    plan = tables.plan()
    tables.command("suppress", "bob@example.com")
    tables.event("unsubscribed", "cat@example.com")
    same = tables.plan(bulk_id=plan.bulk_id)
    report = await tables.release(same)
    assert (report.addresses, report.left) == (1, {"the address changed after the preview": 1})
    assert tables.suppressed() == [("bob@example.com", "*"), ("cat@example.com", "*")]


async def test_a_suppression_that_the_tables_do_not_show_yet_survives_a_release(tables: Installation) -> None:
    tables.bounces("ann@example.com")
    plan = tables.plan()
    at_us = tables.tick()
    await release_in_bulk(tables.kafka, tables.store, plan, TWO_AT_ONCE)
    newer = Evidence(Kind.SUPPRESS, "newer", at_us, at_us, actor="jo")
    tables.apply(AddressKey("email", "ann@example.com"), newer)
    tables.apply_commands()
    assert tables.suppressed() == [("ann@example.com", "*")]


async def test_an_account_that_suppresses_the_address_itself_is_not_overruled(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com")
    tables.command("suppress", "ann@example.com", "bold")
    report = await tables.release(tables.plan())
    assert [*report.left.values()] == [1]
    assert tables.suppressed() == [("ann@example.com", "*"), ("ann@example.com", "bold")]


async def test_an_interrupted_release_is_resumed_without_releasing_anything_twice(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com", "cat@example.com")
    plan, one_by_one = tables.plan(), Limits(1, 2, lambda _: _fail_after(tables.kafka, 2))
    with pytest.raises(BrokerError):
        await release_in_bulk(tables.kafka, tables.store, plan, one_by_one)
    assert len(tables.kafka.sent) == 2
    again = tables.plan(bulk_id=plan.bulk_id)
    assert (await release_in_bulk(tables.kafka, tables.store, again, TWO_AT_ONCE)).addresses == 3, "none is applied yet"
    tables.apply_commands()
    ids = [command.command_id for command in tables.commands()]
    assert ids[:2] == ids[2:4]
    assert (tables.suppressed(), (await tables.release(again)).addresses, len(tables.kafka.sent)) == ([], 0, 5)
    [listed] = list_bulk_releases(tables.store, STAFF, limit=9)
    assert (listed["id"], listed["addresses"]) == (plan.bulk_id, 3)
    assert [state.version for state in tables.states.values()] == [2, 2, 2], "each was published once"


async def _fail_after(kafka: FakeKafka, records: int) -> None:
    """The wait between two writes: Kafka goes away after some records."""
    kafka.errors = [BrokerError("gone", "here", "later")] if len(kafka.sent) == records else []


async def test_the_rate_is_limited_by_waiting_for_each_part(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com", "cat@example.com")
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    await release_in_bulk(tables.kafka, tables.store, tables.plan(), Limits(2, 9, wait))
    assert waited == [1.0, 0.5]


async def test_an_undo_suppresses_what_the_release_freed_and_nobody_changed(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com", "cat@example.com", "dan@example.com")
    before = tables.suppressed()
    plan = tables.plan()
    await tables.release(plan)
    tables.command("suppress", "bob@example.com")
    tables.command("suppress", "cat@example.com")
    tables.command("release", "cat@example.com")
    dry = await tables.undo(plan.bulk_id, dry_run=True)
    assert (dry.addresses, sum(dry.left.values()), len(tables.kafka.sent)) == (2, 2, 4)
    assert (await tables.undo(plan.bulk_id)).as_json() == dry.as_json()
    assert tables.suppressed() == [one for one in before if one[0] != "cat@example.com"]
    assert (await tables.undo(plan.bulk_id)).addresses == 0
    [listed] = list_bulk_releases(tables.store, STAFF, limit=9)
    assert (listed["addresses"], listed["undone"], listed["actor"]) == (4, 2, "ann")
    assert tables.commands()[-1].note == f"undoes bulk release {plan.bulk_id}"


async def test_an_undone_release_leaves_a_manual_suppression_that_can_be_released_in_bulk(tables: Installation) -> None:
    tables.bounces("ann@example.com")
    plan = tables.plan()
    await tables.release(plan)
    await tables.undo(plan.bulk_id)
    again = tables.plan({"with_reason": "manual", "domain": "example.com"})
    assert (await tables.release(again)).addresses == 1
    assert tables.suppressed() == []
    assert [row["id"] for row in list_bulk_releases(tables.store, STAFF, limit=9)] == [again.bulk_id, plan.bulk_id]


async def test_another_account_s_records_stay_as_they_are(tables: Installation) -> None:
    tables.bounces("ann@example.com", "bob@example.com")
    tables.bounces("cat@example.com", account="bold")
    tables.event("bounced", "dan@example.com", "acme")
    tables.event("bounced", "dan@example.com", "bold")
    for scope in ("acme", "bold"):
        tables.command("suppress", "eve@example.com", scope)
    report = await tables.preview(tables.plan(WAVE | {"account": "acme"}))
    assert (report.addresses, [*report.left.values()]) == (2, [1])
    own = a_principal("acme")
    manual = {"with_reason": "manual", "domain": "example.com"}
    release = tables.plan(manual, own)
    assert (await tables.release(release)).addresses == 1
    assert (await tables.release(tables.plan(WAVE, own))).addresses == 0, "`*` takes somebody of all accounts"
    assert ("eve@example.com", "acme") not in tables.suppressed()
    assert ("eve@example.com", "bold") in tables.suppressed()
    other = a_principal("bold")
    assert list_bulk_releases(tables.store, other, limit=9) == []
    for work in (tables.undo(release.bulk_id, other), tables.undo(tables.plan().bulk_id)):
        with pytest.raises(RequestError):
            await work
    with pytest.raises(RequestError) as raised:
        tables.plan(WAVE | {"account": "bold"}, own)
    assert raised.value.code == "no-such-account"


def a_refusal(tables: Installation, address: str, account: str = "acme", **fields: Any) -> str:
    """A message to an address that is refused now."""
    message_id = tables.message(account)
    request = a_request(account_id=account, message_id=message_id, requested_us=tables.now_us, to=address, **fields)
    ids = {"account_id": account, "message_id": message_id}
    decided = a_decision("suppressed", **ids, decided_us=tables.tick(), reason="bounces", request=request)
    tables.store.insert("message_state", state_table(events_table([]), decisions=[decided]))
    return message_id


def found(tables: Installation, bulk_id: str, by: Principal = STAFF, account: str | None = None) -> Sequence[str]:
    pages = refused_messages(tables.store, by, bulk_id, account=account, decision_days=30)
    return sorted(row["email_id"] for page in pages for row in page)


async def test_the_messages_that_were_refused_meanwhile_are_found(tables: Installation) -> None:
    a_refusal(tables, "ann@example.com")
    tables.bounces("ann@example.com", "bob@example.com", "cat@other.org")
    acme, bold = a_refusal(tables, "Ann@Example.com"), a_refusal(tables, "bob@example.com", "bold")
    a_refusal(tables, "cat@other.org")
    a_refusal(tables, "cat@other.org", cc=("ann@example.com",))
    plan = tables.plan()
    await tables.release(plan)
    late = a_refusal(tables, "ann@example.com")
    tables.command("suppress", "ann@example.com")
    a_refusal(tables, "ann@example.com")
    assert found(tables, plan.bulk_id) == sorted([acme, bold, late]), "one was read before the release, decided after"
    assert found(tables, plan.bulk_id, account="bold") == [bold]
    with pytest.raises(RequestError):
        found(tables, plan.bulk_id, a_principal("acme"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"account": "acme"}, "an account alone", id="an account alone"),
        pytest.param({"with_reason": "complaint", "domain": "example.com"}, "`with_reason`", id="complaints"),
        pytest.param({"with_reason": "manual", "code": "550"}, "have no code", id="a code of a command"),
        pytest.param({"domain": "%"}, "`domain`", id="a wildcard: %"),
        pytest.param({"domain": "example_com"}, "`domain`", id="a wildcard: _"),
        pytest.param({"domain": "example.com' OR 1"}, "`domain`", id="SQL"),
        pytest.param({"domain": "a@example.com"}, "`domain`", id="an address"),
        pytest.param({"domain": "example.com\nBcc: x"}, "`domain`", id="a line break"),
        pytest.param({"domain": "x" * 10_000}, "`domain`", id="too long"),
        pytest.param({"domain": ""}, "`domain`", id="an empty domain"),
        pytest.param({"from": "yesterday"}, "`from`", id="no time"),
        pytest.param({"from": "2026-11-30", "to": "2026-11-29"}, "must not be after", id="from after to"),
        pytest.param({"provider": "mailgun"}, "`provider`", id="no provider"),
        pytest.param({"text": ""}, "`text`", id="an empty text"),
        pytest.param({"text": "\udcff"}, "UTF-8", id="not UTF-8"),
        pytest.param({"text": "x" * 1_001}, "`text`", id="a text that is too long"),
    ],
)
def test_a_cause_that_can_not_be_is_refused(fields: dict[str, str], named: str) -> None:
    with pytest.raises(FieldsInvalid, match=named):
        cause_of(fields, STAFF)


HOSTILE = ["100%", "_", "\\", "'; DROP TABLE commands --", "{text:String}", "\0", "İ"]


async def test_hostile_text_is_compared_as_it_is(tables: Installation) -> None:
    tables.bounces("ann@example.com")
    for number, text in enumerate(HOSTILE):
        tables.bounces(f"u{number}@example.com", reason=f"said: {text}")
    for number, text in enumerate(HOSTILE):
        report = await tables.preview(tables.plan({"text": text}))
        assert [sample["address"] for sample in report.samples] == [f"u{number}@example.com"]


def test_an_id_is_good_for_its_own_cause_and_not_before_its_time() -> None:
    fields = {"domain": "example.com"}
    plan = plan_release(fields, "r", STAFF, PREVIEW_US)
    assert plan_release(fields, "r", STAFF, PREVIEW_US + 1, bulk_id=plan.bulk_id.upper()) == plan
    for other, now_us, id_ in (
        ({"domain": "example.org"}, PREVIEW_US, plan.bulk_id),
        (fields, PREVIEW_US - SECOND_US, plan.bulk_id),
        (fields, PREVIEW_US, "not an id"),
        (fields, PREVIEW_US, uuid7(PREVIEW_US, b"0" * 10)),
    ):
        with pytest.raises(RequestError):
            plan_release(other, "r", STAFF, now_us, bulk_id=id_)
    with pytest.raises(FieldsInvalid):
        plan_release(fields, " ", STAFF, PREVIEW_US)
    assert rfc3339(plan.as_of_us) == rfc3339(PREVIEW_US)
    assert valid_bulk_id(plan.bulk_id) == plan.bulk_id
