"""The gate worker: the way in, an agent by address and an agent by account, in one app and group.

Delivery guarantee: what is forwarded is there at least once and folded by its id; from there on the effect of every
record is there exactly once (processors/engine/README.md, docs/explanation/gate.md).
"""

from collections.abc import Callable
from enum import StrEnum

import structlog
from prometheus_client import start_http_server

from processors.collector import calm_collector
from processors.dead_letters import DeadLetters, producer
from processors.engine import Codec, Group, GroupWriter, KeyedAgent, MicroBatchApp, Moment, run_app
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import Intake
from processors.lag import show_lag
from processors.waits import telling
from projections.gate.rules import Rules
from schemas.errors import BrokerError
from schemas.settings import GateSettings
from schemas.telemetry import Telemetry
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, GATE_INPUTS, SENDS_DECIDED, SUPPRESSIONS_CHANGED

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
    """Run the worker until it is stopped or crashes; return its exit code.

    `on_phase` is called at each phase of both agents, `on_intake` at each of the way in: for tests that end the worker
    right there. They must not raise.
    """
    telemetry = Telemetry()
    rules = Rules(
        suppress_bounces=settings.suppress_bounces,
        suppress_window_days=settings.suppress_window_days,
        decision_days=settings.decision_days,
        refuse_unknown=settings.default_policy == "refuse",
    )
    kafka = producer(settings.kafka_bootstrap)
    app = MicroBatchApp(
        settings.gate_group,
        broker="kafka://" + ";kafka://".join(settings.kafka_bootstrap.split(",")),
        datadir=settings.worker_dir / f"gate-{settings.instance}",
        instance=f"{settings.gate_group}-{settings.instance}",
    )
    on_retry = telling(telemetry, "gate")
    KeyedAgent(
        app,
        source=GATE_BY_ADDRESS.name,
        changelog=GATE_BY_ADDRESS.changelog,
        step=AddressStep(rules),
        codec=Codec(bytes, bytes),
        outputs=[GATE_BY_ACCOUNT.name, SUPPRESSIONS_CHANGED.name],
        on_retry=on_retry,
        on_phase=on_phase,
    )
    KeyedAgent(
        app,
        source=GATE_BY_ACCOUNT.name,
        changelog=GATE_BY_ACCOUNT.changelog,
        step=AccountStep(rules),
        codec=Codec(bytes, bytes),
        outputs=[SENDS_DECIDED.name],
        on_retry=on_retry,
        on_phase=on_phase,
    )
    intake = Intake(kafka, DeadLetters(kafka, "gate"), telemetry, rules)

    async def forward(group: Group) -> None:
        on_intake(IntakePhase.READ)
        await intake.write(group)
        on_intake(IntakePhase.FORWARDED)

    writer = GroupWriter(app, forward, records=2_000, within=0.005, world=(BrokerError,), on_retry=on_retry)
    for topic in GATE_INPUTS:
        app.attach(app.batch_topic(topic.name), writer)
    show_lag(app, settings.gate_group, telemetry)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host, telemetry.registry)

    def announce() -> None:
        calm_collector()  # the states are restored by now
        telemetry.gauge("up", "gate").set(1)
        log.info("gate.assigned", instance=settings.instance)
        ready()

    await kafka.start()
    try:
        return await run_app(app, ready=announce)
    finally:
        await kafka.stop()
