"""Accounts: which there are, and the whole records by which the gate decides about them.

In:  `PUT` of a policy or of a recipient's preference: each replaces the one before, also in what it omits.
Out: 202 with the record as it stands in the log, its defaults filled in. It is in force for requests that the gate
reads after it.
"""

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

from aiokafka import AIOKafkaProducer
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from gateway import openapi
from gateway.access import OPERATORS, PUBLISHERS, READERS, allowing, known_parameters, must_cover
from gateway.bodies import body_of, checked, object_of
from gateway.problems import Fault, Invalid, Problem
from gateway.tokens import Principal
from gateway.writing import Written, write
from projections.accounts import queries
from projections.store import Store
from schemas.gate_facts import decode_policy, decode_preference
from schemas.identity import account_id_or_blank
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.settings import GatewaySettings
from schemas.times import rfc3339
from schemas.topics import ACCOUNTS_POLICIES, RECIPIENTS_PREFERENCES

__all__ = ["router"]

MAX_BODY_BYTES: Final = 1024 * 1024

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = openapi.PROBLEMS | {
    202: {"description": "The record, whole, as it is in the log"}
}
_POLICY: Final = openapi.json_body(openapi.schema_of(AccountPolicy, optional=("account_id", "updated_at")))
_PREFERENCE: Final = openapi.json_body(
    openapi.schema_of(RecipientPreference, optional=("account_id", "recipient_kind", "recipient_id", "updated_at"))
)


def router(settings: GatewaySettings, store: Store, kafka: AIOKafkaProducer) -> APIRouter:
    """Return the routes under `/v1/accounts`."""
    secret = settings.token_secret.get_secret_value()
    routes = APIRouter(prefix="/v1/accounts", tags=["accounts"], dependencies=[Depends(known_parameters)])
    as_reader = Annotated[Principal, Depends(allowing(READERS, secret))]
    as_publisher = Annotated[Principal, Depends(allowing(PUBLISHERS, secret))]
    as_operator = Annotated[Principal, Depends(allowing(OPERATORS, secret))]

    @routes.get("")
    async def accounts(
        principal: as_reader,
        q: Annotated[str, Query(description="A part of the id, in any case")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> dict[str, Any]:
        """The accounts that the token may see, by id: how many messages each has, and when the last was sent.

        A message counts from its request on, whatever became of it.
        """
        page = await run_in_threadpool(_page, store, principal, q, limit, _cursor(cursor))
        following = _cursor_of(page[limit - 1]["account_id"]) if len(page) > limit else None
        return {"items": page[:limit], "next": following}

    @routes.put("/{account_id}/policy", status_code=202, responses=_ANSWERS, openapi_extra=_POLICY)
    async def policy(request: Request, principal: as_operator, account_id: str) -> Response:
        """Write the whole policy of an account: what is left out has its default. updated_at defaults to now."""
        must_cover(principal, account_id)
        now_us = time.time_ns() // 1000
        whole = await _whole(request, {"account_id": account_id}, now_us)
        _, value = checked(AccountPolicy, whole, ACCOUNTS_POLICIES, decode_policy, now_us=now_us)
        await write(kafka, [Written.by(principal.subject, ACCOUNTS_POLICIES, account_id, value)])
        return Response(value, 202, media_type="application/json")

    @routes.put(
        "/{account_id}/recipients/{recipient_kind}/{recipient_id:path}/preference",
        status_code=202,
        responses=_ANSWERS,
        openapi_extra=_PREFERENCE,
    )
    async def preference(
        request: Request, principal: as_publisher, account_id: str, recipient_kind: str, recipient_id: str
    ) -> Response:
        """Write all that a recipient wishes: what is left out has its default. updated_at defaults to now."""
        must_cover(principal, account_id)
        now_us = time.time_ns() // 1000
        named = {"account_id": account_id, "recipient_kind": recipient_kind, "recipient_id": recipient_id}
        whole = await _whole(request, named, now_us)
        _, value = checked(RecipientPreference, whole, RECIPIENTS_PREFERENCES, decode_preference, now_us=now_us)
        key = "/".join(named.values())
        await write(kafka, [Written.by(principal.subject, RECIPIENTS_PREFERENCES, key, value)])
        return Response(value, 202, media_type="application/json")

    return routes


async def _whole(request: Request, named: Mapping[str, str], now_us: int) -> dict[str, Any]:
    """The record of a body, of what its path names. Raises Problem 413, or Invalid where body and path disagree."""
    said = object_of(await body_of(request, MAX_BODY_BYTES))
    faults = [
        Fault(field, "must be what the path says, or be left out")
        for field, value in named.items()
        if said.get(field) not in (None, value)
    ]
    if faults:
        raise Invalid(faults)
    updated_at = said.get("updated_at")
    return said | dict(named) | {"updated_at": rfc3339(now_us) if updated_at is None else updated_at}


def _page(store: Store, principal: Principal, text: str, limit: int, after: str) -> list[dict[str, Any]]:
    """Up to `limit` + 1 accounts after `after`, by id."""
    if principal.covers_all:
        query = queries.accounts_like(text, limit=limit, after=after)
        return [_item(row) for row in store.rows(query.sql, query.parameters)]
    # A token that names its accounts is shown those without a message, too.
    named = sorted(a for a in principal.accounts if text.lower() in a.lower() and a > after)[: limit + 1]
    query = queries.accounts_named(named)
    known = {row["account_id"]: _item(row) for row in store.rows(query.sql, query.parameters)} if named else {}
    return [known.get(a, {"account_id": a, "messages": 0, "last_sent_at": None}) for a in named]


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "last_sent_at": row["last_sent_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def _cursor(text: str | None) -> str:
    if text is None:
        return ""
    try:
        after = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        after = ""
    if not account_id_or_blank(after):
        raise Problem(400, "`cursor` is none of ours; take `next` of the page before")
    return after


def _cursor_of(account_id: str) -> str:
    return base64.urlsafe_b64encode(account_id.encode()).decode().rstrip("=")
