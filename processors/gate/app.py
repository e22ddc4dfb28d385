"""The gate worker: the intake, an agent by address and an agent by account, in one app and one consumer group.

Delivery guarantee: the intake forwards at least once, with ids by which repeats are recognised. In the agents each
record takes effect exactly once (processors/engine/README.md, docs/explanation/gate.md).
"""

from collections.abc import Callable
from enum import StrEnum

from processors.dead_letters import LetterOutputs
from processors.engine import BatchGroup, KeyedAgent, PhaseEvent, StateCodec
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import TRANSIENT_ERRORS, Intake
from processors.gate.messages import message_kind
from processors.gate.parking import ParkingStep
from processors.worker import Worker, run_worker
from projections.suppressions.rules import GateRules
from schemas.settings import GateSettings
from schemas.topics import (
    DEAD_LETTERS,
    GATE_BY_ACCOUNT,
    GATE_BY_ADDRESS,
    GATE_INPUTS,
    SENDS_DECIDED,
    SUPPRESSIONS_CHANGED,
)

__all__ = ["IntakePhase", "run_gate"]


class IntakePhase(StrEnum):
    """The phases of a group of records in the intake. Its offsets are committed some time after the second."""

    READ = "read"
    FORWARDED = "forwarded"


async def run_gate(
    settings: GateSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    on_phase: Callable[[PhaseEvent], None] = lambda _event: None,
    on_intake: Callable[[IntakePhase], None] = lambda _phase: None,
) -> int:
    """Run the worker until it is stopped or crashes; return its exit code. Raises ConfigError and BrokerError.

    `on_phase` is called at each phase of both agents, `on_intake` at each phase of the intake: for tests that kill the
    worker there. They must not raise.
    """

    async def attach(worker: Worker) -> None:
        rules = GateRules(
            suppress_bounces=settings.suppress_bounces,
            suppress_window_days=settings.suppress_window_days,
            decision_days=settings.decision_days,
            refuse_unknown=settings.default_policy == "refuse",
        )
        _add_agents(worker, rules, on_phase)
        _add_intake(worker, rules, on_intake)

    return await run_worker("gate", settings, settings.gate_group, attach, ready=ready)


def _add_agents(worker: Worker, rules: GateRules, on_phase: Callable[[PhaseEvent], None]) -> None:
    letters = LetterOutputs("gate", worker.telemetry)
    KeyedAgent(
        worker.app,
        source=GATE_BY_ADDRESS.name,
        changelog=GATE_BY_ADDRESS.changelog,
        step=ParkingStep(AddressStep(rules), worker.limit, letters, message_kind),
        codec=StateCodec(bytes, bytes),
        outputs=[GATE_BY_ACCOUNT.name, SUPPRESSIONS_CHANGED.name, DEAD_LETTERS.name],
        on_retry=worker.on_retry,
        on_phase=on_phase,
    )
    KeyedAgent(
        worker.app,
        source=GATE_BY_ACCOUNT.name,
        changelog=GATE_BY_ACCOUNT.changelog,
        step=ParkingStep(AccountStep(rules), worker.limit, letters, message_kind),
        codec=StateCodec(bytes, bytes),
        outputs=[SENDS_DECIDED.name, DEAD_LETTERS.name],
        on_retry=worker.on_retry,
        on_phase=on_phase,
    )


def _add_intake(worker: Worker, rules: GateRules, on_intake: Callable[[IntakePhase], None]) -> None:
    intake = Intake(worker.producer, worker.letters, worker.telemetry, rules, worker.limit)
    intake.use_partition_counts(lambda: worker.app.keyed_counts)

    async def forward(group: BatchGroup) -> None:
        on_intake(IntakePhase.READ)
        await intake.write(group)
        on_intake(IntakePhase.FORWARDED)

    worker.read(GATE_INPUTS, forward, records=2_000, body_bytes=16 * 2**20, within=0.005, transient=TRANSIENT_ERRORS)
