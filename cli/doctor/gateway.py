"""Checks of the gateway: whether it answers, at its own port and at its public URL."""

from typing import Final
from urllib.parse import urlsplit

import httpx

from application.checks.check import DOWN, Check, fail, ok, warn
from schemas.settings import PREFIX, GatewaySettings

__all__ = ["check"]

_TIMEOUT_SECONDS: Final = 6.0
_ANY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - nothing listens here


async def check(settings: GatewaySettings) -> list[Check]:
    """Return whether the gateway answers at its own port, and at its public URL if that differs."""
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    here = f"http://{host}:{settings.port}"
    checks = [await _answers("gateway", here, f"start `sendledger gateway`, or set {PREFIX}PORT")]
    if settings.public_url and _without_user(settings.public_url) != here:
        mend = f"compare {PREFIX}PUBLIC_URL with your proxy. It may be that only this machine can't reach it"
        checks.append(await _answers("gateway.public", settings.public_url.rstrip("/"), mend))
    return checks


async def _answers(name: str, url: str, mend: str) -> Check:
    where = _without_user(url)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            answer = await client.get(f"{url}/readyz")
    except (httpx.HTTPError, httpx.InvalidURL):
        return warn(name, f"no answer at {where}", mend)
    if answer.status_code == 200:
        return ok(name, f"ready at {where}")
    if answer.status_code == 503:
        return fail(name, f"it answers at {where}, but can't reach Kafka or ClickHouse", "mend these first", DOWN)
    return warn(name, f"the server at {where} is not a sendledger gateway: it answers {answer.status_code}", mend)


def _without_user(url: str) -> str:
    """Return scheme, host and port, without user and password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that is not valid"
    return f"{parts.scheme}://{parts.hostname}{port}"
