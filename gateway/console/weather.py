"""The page Weather: how the events of each provider arrive, compared with the day before, and who is silent.

In:  a session of an operator of all accounts; a number of minutes. Out: a page, or its part that changes.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from application.principals import Principal
from application.weather import DEFAULT_MINUTES
from gateway.access import OPERATORS, for_all_accounts
from gateway.api.weather import Minutes, ReadWeather
from gateway.console.links import Links
from gateway.console.pages import Pages, is_partial
from gateway.console.routing import ConsoleRoute, signed_in
from schemas.settings import GatewaySettings

__all__ = ["router"]

_CHOICES: Final = (5, 15, 30, 60)


def router(settings: GatewaySettings, weather: ReadWeather, pages: Pages) -> APIRouter:
    """Return `/weather`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    operator = for_all_accounts(signed_in(settings.token_secret.get_secret_value(), roles=OPERATORS))
    as_operator = Annotated[Principal, Depends(operator)]

    @routes.get("/weather")
    async def page(request: Request, principal: as_operator, minutes: Minutes = DEFAULT_MINUTES) -> Response:
        found = await weather.get(principal, minutes)
        return pages.page(
            request,
            "_weather.html" if is_partial(request) else "weather.html",
            links=Links(f"{pages.base}/weather", request.query_params.multi_items()),
            minutes=minutes,
            choices=sorted({*_CHOICES, minutes}),
            weather=found.as_json(),
        )

    return routes
