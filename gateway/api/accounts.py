"""Routes for accounts: the list, policies, and recipients' preferences (`application.policies`).

In:  `PUT` of a policy or of a recipient's preference: each replaces the previous one completely, omitted fields
included.
Out: 202 with the record as it is in Kafka, defaults filled in. It applies to requests that the gate reads after it.
`GET` returns the record with the latest `updated_at`, shortly after it was written; 404 if there is none.
"""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from application.policies import MAX_RECORD_BYTES, policy_of, preference_of, set_policy, set_preference
from application.principals import Principal, require_account_access
from gateway import openapi
from gateway.access import OPERATORS, PUBLISHERS, READERS, require_role
from gateway.api.lists import CursorText, Limit, Paginator
from gateway.api.models.accounts import Accounts
from gateway.bodies import parse_object, read_body
from gateway.openapi import ResponseSpec, operation
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.accounts import queries
from projections.store import Store
from schemas.decoding.ids import account_id_or_blank
from schemas.examples import EXAMPLES
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import RecipientKind, Record
from schemas.settings import GatewaySettings

__all__ = ["router"]

_BOTH: Final = (*READERS, "publisher")
_LIST_CODES: Final = (
    *(code for code in openapi.READ_CODES if code != "no-such-account"),  # the list takes no account
    "invalid-cursor",
)
_POLICY: Final = ResponseSpec(
    "The complete record, as it is in the log", AccountPolicy, example=EXAMPLES["AccountPolicy"].payload
)
_PREFERENCE: Final = ResponseSpec(
    "The complete record, as it is in the log", RecipientPreference, example=EXAMPLES["RecipientPreference"].payload
)
_POLICY_BODY: Final = openapi.BodySpec(
    {"application/json": openapi.schema_of(AccountPolicy, optional=("account_id", "updated_at"))},
    {"application/json": {"trial_started_at": "2025-10-01T00:00:00Z", "trial_email_limit": 50}},
)
_PREFERENCE_BODY: Final = openapi.BodySpec(
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
    """The sort key of the list."""

    account_id: str


def router(settings: GatewaySettings, store: Store, kafka: RecordProducer, reads: ReadPool) -> APIRouter:
    """Return the routes under `/v1/accounts`."""
    secret = settings.token_secret.get_secret_value()
    routes = APIRouter(prefix="/v1/accounts", tags=["accounts"])
    _add_list(routes, secret, store, reads)
    _add_policy(routes, secret, store, kafka, reads)
    _add_preference(routes, secret, store, kafka, reads)
    return routes


def _add_list(routes: APIRouter, secret: str, store: Store, reads: ReadPool) -> None:
    as_reader = Annotated[Principal, Depends(require_role(READERS, secret))]

    @routes.get(
        "",
        **operation("listAccounts", {200: ResponseSpec("A page", Accounts)}, roles=READERS, codes=_LIST_CODES),
    )
    async def accounts(
        principal: as_reader,
        q: Part = "",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """The accounts that the token may see, by id: how many messages each has, and when the last was sent.

        A message counts from its request on, whatever its status.
        """
        pages = Paginator("accounts", _Key, (str,), q, sorted(principal.accounts), is_valid=_is_valid)
        after = pages.after(cursor) or _Key("")
        rows = await reads.run(principal, _page, store, principal, q, limit, after.account_id)
        return pages.page(rows, limit, lambda row: _Key(row["account_id"]))


def _add_policy(routes: APIRouter, secret: str, store: Store, kafka: RecordProducer, reads: ReadPool) -> None:
    as_operator = Annotated[Principal, Depends(require_role(OPERATORS, secret))]
    as_reader = Annotated[Principal, Depends(require_role(READERS, secret))]

    @routes.put(
        "/{account_id}/policy",
        **operation("putPolicy", {202: _POLICY}, roles=OPERATORS, codes=openapi.WRITE_CODES, body=_POLICY_BODY),
    )
    async def policy(request: Request, principal: as_operator, account_id: AccountId) -> Response:
        """Replace the policy of an account: omitted fields get their defaults. updated_at defaults to now."""
        require_account_access(principal, account_id)
        now_us = time.time_ns() // 1000
        fields = parse_object(await read_body(request, MAX_RECORD_BYTES))
        value = await set_policy(kafka, principal, account_id, fields, now_us)
        return Response(value, 202, media_type="application/json")

    @routes.get(
        "/{account_id}/policy",
        **operation("getPolicy", {200: _POLICY}, roles=READERS, codes=(*openapi.READ_CODES, "no-such-record")),
    )
    async def read_policy(principal: as_reader, account_id: AccountId) -> Response:
        """The policy in force: the record with the latest `updated_at`, with defaults filled in."""
        require_account_access(principal, account_id)
        return _shown(await reads.run(principal, policy_of, store, principal, account_id))


def _add_preference(routes: APIRouter, secret: str, store: Store, kafka: RecordProducer, reads: ReadPool) -> None:
    as_publisher = Annotated[Principal, Depends(require_role(PUBLISHERS, secret))]
    as_reader_or_publisher = Annotated[Principal, Depends(require_role(_BOTH, secret))]

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
        """Replace the preference of a recipient: omitted fields get their defaults. updated_at defaults to now."""
        require_account_access(principal, account_id)
        now_us = time.time_ns() // 1000
        fields = parse_object(await read_body(request, MAX_RECORD_BYTES))
        value = await set_preference(kafka, principal, account_id, recipient_kind, recipient_id, fields, now_us)
        return Response(value, 202, media_type="application/json")

    @routes.get(
        _PREFERENCE_PATH,
        **operation("getPreference", {200: _PREFERENCE}, roles=_BOTH, codes=(*openapi.READ_CODES, "no-such-record")),
    )
    async def read_preference(
        principal: as_reader_or_publisher, account_id: AccountId, recipient_kind: Kind, recipient_id: RecipientId
    ) -> Response:
        """The preference of a recipient: the record with the latest `updated_at`, with defaults filled in."""
        require_account_access(principal, account_id)
        named = (account_id, recipient_kind, recipient_id)
        return _shown(await reads.run(principal, preference_of, store, principal, *named))


def _shown(record: Record) -> Response:
    return JSONResponse(record.model_dump(by_alias=True, exclude_none=True))


def _page(store: Store, principal: Principal, text: str, limit: int, after: str) -> list[dict[str, Any]]:
    """Up to `limit` + 1 accounts after `after`, by id."""
    if principal.covers_all:
        query = queries.accounts_like(text, limit=limit, after=after)
        return [_item(row) for row in store.rows(query.sql, query.parameters)]
    # A token that names its accounts also sees those without messages.
    named = sorted(a for a in principal.accounts if text.lower() in a.lower() and a > after)[: limit + 1]
    query = queries.accounts_named(named)
    known = {row["account_id"]: _item(row) for row in store.rows(query.sql, query.parameters)} if named else {}
    return [known.get(a, {"account_id": a, "messages": 0, "last_sent_at": None}) for a in named]


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "last_sent_at": row["last_sent_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def _is_valid(key: _Key) -> bool:
    return bool(account_id_or_blank(key.account_id))
