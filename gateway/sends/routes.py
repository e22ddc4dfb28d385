"""`POST /v1/sends`.

In:  one SendRequest, or a list of up to 1,000; all or none are taken.
Out: 202 with the ids once Kafka has all of them; with `?wait=1` 200 with the decisions, if they come within 2 s.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from gateway import openapi
from gateway.access import PUBLISHERS, allowing, known_parameters
from gateway.bodies import body_of, json_of
from gateway.problems import RETRY_SECONDS, Problem
from gateway.sends.decided import Decided
from gateway.sends.reading import KEY_HEADER, MAX_SENDS, Asking, Send, read_sends
from gateway.tokens import Principal
from gateway.writing import write
from schemas.errors import BrokerError
from schemas.records import SendDecision, SendRequest
from schemas.settings import GatewaySettings
from schemas.telemetry import Telemetry

__all__ = ["router"]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
WAITED_SECONDS: Final = 2.0

_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_CONTENT: Final = {
    "type": ["object", "null"],
    "description": "What is sent, for the preview: html and text have at most 1 MiB together",
    "properties": {"html": _TEXT_OR_NULL, "text": _TEXT_OR_NULL},
}
_ASKED: Final = openapi.schema_of(
    SendRequest, optional=("message_id", "account_id", "requested_at"), more={"content": _CONTENT}
)
_BODY: Final = openapi.json_body({"oneOf": [_ASKED, {"type": "array", "maxItems": MAX_SENDS, "items": _ASKED}]})
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = openapi.PROBLEMS | {
    200: {
        "description": "With `wait`: all decisions, in the order of the requests",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "items": {"type": "array", "items": openapi.schema_of(SendDecision)},
                        "next": {"type": "null"},
                    },
                }
            }
        },
    },
    202: {"description": "Stored: `items` has the account_id and message_id of each request, in their order"},
    503: {"description": "Not acknowledged by Kafka: `items` names the ids; repeat with them"},
}


def router(settings: GatewaySettings, kafka: AIOKafkaProducer, telemetry: Telemetry, decided: Decided) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1", tags=["sends"], dependencies=[Depends(known_parameters)])
    as_publisher = Annotated[Principal, Depends(allowing(PUBLISHERS, settings.token_secret.get_secret_value()))]

    @routes.post("/sends", status_code=202, responses=_ANSWERS, openapi_extra=_BODY)
    async def send(
        request: Request,
        principal: as_publisher,
        wait: Annotated[bool, Query(description="Answer with the decisions if all are there within 2 s")] = False,
        idempotency_key: Annotated[
            str | None,
            Header(alias=KEY_HEADER, description="A UUID version 7: ids of requests without one are made of it"),
        ] = None,
    ) -> Response:
        """Ask for messages to be sent: one request, or a list of up to 1,000. All are taken, or none.

        The same message_id again is the same message: it gets its first decision. Without message_id one is made, of
        the header `Idempotency-Key` where there is one. requested_at defaults to the time in the message_id, account_id
        to the token's only account.
        """
        arrived_us = time.time_ns() // 1000
        body = json_of(await body_of(request, MAX_BODY_BYTES))
        sends = read_sends(body, Asking(principal, idempotency_key, arrived_us, settings.decision_days))
        if not wait:
            await _store(sends, principal.subject)
            return _answer(202, _ids(sends))
        async with decided.watching([send.pair for send in sends]) as watch:
            await _store(sends, principal.subject)
            decisions = await watch.all_within(WAITED_SECONDS) if watch else None
        if decisions is None:
            return _answer(202, _ids(sends))
        return _answer(200, [orjson.Fragment(decisions[send.pair]) for send in sends])

    async def _store(sends: Sequence[Send], actor: str) -> None:
        try:
            await write(kafka, [record for send in sends for record in send.records(actor)])
        except BrokerError as error:
            telemetry.counter("errors_total", "kafka").inc()
            raise Problem(
                503,
                "Stored in part or not at all: repeat the same requests with the ids in `items`",
                headers={"Retry-After": RETRY_SECONDS},
                items=_ids(sends),
            ) from error

    return routes


def _ids(sends: Sequence[Send]) -> list[dict[str, str]]:
    return [send.pair._asdict() for send in sends]


def _answer(status: int, items: Sequence[object]) -> Response:
    return Response(orjson.dumps({"items": items, "next": None}), status, media_type="application/json")
