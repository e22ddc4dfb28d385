"""Exercises with our programs: killed, frozen, out of memory, over their limits, and with a bug."""

import asyncio
import resource
import signal
from contextlib import AsyncExitStack
from typing import Final

import orjson

from tests.stack.firing.acts import follows, looks
from tests.stack.firing.exercise import Act, Exercise
from tests.stack.firing.runbooks import page
from tests.stack.firing.stand import BAD_RELEASE, Stand
from tests.stack.firing.traffic import delivered, events, requests, usual

__all__ = ["ENDED", "WITH_A_BUG"]

_SECOND: Final = "gateway-2"
_RESTART: Final = frozenset({"TargetDown", "GatewayDown", "LedgerDown", "GateDown"})
"""Alerts that may fire while a program is restarted: five minutes are five seconds here."""
_CONNECTIONS: Final = 40
_LOOK: Final = looks("see-whether-it-is-healthy", 0)


def _ends(name: str, number: signal.Signals) -> Act:
    async def end(stand: Stand) -> None:
        await usual(stand)
        stand.send(name, number)

    return end


def _starts(name: str, runbook: str, *numbers: int) -> Act:
    """Look as the runbook says, kill the program, which may hang, and start it."""

    async def start(stand: Stand) -> None:
        await looks(runbook, *numbers)(stand)
        await stand.end(name, signal.SIGKILL)
        await stand.start(name)

    return start


# -- one of several processes


async def _second_gateway(stand: Stand) -> None:
    await stand.start(_SECOND)


async def _without_second_gateway(stand: Stand) -> None:
    await stand.end(_SECOND)
    del stand.programs[_SECOND]


# -- memory


async def _limit_memory(stand: Stand) -> None:
    """Set `ulimit -m` of the gate so that it uses nine tenths of it."""
    (reading,) = await stand.prometheus.query('sendledger_resident_bytes{job="sendledger-gate"}')
    limit = int(float(reading["value"][1]) / 0.9)
    resource.prlimit(stand.pid("gate"), resource.RLIMIT_RSS, (limit, limit))


# -- over its limits


async def _few_connections(stand: Stand) -> None:
    await stand.restart("gateway", max_connections=str(_CONNECTIONS))


async def _many_connections(stand: Stand) -> None:
    """Clients that open more connections than the gateway takes."""
    async with AsyncExitStack() as opened:
        for _ in range(_CONNECTIONS + 20):
            reader, writer = await asyncio.open_connection("127.0.0.1", stand.ports["gateway"])
            opened.callback(writer.close)
        assert (await reader.readline()).split()[1] == b"503", "the last one is over the limit"


async def _more_connections(stand: Stand) -> None:
    await _LOOK(stand)
    await stand.restart("gateway")


# -- errors


async def _kill_clickhouse(stand: Stand) -> None:
    await stand.clickhouse.end(signal.SIGKILL)


async def _reads(stand: Stand) -> None:
    statuses = await asyncio.gather(*(stand.read("/v1/messages") for _ in range(40)))
    assert set(statuses) <= {503, 429}


async def _start_clickhouse(stand: Stand) -> None:
    await _LOOK(stand)
    await stand.clickhouse.start()


# -- bad deploys


async def _bad_gateway(stand: Stand) -> None:
    await stand.restart("gateway", BAD_RELEASE)
    assert await stand.read("/v1/stats/delivery") == 500


async def _good_gateway(stand: Stand) -> None:
    await _LOOK(stand)
    failed = [line for line in stand.log_of("gateway").splitlines() if "request.failed" in line]
    assert "ZeroDivisionError" in failed[-1], "the exception is in the log"
    await stand.restart("gateway")
    assert await stand.read("/v1/stats/delivery") == 200


async def _bad_ledger(stand: Stand) -> None:
    await stand.restart("ledger", BAD_RELEASE)
    assert await stand.webhook([*delivered(5), *events(8, "delivered", category="reminder")]) == 204


async def _good_ledger(stand: Stand) -> None:
    await stand.restart("ledger")
    await stand.caught_up()
    wrong, letters, *_ = page("when-a-deploy-wrote-wrong-rows")
    await stand.shell.run(wrong, strict=False)  # what was parked is missing
    await stand.shell.run(letters)
    await stand.caught_up()


async def _no_letters(stand: Stand) -> None:
    listed = await stand.shell.run("sendledger dead-letters list --json")
    assert listed.out == "", listed.out
    assert "0 differences" in await stand.shell.follow("when-a-deploy-wrote-wrong-rows", 3)


async def _bad_gate(stand: Stand) -> None:
    await stand.restart("gate", BAD_RELEASE)
    await _requests(stand)


async def _good_gate(stand: Stand) -> None:
    """It hangs, so it is killed; after a deploy: roll back."""
    await _starts("gate", "when-the-gate-is-stuck", 0)(stand)


async def _gate_decides(stand: Stand) -> None:
    await stand.caught_up()
    assert "total 0" in await stand.shell.follow("when-the-gate-is-stuck", 1)


# -- dead letters


def _unreadable(count: int) -> Act:
    async def post(stand: Stand) -> None:
        """Elements that don't say what happened."""
        assert await stand.webhook([{"email": "ann@example.com", "timestamp": 1} for _ in range(count)]) == 204

    return post


