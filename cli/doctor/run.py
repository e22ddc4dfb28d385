"""Runs all checks concurrently."""

import asyncio
from collections.abc import Awaitable, Sequence

from application.checks import clickhouse, kafka
from application.checks.check import WRONG, Check, fail, unknown
from cli.doctor import gateway, settings
from cli.doctor.settings import PROGRAMS, ReadSettings, readable
from schemas.errors import RequestError
from schemas.settings import BrokerSettings, GatewaySettings, ReadersSettings, StoreSettings, TopicSettings

__all__ = ["run_checks", "text"]


async def run_checks(read: ReadSettings, programs: Sequence[str] = ()) -> list[Check]:
    """Return every check. `programs` limits whose settings are checked; empty means all.

    Raises RequestError for an unknown program.
    """
    wrong = [name for name in programs if name not in PROGRAMS]
    if wrong:
        raise RequestError(f"Unknown program {wrong[0][:40]!r}", "--for", f"Name one of {', '.join(PROGRAMS)}")
    programs = programs or list(PROGRAMS)
    checking = [_run_safely("kafka", _kafka(read)), _run_safely("clickhouse", _clickhouse(read))]
    if "gateway" in programs:
        checking.append(_run_safely("gateway", _gateway(read)))
    found = await asyncio.gather(*checking)
    return [*settings.check(read, programs), *(check for checks in found for check in checks)]


def text(checks: Sequence[Check]) -> str:
    """Return the checks as text: one line each, with the mend below it."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state.value:4}  {check.name:{width}}  {check.what}")
        if check.mend:
            lines.append(f"{'':{width + 8}}mend: {check.mend}")
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


async def _kafka(read: ReadSettings) -> list[Check]:
    broker = readable(read, BrokerSettings)
    if broker is None:
        return [unknown("kafka", "its address is not set")]
    readers = readable(read, ReadersSettings)
    groups = (readers.consumer_group, readers.gate_group) if readers else ("ledger", "gate")
    return await kafka.check(broker.kafka, groups, readable(read, TopicSettings))


async def _clickhouse(read: ReadSettings) -> list[Check]:
    store = readable(read, StoreSettings)
    if store is None:
        return [unknown("clickhouse", "its address is not set")]
    return await asyncio.to_thread(clickhouse.check, store)


async def _gateway(read: ReadSettings) -> list[Check]:
    found = readable(read, GatewaySettings)
    if found is None:
        return [unknown("gateway", "its settings are wrong")]
    return await gateway.check(found)


async def _run_safely(name: str, run: Awaitable[list[Check]]) -> list[Check]:
    """An unexpected exception fails only these checks, not the others."""
    try:
        return await run
    except Exception as error:
        return [fail(name, f"the check itself failed: {type(error).__name__}", "report it as a bug", WRONG)]
