"""What other rules would suppress, on a real Kafka with a real gate: the simulator's oracle says the same."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from aiokafka import TopicPartition

from processors.kafka.group_offsets import commit_offsets
from processors.kafka.lag import Lag, PartitionLag, wait_until_caught_up
from projections.suppressions import evidence
from projections.suppressions.rules import DEFAULT_RULES, GateRules
from schemas.consumer_groups import DEFAULT_GATE_GROUP
from schemas.decoding.times import DAY_US
from schemas.errors import BrokerError
from simulator.address_state import Limits
from simulator.kafka import run_over_kafka
from simulator.messages import PlanOptions
from simulator.oracle import Oracle
from simulator.plan import Plan, plan
from simulator.providers import twilio
from tests.building import FakeRecord
from tests.kafka.broker import broker_with_topics
from tests.local.waiting import PATIENCE_SECONDS
from tests.operating.commands import Ended, in_process, sendledger
from tests.stack.programs import Program, running
from verification import suppressions
from verification.suppressions import AddressChange, EvidenceInLog, changes_of, compare_suppressions, stated

MESSAGES, SEED = 400, 5
UNTIL_US: Final = time.time_ns() // 1000 // DAY_US * DAY_US

Change = tuple[str, str, str, str]
"""Address, scope or opt-out, before, after."""


def planned(limits: Limits) -> tuple[Plan, dict[str, Any]]:
    """The plan, and the states of its addresses under these limits."""
    oracle = Oracle(SEED, decides=False, limits=limits)
    made = plan(MESSAGES, SEED, PlanOptions(UNTIL_US, ("demo", "acme"), decides=False), oracle=oracle)
    return made, orjson.loads(oracle.as_json())["addresses"]


def expected(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[Change]:
    """What differs between two documents of the oracle."""

    def said(states: Mapping[str, Any], address: str, scope: str) -> str:
        state = states.get(address, {}).get("scopes", {}).get(scope, {})
        return f"{state['reason']} since {state['since']}" if state.get("suppressed") else "free"

    places = {
        (address, scope) for states in (before, after) for address in states for scope in states[address]["scopes"]
    }
    found = {(*place, said(before, *place), said(after, *place)) for place in places}
    return {change for change in found if change[2] != change[3]}


@dataclass(frozen=True)
class Gate:
    """A gate that has read the plan, and what the oracle expects of it."""

    bootstrap: str
    folder: Path
    addresses: dict[str, Any]

    async def what_if(self, text: str, *more: str) -> Ended:
        file = self.folder / "what-if.env"
        file.write_text(text)
        env = {"SENDLEDGER_KAFKA_BOOTSTRAP": self.bootstrap}
        words = ("rebuild", "--diff", "--with-settings", str(file), *more)
        return await sendledger(*words, env=env, folder=self.folder)


@pytest.fixture(scope="module")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    async with broker_with_topics(folder) as bootstrap:
        env = {"SENDLEDGER_KAFKA_BOOTSTRAP": bootstrap, "SENDLEDGER_WORKER_DIR": str(folder)}
        caught_up = partial(wait_until_caught_up, bootstrap, [DEFAULT_GATE_GROUP], within_seconds=PATIENCE_SECONDS)

        async def barrier() -> None:
            assert await caught_up() == 0

        async with running(Program(["worker", "gate"], env, folder / "gate.log")):
            made, addresses = planned(Limits())
            await run_over_kafka(bootstrap, made, barrier=barrier)
            await barrier()
            yield Gate(bootstrap, folder, addresses)


def changes(ended: Ended) -> set[Change]:
    rows = [orjson.loads(line) for line in ended.out.splitlines()]
    return {(row["id"], row["of"], row["from"], row["to"]) for row in rows if row["what"] == "address"}


@pytest.mark.stack
@pytest.mark.kafka
class TestOnKafka:
    @pytest.mark.parametrize(("bounces", "days"), [(2, 30), (1, 30), (1000, 30), (3, 1)])
    async def test_the_effect_of_other_rules_is_what_the_oracle_says(self, gate: Gate, bounces: int, days: int) -> None:
        rules = f"SENDLEDGER_SUPPRESS_BOUNCES={bounces}\nSENDLEDGER_SUPPRESS_WINDOW_DAYS={days}\n"
        ended = await gate.what_if(rules, "--json")
        _, after = planned(Limits(bounces, days * DAY_US))
        wanted = expected(gate.addresses, after)
        assert changes(ended) == wanted, ended.err
        assert ended.code == (1 if wanted else 0)
        assert wanted or bounces == DEFAULT_RULES.suppress_bounces, "the plan has addresses that this is about"

    async def test_the_rules_in_force_change_nothing(self, gate: Gate) -> None:
        ended = await gate.what_if("# as it is\nSENDLEDGER_SUPPRESS_BOUNCES='3'\n")
        assert (ended.code, ended.out) == (0, ""), ended.err
        assert "0 differences" in ended.err

    async def test_a_changed_row_of_a_fault_table_shows_its_effect(
        self, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rules = GateRules(suppress_bounces=1)
        monkeypatch.setattr(evidence, "RECIPIENT_CODES", frozenset())
        monkeypatch.setattr(twilio, "_PERMANENT_CODES", frozenset())
        _, after = planned(Limits(bounces=1))
        monkeypatch.undo()
        _, before = planned(Limits(bounces=1))
        assert any(address.startswith("sms:") for address, *_ in expected(before, after)), "the table matters here"

        monkeypatch.setattr(evidence, "RECIPIENT_CODES", frozenset())
        found = await compare_suppressions(gate.bootstrap, "gate", rules, lambda _: None)
        assert found is not None
        assert {tuple(change) for change in found.changes} == expected(gate.addresses, after)

    async def test_a_gate_that_has_not_read_everything_is_not_compared(
        self, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(suppressions, "_GATE_WITHIN_SECONDS", 0.0)
        await commit_offsets(gate.bootstrap, "behind", {TopicPartition("webhooks.sendgrid", 0): 1})
        with pytest.raises(BrokerError, match="The gate has not read"):
            await compare_suppressions(gate.bootstrap, "behind", DEFAULT_RULES, lambda _: None)

    async def test_without_a_gate_there_is_nothing_to_compare_with(self, gate: Gate) -> None:
        assert await compare_suppressions(gate.bootstrap, "no-such-gate", DEFAULT_RULES, lambda _: None) is None


@pytest.mark.parametrize(
    ("text", "words", "named"),
    [
        ("", ["--diff"], "names no setting"),
        ("SENDLEDGER_SUPPRESS_BOUNCES=0\n", ["--diff"], "SENDLEDGER_SUPPRESS_BOUNCES"),
        ("SENDLEDGER_GATE_GROUP=other\n", ["--diff"], "SENDLEDGER_GATE_GROUP"),
        ("SENDLEDGER_SUPPRESS_BOUNCES='2\n", ["--diff"], "can't be read"),
        ("SENDLEDGER_SUPPRESS_BOUNCES=2\n", [], "--diff alone"),
        ("SENDLEDGER_SUPPRESS_BOUNCES=2\n", ["--diff", "--swap"], "--diff alone"),
        ("SENDLEDGER_SUPPRESS_BOUNCES=2\n", ["--back"], "--diff alone"),
    ],
)
async def test_a_file_or_a_use_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, words: list[str], named: str
) -> None:
    file = tmp_path / "rules.env"
    file.write_text(text)
    ended = await in_process("rebuild", *words, "--with-settings", str(file), env={}, folder=tmp_path)
    assert ended.code in (2, 3), ended.err
    assert named in ended.err


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    words = ("rebuild", "--diff", "--with-settings", str(tmp_path / "none.env"))
    ended = await in_process(*words, env={}, folder=tmp_path)
    assert (ended.code, "none.env" in ended.err) == (3, True)


def test_a_record_that_is_not_understood_is_counted_by_its_reason_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = EvidenceInLog(DEFAULT_RULES)
    bounce = {"event": "bounce", "email": "ann@example.com", "timestamp": 1, "sg_message_id": "m", "status": "5.1.1"}
    for value in (b"{", orjson.dumps([bounce])):
        log.take(FakeRecord("webhooks.sendgrid", value, b"k"))
    assert ({str(key) for key in log.addresses}, dict(log.skipped)) == (
        {"email:ann@example.com"},
        {"body_not_json": 1},
    )

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(log._decoders, "webhooks.sendgrid", fails)
    log.take(FakeRecord("webhooks.sendgrid", b"[]", b"k"))
    assert log.skipped["our code fails: ZeroDivisionError"] == 1


async def test_what_only_one_of_two_comparisons_finds_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    stays, goes = (AddressChange(f"email:{n}@example.com", "*", "free", "bounces since t") for n in "ab")
    passes = iter([{stays, goes}, {stays}])

    async def found(*_: object) -> set[AddressChange]:
        return next(passes)

    async def measured(*_: object) -> Lag:
        return Lag((PartitionLag("gate", "webhooks.sendgrid", 0, 1, 1, 0),))

    monkeypatch.setattr(suppressions, "_changes", found)
    monkeypatch.setattr(suppressions, "lag", measured)
    compared = await compare_suppressions("nowhere", "gate", DEFAULT_RULES, lambda _: None)
    assert compared is not None
    assert compared.changes == (stays,)


def record(scopes: list[dict[str, Any]], opt_outs: list[dict[str, Any]]) -> bytes:
    return orjson.dumps({"scopes": scopes, "opt_outs": opt_outs})


def test_what_is_in_force_is_compared_and_not_what_was() -> None:
    released = {"scope": "*", "suppressed": False, "reason": "bounces", "since": "2026-11-01T00:00:00Z"}
    manual = {"scope": "acme", "suppressed": True, "reason": "manual", "since": "2026-11-02T00:00:00Z"}
    out = {"scope": "acme", "group": "13", "reason": "unsubscribed", "since": "2026-11-03T00:00:00Z"}
    before, after = stated(record([released, manual], [])), stated(record([manual], [out]))
    assert list(changes_of("email:a@example.com", before, after)) == [
        AddressChange("email:a@example.com", "acme/group 13/opt-out", "free", "unsubscribed since 2026-11-03T00:00:00Z")
    ]


def test_a_transition_has_no_times() -> None:
    change = AddressChange("email:a@example.com", "*", "free", "bounces since 2026-11-03T00:00:00Z")
    assert change.transition == ("free", "bounces")
