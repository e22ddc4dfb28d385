"""The route of provider weather: how the events of each provider arrive, and who is silent.

In:  a number of minutes, of an operator of all accounts. Out: `{items, next, silences, providers, from, to}`.
"""

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from application.principals import Principal
from application.weather import DEFAULT_MINUTES, MAX_MINUTES, Refusals, Weather, read_weather
from gateway.access import OPERATORS, for_all_accounts, require_role
from gateway.api.models.weather import ProviderWeather
from gateway.openapi import READ_CODES, ResponseSpec, operation
from gateway.read_pool import ReadPool
from gateway.refusals import read_refusals, refusals_in
from gateway.sharing import SharedByKey
from projections.store import Store
from schemas.settings import GatewaySettings
from schemas.telemetry import Telemetry

__all__ = ["Minutes", "ReadWeather", "router", "weather_reader"]

_CODES = tuple(code for code in READ_CODES if code != "no-such-account")

Minutes = Annotated[
    int, Query(ge=1, le=MAX_MINUTES, description="The last minutes; they are compared with the same of the day before")
]
ReadWeather = SharedByKey[int, Weather]


def weather_reader(
    settings: GatewaySettings, store: Store, reads: ReadPool, telemetry: Telemetry | None
) -> ReadWeather:
    """Return what reads the weather of the last minutes, once for all who ask at the same time.

    `telemetry`: of this process, if it receives webhooks; it counts where no URLs of gateways are configured.
    """
    urls = [url for text in settings.gateway_metrics.split(",") if (url := text.strip())]

    async def refusals() -> Mapping[str, Refusals] | None:
        if urls or telemetry is None:
            return await read_refusals(urls)
        return refusals_in(telemetry.registry.collect())

    async def read(principal: Principal, minutes: int) -> Weather:
        return await read_weather(
            reads.runner_for(principal),
            store,
            bootstrap=settings.kafka,
            consumer_group=settings.consumer_group,
            minutes=minutes,
            now_us=time.time_ns() // 1000,
            refusals=await refusals(),
        )

    return SharedByKey(read)


def router(settings: GatewaySettings, weather: ReadWeather) -> APIRouter:
    """Return `GET /v1/weather`."""
    routes = APIRouter(prefix="/v1/weather", tags=["stats"])
    operator = for_all_accounts(require_role(OPERATORS, settings.token_secret.get_secret_value()))
    as_operator = Annotated[Principal, Depends(operator)]

    @routes.get(
        "",
        **operation("getWeather", {200: ResponseSpec("The weather", ProviderWeather)}, roles=OPERATORS, codes=_CODES),
    )
    async def get(principal: as_operator, minutes: Minutes = DEFAULT_MINUTES) -> dict[str, Any]:
        """How the events of each provider and type arrive now, and who is silent, for all accounts together.

        It needs a token of all accounts.
        """
        return (await weather.get(principal, minutes)).as_json()

    return routes
