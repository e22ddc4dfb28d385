"""The gate worker: the way in, an agent by address and an agent by account, in one app and group.

Delivery guarantee: what is forwarded is there at least once and folded by its id; from there on the effect of every
record is there exactly once (processors/engine/README.md, docs/explanation/gate.md).
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import structlog

from processors.dead_letters import DeadLetters
from processors.engine import Codec, FaultLimit, Group, GroupWriter, KeyedAgent, MicroBatchApp, Moment, run_app
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.forwarding import kind_of
from processors.gate.intake import WORLD, Intake
from processors.gate.sparing import Sparing
from processors.lag import show_lag
from processors.memory import calm_collector, give_back
from processors.waits import telling
from processors.worker import metrics_shown, own_folder, producer_of, remember_failures, stoppable
from projections.gate.rules import Rules
from schemas.errors import BrokerDenied
from schemas.settings import GateSettings
from schemas.telemetry import Telemetry
from schemas.topics import (
    DEAD_LETTERS,
    GATE_BY_ACCOUNT,
    GATE_BY_ADDRESS,
    GATE_INPUTS,
    SENDS_DECIDED,
    SUPPRESSIONS_CHANGED,
)

__all__ = ["IntakePhase", "run_gate"]

log = structlog.get_logger()


class IntakePhase(StrEnum):
    """The moments of a group of records on its way in. Its offsets are committed some time after the second."""

    READ = "read"
    FORWARDED = "forwarded"


async def run_gate(
    settings: GateSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    on_phase: Callable[[Moment], None] = lambda _moment: None,
    on_intake: Callable[[IntakePhase], None] = lambda _phase: None,
) -> int:
    """Run the worker until it is stopped or crashes; return its exit code. Raises ConfigError and BrokerError.

    `on_phase` is called at each phase of both agents, `on_intake` at each of the way in: for tests that end the worker
    right there. They must not raise.
    """
    return await stoppable(_run(settings, ready, on_phase, on_intake))


async def _run(
    settings: GateSettings,
    ready: Callable[[], None],
    on_phase: Callable[[Moment], None],
    on_intake: Callable[[IntakePhase], None],
) -> int:
    telemetry = Telemetry()
    rules = Rules(
        suppress_bounces=settings.suppress_bounces,
        suppress_window_days=settings.suppress_window_days,
        decision_days=settings.decision_days,
        refuse_unknown=settings.default_policy == "refuse",
    )
    datadir = own_folder(settings, f"gate-{settings.instance}")
    with metrics_shown(settings, telemetry):
        async with producer_of(settings.kafka_bootstrap, telemetry) as kafka:
            limit = FaultLimit()
            intake = Intake(kafka, DeadLetters(kafka, "gate", telemetry), telemetry, rules, limit)
            app = _wired(settings, datadir, telemetry, rules, limit, intake, on_phase, on_intake)

            def announce() -> None:
                calm_collector()  # the states are restored by now
                telemetry.gauge("up", "gate").set(1)
                log.info("gate.assigned", instance=settings.instance)
                ready()

            await remember_failures(limit, settings.kafka_bootstrap, "gate")
            return await run_app(app, ready=announce)


def _wired(
    settings: GateSettings,
    datadir: Path,
    telemetry: Telemetry,
    rules: Rules,
    limit: FaultLimit,
    intake: Intake,
    on_phase: Callable[[Moment], None],
    on_intake: Callable[[IntakePhase], None],
) -> MicroBatchApp:
    app = MicroBatchApp(
        settings.gate_group,
        broker="kafka://" + ";kafka://".join(settings.kafka_bootstrap.split(",")),
        datadir=datadir,
        instance=f"{settings.gate_group}-{settings.instance}",
        metadata_max_age=settings.metadata_seconds,
        after_large=give_back,
    )
    on_retry = telling(telemetry, "gate")
    KeyedAgent(
        app,
        source=GATE_BY_ADDRESS.name,
        changelog=GATE_BY_ADDRESS.changelog,
        step=Sparing(AddressStep(rules), limit, telemetry, kind_of),
        codec=Codec(bytes, bytes),
        outputs=[GATE_BY_ACCOUNT.name, SUPPRESSIONS_CHANGED.name, DEAD_LETTERS.name],
        on_retry=on_retry,
        on_phase=on_phase,
    )
    KeyedAgent(
        app,
        source=GATE_BY_ACCOUNT.name,
        changelog=GATE_BY_ACCOUNT.changelog,
        step=Sparing(AccountStep(rules), limit, telemetry, kind_of),
        codec=Codec(bytes, bytes),
        outputs=[SENDS_DECIDED.name, DEAD_LETTERS.name],
        on_retry=on_retry,
        on_phase=on_phase,
    )
    intake.place_by(lambda: app.keyed_counts)

    async def forward(group: Group) -> None:
        on_intake(IntakePhase.READ)
        await intake.write(group)
        on_intake(IntakePhase.FORWARDED)

    writer = GroupWriter(
        app,
        forward,
        records=2_000,
        body_bytes=16 * 2**20,
        within=0.005,
        world=WORLD,
        lasting=(BrokerDenied,),
        on_retry=on_retry,
    )
    for topic in GATE_INPUTS:
        app.attach(app.batch_topic(topic.name), writer)
    show_lag(app, settings.gate_group, telemetry)
    return app
