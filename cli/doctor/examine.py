"""All checks together, side by side: the slowest dependency is the time that it takes."""

import asyncio
from collections.abc import Awaitable, Sequence

from cli.doctor import clickhouse, gateway, kafka, settings
from cli.doctor.checks import WRONG, Check, fail, unknown
from cli.doctor.settings import PROGRAMS, ReadSettings, readable
from schemas.errors import RequestError
from schemas.settings import BrokerSettings, GatewaySettings, ReadersSettings, StoreSettings, TopicSettings

__all__ = ["examine", "text"]


async def examine(read: ReadSettings, programs: Sequence[str] = ()) -> list[Check]:
    """Return every check. `programs` limits whose settings are looked at; none means all.

    Raises RequestError for a program that there is not.
    """
    unknown = [name for name in programs if name not in PROGRAMS]
    if unknown:
        raise RequestError(f"There is no program {unknown[0][:40]!r}", "--for", f"Name one of {', '.join(PROGRAMS)}")
    programs = programs or list(PROGRAMS)
    looks = [_guarded("kafka", _kafka(read)), _guarded("clickhouse", _clickhouse(read))]
    if "gateway" in programs:
        looks.append(_guarded("gateway", _gateway(read)))
    found = await asyncio.gather(*looks)
    return [*settings.look(read, programs), *(check for checks in found for check in checks)]


def text(checks: Sequence[Check]) -> str:
    """Return the checks for people: a line each, and the mend below what is not right."""
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
    return await kafka.look(broker.kafka_bootstrap, groups, readable(read, TopicSettings))


async def _clickhouse(read: ReadSettings) -> list[Check]:
    store = readable(read, StoreSettings)
    if store is None:
        return [unknown("clickhouse", "its address is not set")]
    return await asyncio.to_thread(clickhouse.look, store)


async def _gateway(read: ReadSettings) -> list[Check]:
    wanted = readable(read, GatewaySettings)
    if wanted is None:
        return [unknown("gateway", "its settings are wrong")]
    return await gateway.look(wanted)


async def _guarded(name: str, look: Awaitable[list[Check]]) -> list[Check]:
    """Whatever a look stumbles over is its own failure, and not the others'."""
    try:
        return await look
    except Exception as error:
        return [fail(name, f"the doctor itself fails here: {type(error).__name__}", "report it as a defect", WRONG)]
