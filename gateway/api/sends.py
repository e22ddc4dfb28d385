"""`POST /v1/sends`.

In:  one SendRequest, or a list of up to 1,000; all or none are taken.
Out: 202 with the ids once Kafka has all of them; with `?wait=1` 200 with the decisions, if they come within 2 s.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import orjson
import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from application.decisions import DecisionListener
from application.principals import Principal
from application.send_requests import KEY_HEADER, MAX_KEY_CHARACTERS, MAX_SENDS, PreparedSend, SendContext, parse_sends
from application.sending import Sending, ids_of
from gateway import openapi
from gateway.access import PUBLISHERS, require_role
from gateway.api.models.sends import Accepted, Decisions
from gateway.bodies import parse_json, read_body, run_off_loop
from gateway.openapi import ResponseSpec, operation
from gateway.problems import RETRY_SECONDS, Problem
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.store import Store
from schemas.errors import BrokerError, RecordRefused
from schemas.examples import EXAMPLES
from schemas.log_events import LogEvent
from schemas.records import SendRequest
from schemas.settings import GatewaySettings

__all__ = ["router"]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024

_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_CONTENT: Final = {
    "type": ["object", "null"],
    "description": "The content, for the preview: html and text have at most 1 MiB together",
    "properties": {"html": _TEXT_OR_NULL, "text": _TEXT_OR_NULL},
    "additionalProperties": False,
}
_ASKED: Final = openapi.schema_of(
    SendRequest, optional=("message_id", "account_id", "requested_at"), more={"content": _CONTENT}
)
_REQUEST: Final = EXAMPLES["SendRequest"].payload
_BODY: Final = openapi.BodySpec(
    {"application/json": {"oneOf": [_ASKED, {"type": "array", "maxItems": MAX_SENDS, "items": _ASKED}]}},
    {"application/json": _REQUEST | {"content": {"text": "See you tomorrow."}}},
)
_NAMES: Final = [{name: _REQUEST[name] for name in ("account_id", "message_id")}]
_ANSWERS: Final = {
    200: ResponseSpec(
        "With `wait`: the decisions, in the order of the requests",
        Decisions,
        example={"items": [EXAMPLES["SendDecision"].payload], "next": None},
    ),
    202: ResponseSpec("The requests are in the log", Accepted, example={"items": _NAMES, "next": None}),
}


log = structlog.get_logger()


def router(
    settings: GatewaySettings, kafka: RecordProducer, listener: DecisionListener, store: Store, reads: ReadPool
) -> APIRouter:
    """Return the route."""
    sending = Sending(kafka, listener, store)
    routes = APIRouter(prefix="/v1", tags=["sends"])
    as_publisher = Annotated[Principal, Depends(require_role(PUBLISHERS, settings.token_secret.get_secret_value()))]

    @routes.post(
        "/sends",
        **operation(
            "sendMessages", _ANSWERS, roles=PUBLISHERS, codes=(*openapi.WRITE_CODES, "idempotency-conflict"), body=_BODY
        ),
    )
    async def send(
        request: Request,
        principal: as_publisher,
        wait: Annotated[bool, Query(description="Return the decisions if all arrive within 2 s")] = False,
        idempotency_key: Annotated[
            str | None,
            Header(
                alias=KEY_HEADER,
                description="Ids of requests without one are derived from it: a UUID version 7, whose time they take,"
                f" or any text of up to {MAX_KEY_CHARACTERS} characters, with `requested_at` for the time",
            ),
        ] = None,
    ) -> Response:
        """Request messages to be sent: one request, or a list of up to 1,000. All are accepted, or none.

        A repeated message_id is the same message and gets its first decision. Without a message_id one is generated,
        from the header `Idempotency-Key` if there is one. requested_at defaults to the time in the message_id,
        account_id to the token's only account. A repeat must have the same content: with `wait`, other content under
        an id that was decided before is 409; so is another body under a key that this gateway remembers.
        """
        body = await read_body(request, MAX_BODY_BYTES)
        context = SendContext(principal, idempotency_key, time.time_ns() // 1000, settings.decision_days)
        sends = await run_off_loop(len(body), lambda: parse_sends(parse_json(body), context))
        decisions = None
        with _naming(sends):
            if wait:
                decisions = await sending.send_and_wait(sends, principal, reads.runner_for(principal))
            else:
                await sending.send(sends, principal)
        if decisions is None:
            return _answer(202, ids_of(sends))
        return _answer(200, [orjson.Fragment(decision) for decision in decisions])

    return routes


@contextmanager
def _naming(sends: Sequence[PreparedSend]) -> Iterator[None]:
    """If Kafka did not accept all requests, list their ids in the problem, for the repeat."""
    try:
        yield
    except BrokerError as error:
        raise Problem(
            "kafka-away",
            "Stored in part or not at all: repeat the same requests with the ids in `items`",
            headers={"Retry-After": RETRY_SECONDS},
            items=ids_of(sends),
        ) from error
    except RecordRefused as error:
        log.warning(LogEvent.REQUEST_RECORD_REFUSED, what=error.what, where=error.where, mend=error.mend)
        raise Problem(
            "too-large",
            "Stored in part: Kafka refuses one of these records as too large. Send a smaller one, or have the topic's"
            " limit raised, and repeat the same requests with the ids in `items`",
            items=ids_of(sends),
        ) from error


def _answer(status: int, items: Sequence[object]) -> Response:
    return Response(orjson.dumps({"items": items, "next": None}), status, media_type="application/json")
