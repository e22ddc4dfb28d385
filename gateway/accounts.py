"""Accounts: which there are, and the whole records by which the gate decides about them (`application.policies`).

In:  `PUT` of a policy or of a recipient's preference: each replaces the one before, also in what it omits.
Out: 202 with the record as it stands in the log, its defaults filled in. It is in force for requests that the gate
reads after it. `GET` answers the record with the latest `updated_at`, a moment after it was written; 404 where nobody
has written one.
"""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from application.policies import MAX_RECORD_BYTES, policy_of, preference_of, set_policy, set_preference
from application.principals import Principal, must_cover
from application.writing import Kafka
from gateway import openapi
from gateway.access import OPERATORS, PUBLISHERS, READERS, allowing
from gateway.answers import Accounts
from gateway.bodies import body_of, object_of
from gateway.lists import CursorText, Limit, Pages
from gateway.openapi import Answer, operation
from gateway.reads import Reads
from projections.accounts import queries
from projections.store import Store
from schemas.examples import EXAMPLES
from schemas.identity import account_id_or_blank
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import RecipientKind, Record
from schemas.settings import GatewaySettings

__all__ = ["router"]

_BOTH: Final = (*READERS, "publisher")
_LIST_CODES: Final = (
    *(code for code in openapi.READ_CODES if code != "no-such-account"),  # it names no account
    "invalid-cursor",
)
_POLICY: Final = Answer(
    "The record, whole, as it is in the log", AccountPolicy, example=EXAMPLES["AccountPolicy"].payload
)
_PREFERENCE: Final = Answer(
    "The record, whole, as it is in the log", RecipientPreference, example=EXAMPLES["RecipientPreference"].payload
)
_POLICY_BODY: Final = openapi.Body(
    {"application/json": openapi.schema_of(AccountPolicy, optional=("account_id", "updated_at"))},
    {"application/json": {"trial_started_at": "2025-10-01T00:00:00Z", "trial_email_limit": 50}},
)
_PREFERENCE_BODY: Final = openapi.Body(
    {
        "application/json": openapi.schema_of(
            RecipientPreference, optional=("account_id", "recipient_kind", "recipient_id", "updated_at")
        )
    },
    {"application/json": {"declined_templates": ["newsletter"]}},
)
_PREFERENCE_PATH: Final = "/{account_id}/recipients/{recipient_kind}/{recipient_id:path}/preference"

AccountId = Annotated[str, Path(description="The account's id")]
Kind = Annotated[RecipientKind, Path(description="`client` or `staff`")]
RecipientId = Annotated[str, Path(description="The recipient's id in the account")]
Part = Annotated[str, Query(description="A part of the id, in any case")]


class _Key(NamedTuple):
    """What the list is ordered by."""

    account_id: str


def router(settings: GatewaySettings, store: Store, kafka: Kafka, reads: Reads) -> APIRouter:
    """Return the routes under `/v1/accounts`."""
    secret = settings.token_secret.get_secret_value()
    routes = APIRouter(prefix="/v1/accounts", tags=["accounts"])
    as_reader = Annotated[Principal, Depends(allowing(READERS, secret))]
    as_publisher = Annotated[Principal, Depends(allowing(PUBLISHERS, secret))]
    as_reader_or_publisher = Annotated[Principal, Depends(allowing(_BOTH, secret))]
    as_operator = Annotated[Principal, Depends(allowing(OPERATORS, secret))]

    @routes.get(
        "",
        **operation("listAccounts", {200: Answer("A page", Accounts)}, roles=READERS, codes=_LIST_CODES),
    )
    async def accounts(
        principal: as_reader,
        q: Part = "",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """The accounts that the token may see, by id: how many messages each has, and when the last was sent.

        A message counts from its request on, whatever became of it.
        """
        pages = Pages("accounts", _Key, (str,), q, sorted(principal.accounts), is_valid=_is_valid)
        after = pages.after(cursor) or _Key("")
        rows = await reads.run(principal, _page, store, principal, q, limit, after.account_id)
        return pages.page(rows, limit, lambda row: _Key(row["account_id"]))

    @routes.put(
        "/{account_id}/policy",
        **operation("putPolicy", {202: _POLICY}, roles=OPERATORS, codes=openapi.WRITE_CODES, body=_POLICY_BODY),
    )
    async def policy(request: Request, principal: as_operator, account_id: AccountId) -> Response:
        """Write the whole policy of an account: what is left out has its default. updated_at defaults to now."""
        must_cover(principal, account_id)
        now_us = time.time_ns() // 1000
        fields = object_of(await body_of(request, MAX_RECORD_BYTES))
        value = await set_policy(kafka, principal, account_id, fields, now_us)
        return Response(value, 202, media_type="application/json")

    @routes.put(
        _PREFERENCE_PATH,
        **operation(
            "putPreference", {202: _PREFERENCE}, roles=PUBLISHERS, codes=openapi.WRITE_CODES, body=_PREFERENCE_BODY
        ),
    )
    async def preference(
        request: Request,
        principal: as_publisher,
        account_id: AccountId,
        recipient_kind: Kind,
        recipient_id: RecipientId,
    ) -> Response:
        """Write all that a recipient wishes: what is left out has its default. updated_at defaults to now."""
        must_cover(principal, account_id)
        now_us = time.time_ns() // 1000
        fields = object_of(await body_of(request, MAX_RECORD_BYTES))
        value = await set_preference(kafka, principal, account_id, recipient_kind, recipient_id, fields, now_us)
        return Response(value, 202, media_type="application/json")

    @routes.get(
        "/{account_id}/policy",
        **operation("getPolicy", {200: _POLICY}, roles=READERS, codes=(*openapi.READ_CODES, "no-such-record")),
    )
    async def read_policy(principal: as_reader, account_id: AccountId) -> Response:
        """The policy in force: the one with the latest `updated_at`, whole, its defaults filled in."""
        must_cover(principal, account_id)
        return _shown(await reads.run(principal, policy_of, store, principal, account_id))

    @routes.get(
        _PREFERENCE_PATH,
        **operation("getPreference", {200: _PREFERENCE}, roles=_BOTH, codes=(*openapi.READ_CODES, "no-such-record")),
    )
    async def read_preference(
        principal: as_reader_or_publisher, account_id: AccountId, recipient_kind: Kind, recipient_id: RecipientId
    ) -> Response:
        """What a recipient wishes: the record with the latest `updated_at`, whole, its defaults filled in."""
        must_cover(principal, account_id)
        named = (account_id, recipient_kind, recipient_id)
        return _shown(await reads.run(principal, preference_of, store, principal, *named))

    return routes


def _shown(record: Record) -> Response:
    return JSONResponse(record.model_dump(by_alias=True, exclude_none=True))


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


def _is_valid(key: _Key) -> bool:
    return bool(account_id_or_blank(key.account_id))
