"""The gate while its workers are killed, paused, joined and removed: nothing is wrong, lost, duplicated or conflicting.

The expected results come from an oracle that shares no code with the gate. All cases use one Kafka; each has its own
accounts, addresses and phone numbers (`tests.gate.traffic`). How results are compared: `tests.gate.comparison`.
"""

import signal
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from processors.engine import Phase
from processors.engine.run import Exit
from processors.gate.app import IntakePhase
from schemas.topics import (
    ACCOUNTS_POLICIES,
    DEAD_LETTERS,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)
from tests.gate.building import a_command, a_policy, a_request, as_bytes
from tests.gate.cluster import FIRST, SECOND, Case, Kafka, Workers, kafka_with_topics
from tests.gate.oracle import SentRecord
from tests.gate.worker import Component, Halt

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kafka]:
    async with kafka_with_topics(tmp_path_factory.mktemp("broker")) as kafka:
        yield kafka


@pytest.fixture(scope="module")
async def workers(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
    workers = Workers(kafka, tmp_path_factory.mktemp("gate"))
    try:
        yield workers
    finally:
        print(await workers.end())  # shown where a test fails


# -- malformed input


def _with(record: dict[str, Any], **overrides: Any) -> bytes:
    return as_bytes(record | overrides)


def _without(record: dict[str, Any], name: str) -> bytes:
    return as_bytes({key: value for key, value in record.items() if key != name})


REQUEST, POLICY, COMMAND = a_request("acme"), a_policy("acme"), a_command("suppress", "ann@example.com")
PREFERENCE = {
    "account_id": "acme",
    "recipient_kind": "client",
    "recipient_id": "c1",
    "updated_at": POLICY["updated_at"],
}

SKIPPED = [
    (SENDS_REQUESTED, b"not json"),
    (SENDS_REQUESTED, _with(REQUEST, message_id="4c0d8fbb-4bd6-4bd6-8bd6-4c0d8fbb4bd6")),
    (SENDS_REQUESTED, _without(REQUEST, "account_id")),
    (SENDS_REQUESTED, _with(REQUEST, channel="fax")),
    (SENDS_REQUESTED, _with(REQUEST, to="")),
    (SENDS_REQUESTED, _with(REQUEST, subject="x" * 2 * 2**20)),
    (SENDS_REQUESTED, b"[" * 100_000),
    (SENDS_REQUESTED, b""),
    (WEBHOOKS["sendgrid"], b"not json"),
    (WEBHOOKS["sendgrid"], b'[1, {"event": 2}, {"event": "spamreport"}, {"event": "spamreport", "email": {"a": []}}]'),
    (WEBHOOKS["postmark"], b"\xff\xfe"),
    (WEBHOOKS["postmark"], b'{"RecordType": null}'),
    (WEBHOOKS["twilio"], b""),
]
PARKED = [
    (ACCOUNTS_POLICIES, b"not json \xff\x00", "record_not_json"),
    (ACCOUNTS_POLICIES, _without(POLICY, "account_id"), "record_invalid"),
    (ACCOUNTS_POLICIES, _with(POLICY, trial_email_limit=-1), "record_invalid"),
    (ACCOUNTS_POLICIES, _with(POLICY, updated_at="9999-01-01T00:00:00Z"), "record_invalid"),
    (ACCOUNTS_POLICIES, _with(POLICY, blocked={"reason": "x" * 2 * 2**20}), "record_invalid"),
    (RECIPIENTS_PREFERENCES, b"", "record_not_json"),
    (RECIPIENTS_PREFERENCES, _with(PREFERENCE, recipient_kind="robot"), "record_invalid"),
    (RECIPIENTS_PREFERENCES, _with(PREFERENCE, recipient_id=" "), "record_invalid"),
    (SUPPRESSIONS_COMMANDS, b"{", "record_not_json"),
    (SUPPRESSIONS_COMMANDS, _with(COMMAND, action="forget"), "record_invalid"),
    (SUPPRESSIONS_COMMANDS, _with(COMMAND, channel="fax"), "record_invalid"),
    (SUPPRESSIONS_COMMANDS, _with(COMMAND, scope="no account"), "record_invalid"),
    (SUPPRESSIONS_COMMANDS, _without(COMMAND, "at"), "record_invalid"),
]


async def test_malformed_input_blocks_nothing_and_the_gate_parks_that_of_its_own_topics(
    kafka: Kafka, workers: Workers
) -> None:
    """All records of a topic go into one partition, malformed ones first."""
    await workers.only()
    case, own = Case(kafka, "malformed", 10), (("trace", b"\x00\xff"),)
    parked = [SentRecord(topic.name, f"key{n}", value, own) for n, (topic, value, _) in enumerate(PARKED)]
    offsets = await kafka.write(parked, partition=0)
    await kafka.write([SentRecord(topic.name, "key", value, own) for topic, value in SKIPPED], partition=0)
    for _name, stage in case.traffic.stages():
        await case.write(stage(), partition=0)
        await kafka.settled()
    assert await case.differences() == []

    letters = {
        (headers["dlq.topic"], headers["dlq.partition"], headers["dlq.offset"]): (letter, headers)
        for letter in await kafka.records(DEAD_LETTERS.name)
        for headers in [dict(letter.headers)]
    }
    due = [(sent.topic.encode(), b"0", b"%d" % offset) for sent, offset in zip(parked, offsets, strict=True)]
    assert sorted(letters) == sorted(due)
    for place, sent, (_topic, _value, reason) in zip(due, parked, PARKED, strict=True):
        letter, headers = letters[place]
        assert (letter.key, letter.value, headers["trace"]) == (sent.key.encode(), sent.value, b"\x00\xff")
        assert (headers["dlq.processor"], headers["dlq.reason"]) == (b"gate", reason.encode())
        assert headers["dlq.detail"]
        assert datetime.fromisoformat(headers["dlq.failed_at"].decode()).tzinfo is not None


# -- kill -9


def _halt(component: Component, phase: Phase | IntakePhase, times: int = 1) -> Halt:
    return Halt(component=component, phase=phase, times=times)


@pytest.mark.parametrize(
    ("over_facts", "over_requests"),
    [
        pytest.param(
            [_halt("intake", IntakePhase.READ)],
            [_halt("intake", IntakePhase.FORWARDED)],
            id="before the intake has sent facts, after it has sent requests",
        ),
        pytest.param(
            [_halt("intake", IntakePhase.FORWARDED)],
            [_halt("intake", IntakePhase.READ)],
            id="after the intake has sent facts, before it has sent requests",
        ),
        pytest.param(
            [_halt("by-address", Phase.STEPPED, 2), _halt("by-address", Phase.FENCED)],
            [_halt("by-account", Phase.STEPPED, 2), _halt("by-account", Phase.FENCED)],
            id="after the step, and when the former owner is fenced",
        ),
        pytest.param(
            [_halt("by-address", Phase.WRITTEN, 2), _halt("by-address", Phase.RESTORING)],
            [_halt("by-account", Phase.WRITTEN, 2), _halt("by-account", Phase.RESTORING)],
            id="after the write, and while the next owner restores",
        ),
        pytest.param(
            [_halt("by-address", Phase.COMMITTED, 2), _halt("by-address", Phase.RESTORED)],
            [_halt("by-account", Phase.COMMITTED, 2), _halt("by-account", Phase.RESTORED)],
            id="after the commit, and when the next owner has restored",
        ),
        pytest.param(
            [_halt("by-address", Phase.APPLIED, 2)],
            [_halt("by-account", Phase.APPLIED, 2)],
            id="after the state in memory has changed",
        ),
    ],
)
async def test_kill_9(
    kafka: Kafka,
    workers: Workers,
    request: pytest.FixtureRequest,
    over_facts: list[Halt],
    over_requests: list[Halt],
) -> None:
    """The first halt kills the working process, the others kill those that take over."""
    number = 20 + request.node.callspec.indices["over_facts"]
    case = Case(kafka, f"kill{number}", number)
    halts = {"facts": over_facts, "requests": over_requests}
    for name, stage in case.traffic.stages():
        worker = await workers.only()
        at_work, *taking_over = halts.get(name, [None])
        if at_work is None:
            await case.write(stage())
        else:
            worker.arm(at_work)
            await case.write(stage())
            for halt in [*taking_over, None]:
                assert await worker.ended() == -signal.SIGKILL
                worker = await workers.start(FIRST, halt)
        await kafka.settled()
    assert await case.differences() == []


# -- two workers


async def test_a_second_worker_joins_and_leaves_and_both_decide(kafka: Kafka, workers: Workers) -> None:
    first, case = await workers.only(), Case(kafka, "joining", 30)
    stages = dict(case.traffic.stages())
    await case.write(stages["facts"]())
    await kafka.settled()
    requests = stages["requests"]()
    case.expected.read(requests)
    await kafka.write(requests[: len(requests) // 2])
    second = await workers.start(SECOND)
    await second.ready()
    alone = first.decisions
    await kafka.write(requests[len(requests) // 2 :])
    await kafka.settled()
    await case.write(stages["changes"]())
    await kafka.settled()
    repeats = stages["repeats"]()
    case.expected.read(repeats)
    await kafka.write(repeats[: len(repeats) // 2])
    assert await second.terminate() == 0
    await kafka.write(repeats[len(repeats) // 2 :])
    await kafka.settled()
    assert await case.differences() == []
    assert first.decisions > alone
    assert second.decisions > 0


@pytest.mark.parametrize(
    ("over", "halt"),
    [
        pytest.param("facts", _halt("by-address", Phase.STEPPED), id="evidence is folded and nothing written"),
        pytest.param("requests", _halt("by-account", Phase.WRITTEN), id="decisions are written and not committed"),
        pytest.param("facts", _halt("intake", IntakePhase.READ), id="facts are read and not sent"),
    ],
)
async def test_a_paused_owner_writes_nothing_stale_after_another_took_over(
    kafka: Kafka, workers: Workers, request: pytest.FixtureRequest, over: str, halt: Halt
) -> None:
    """Its open transaction is refused. What its intake was about to send is sent again, and recognised as a repeat.

    It resumes during the changes. Then all partitions move once more, so that a stale changelog row would be restored.
    """
    owner, successor = await workers.both()
    number = 40 + request.node.callspec.indices["halt"]
    case = Case(kafka, f"sleep{number}", number)
    before, assignments = successor.decisions, 0
    for name, stage in case.traffic.stages():
        if name == over:
            owner.arm(halt.model_copy(update={"signal": signal.SIGSTOP}))
        if name == "changes":
            assert successor.decisions > before
            owner.send(signal.SIGCONT)
        await case.write(stage())
        if name == over:
            await owner.halted()
            assignments = owner.notes("# ready")
        if name == "changes":
            await owner.resumed_or_ended(assignments)
            assert owner.running or await owner.ended() == Exit.CRASHED, owner.complaints()
            await workers.both()
        await kafka.settled()
    assert await case.differences() == []