async def _handle_letters(stand: Stand) -> None:
    await stand.caught_up()
    look, show, act = page("handle-dead-letters")
    await stand.shell.run(look)
    listed = await stand.shell.run("sendledger dead-letters list --json")
    first = orjson.loads(listed.out.splitlines()[0])["letter"]
    await stand.shell.run(show.replace("3:17", first))
    await stand.shell.run(act.replace("3:17", first))


async def _none_is_open(stand: Stand) -> None:
    listed = await stand.shell.run("sendledger dead-letters list --json")
    assert listed.out == "", listed.out


async def _requests(stand: Stand) -> None:
    assert await stand.ask(requests(2)) == 202


ENDED: Final = (
    Exercise(
        alerts=("TargetDown",),
        cause="one of two gateways is killed",
        prepare=_second_gateway,
        more=(_SECOND,),
        begin=_ends(_SECOND, signal.SIGKILL),
        goes_on=usual,
        ended_by="it is started",
        mend=_starts(_SECOND, "see-whether-it-is-healthy", 0),
        over=_without_second_gateway,
    ),
    Exercise(
        alerts=("GatewayDown",),
        cause="the only gateway is killed",
        begin=_ends("gateway", signal.SIGKILL),
        ended_by="it is started, as doctor says",
        mend=_starts("gateway", "see-whether-it-is-healthy", 0),
        over=follows("see-whether-it-is-healthy", 0),
        also=frozenset({"TargetDown"}),
    ),
    Exercise(
        alerts=("LedgerDown",),
        cause="the only ledger worker hangs (SIGSTOP)",
        begin=_ends("ledger", signal.SIGSTOP),
        goes_on=usual,
        ended_by="it is killed and started",
        mend=_starts("ledger", "when-the-lag-grows", 0, 1),
        over=follows("when-the-lag-grows", 2),
        also=frozenset({"TargetDown", "GateStuck"}),
    ),
    Exercise(
        alerts=("GateDown",),
        cause="the only gate worker hangs (SIGSTOP)",
        begin=_ends("gate", signal.SIGSTOP),
        goes_on=_requests,
        ended_by="it is killed and started",
        mend=_starts("gate", "when-the-gate-is-stuck", 0),
        over=follows("when-the-gate-is-stuck", 1),
        also=frozenset({"TargetDown"}),
    ),
    Exercise(
        alerts=("MemoryHigh",),
        cause="the gate's memory is limited to 10 % more than it has (`ulimit -m`)",
        begin=_limit_memory,
        ended_by="it is started again, with more memory",
        mend=_starts("gate", "when-the-lag-grows", 1),
        over=follows("when-the-gate-is-stuck", 1),
        also=_RESTART,
    ),
)
"""Programs that end or hang."""

WITH_A_BUG: Final = (
    Exercise(
        alerts=("GatewayOverloaded",),
        cause=f"clients open more connections than the gateway may have ({_CONNECTIONS})",
        prepare=_few_connections,
        begin=_many_connections,
        goes_on=_many_connections,
        ended_by="it is restarted with a higher limit",
        mend=_more_connections,
        over=follows("see-whether-it-is-healthy", 0),
        also=_RESTART,
    ),
    Exercise(
        alerts=("ErrorRate", "GatewayWithoutClickHouse"),
        cause="ClickHouse is killed while people read lists",
        begin=_kill_clickhouse,
        goes_on=_reads,
        ended_by="ClickHouse is started",
        mend=_start_clickhouse,
        over=follows("see-whether-it-is-healthy", 0),
    ),
    Exercise(
        alerts=("GatewayFails",),
        cause="a release of the gateway with a bug is deployed",
        begin=_bad_gateway,
        ended_by="it is rolled back",
        mend=_good_gateway,
        over=follows("see-whether-it-is-healthy", 0),
        also=_RESTART,
    ),
    Exercise(
        alerts=("GateStuck",),
        cause="a release of the gate that waits forever when it decides is deployed",
        begin=_bad_gate,
        goes_on=_requests,
        ended_by="it is killed and rolled back",
        mend=_good_gate,
        over=_gate_decides,
        also=_RESTART,
    ),
    Exercise(
        alerts=("DeadLetters",),
        cause="SendGrid posts 3 events without a type",
        begin=_unreadable(3),
        ended_by="the letters are discarded",
        mend=_handle_letters,
        over=_none_is_open,
    ),
    Exercise(
        alerts=("DeadLettersMany", "DeadLetters"),
        cause="SendGrid posts 130 events without a type",
        begin=_unreadable(130),
        ended_by="the letters are discarded",
        mend=_handle_letters,
        over=_none_is_open,
    ),
    Exercise(
        alerts=("DeadLettersOfOurCode",),
        cause="a release of the ledger whose adapter fails on 8 events is deployed",
        begin=_bad_ledger,
        ended_by="it is rolled back, and the letters are sent back",
        mend=_good_ledger,
        over=_no_letters,
        also=_RESTART | {"DeadLetters"},
    ),
)
"""Programs that answer with errors, or fail on records."""
