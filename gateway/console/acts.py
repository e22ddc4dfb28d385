"""Pages that suppress an address, release it, or opt its recipient in: a form to confirm, then a page with the results.

In:  addresses as `channel:address`, a scope and a reason; the session. Out: a form that shows what would be done, then
the effect of each command. That page also says that the provider's own suppression list is not changed.

Each of them writes commands of the application layer; their actor is the subject of the session.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request, Response

from application.errors import FieldsInvalid
from application.principals import Principal
from application.suppressing import command_for, submit_command
from application.suppression_commands import Action, channel_of
from gateway.access import SUPPRESSORS, accounts_to_query
from gateway.bodies import read_body
from gateway.console import words
from gateway.console.pages import Pages
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from processors.kafka.ports import RecordProducer
from projections.store import Store
from projections.suppressions import queries
from projections.suppressions.pages import read_suppressions
from schemas.decoding.addresses import address_key
from schemas.decoding.ids import ALL
from schemas.errors import BrokerError, RequestError
from schemas.settings import GatewaySettings

__all__ = ["MAX_ADDRESSES", "may_release", "router"]

MAX_ADDRESSES: Final = 100
_MAX_BODY_BYTES: Final = 64 * 1024
_NOT_CONFIRMED: Final = "not confirmed by Kafka: do the same again. If it was done, that changes nothing more"
_ACTIONS: Final[dict[str, Action]] = {"add": "suppress", "release": "release", "opt-in": "opt_in"}

Act = Literal["add", "release", "opt-in"]
Which = Annotated[list[str] | None, Query(max_length=MAX_ADDRESSES)]


class _Address(NamedTuple):
    """An address that a form is about, with its suppressions that the user may see."""

    channel: str
    address: str
    suppressions: Sequence[Mapping[str, Any]]
    liftable: bool
    """Whether the user may release any of them."""

    @property
    def which(self) -> str:
        return f"{self.channel}:{self.address}"

    @property
    def is_complaint(self) -> bool:
        return any(row["reason"] == "complaint" for row in self.suppressions)


class _Done(NamedTuple):
    """The result of one command."""

    channel: str
    address: str
    effect: str
    failed: bool
    since: str


def may_release(principal: Principal, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the principal's role and accounts allow releasing any of these suppressions."""
    return principal.role in SUPPRESSORS and any(
        row["suppressed"] and (principal.covers_all or row["scope"] in principal.accounts) for row in rows
    )


def router(settings: GatewaySettings, store: Store, kafka: RecordProducer, reads: ReadPool, pages: Pages) -> APIRouter:
    """Return `/suppressions/add`, `/release` and `/opt-in`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    as_suppressor = Annotated[
        Principal, Depends(signed_in(settings.token_secret.get_secret_value(), roles=SUPPRESSORS))
    ]

    async def about(principal: Principal, which: Sequence[str]) -> list[_Address]:
        return await reads.run(principal, _about, store, principal, which)

    def form(request: Request, act: str, principal: Principal, said: Mapping[str, str], **more: Any) -> Response:
        status = 422 if more.get("problem") else 200
        scopes = [ALL] if principal.covers_all else sorted(principal.accounts)
        return pages.page(request, "act.html", status, act=act, scopes=scopes, said=said, **more)

    @routes.get("/suppressions/{act}")
    async def confirm(request: Request, principal: as_suppressor, act: Act, which: Which = None) -> Response:
        found = await about(principal, which or [])
        return form(request, act, principal, {}, addresses=found, problem="")

    @routes.post("/suppressions/{act}")
    async def do(request: Request, principal: as_suppressor, act: Act) -> Response:
        fields = parse_qs((await read_body(request, _MAX_BODY_BYTES)).decode(errors="replace"))
        said = {name: values[0].strip() for name, values in fields.items()}
        typed = said.get("address", "")
        which = fields.get("which", []) or ([f"{channel_of(typed)}:{typed}"] if typed else [])
        if len(which) > MAX_ADDRESSES:
            raise Problem("invalid-parameter", f"`which` has {len(which)} addresses: up to {MAX_ADDRESSES} at once")
        found = await about(principal, which)
        if act == "release":
            found = [one for one in found if one.liftable]
        if problem := _refused(act, found, said):
            return form(request, act, principal, said, addresses=found if "which" in fields else [], problem=problem)
        try:
            results = [await _submit(kafka, store, reads, principal, act, one, said) for one in found]
        except (FieldsInvalid, RequestError) as error:
            shown = found if "which" in fields else []
            return form(request, act, principal, said, addresses=shown, problem=error.what)
        return pages.page(request, "done.html", act=act, done=results)

    return routes


def _about(store: Store, principal: Principal, which: Sequence[str]) -> list[_Address]:
    """Return the addresses with their suppressions: one query for each channel, however many addresses there are."""
    keys: dict[str, list[str]] = {}
    for one in which:
        channel, colon, address = one.partition(":")
        if channel not in ("email", "sms") or not colon:
            raise Problem("invalid-parameter", "`which` must be email: or sms:, and an address")
        keys.setdefault(channel, []).append(address_key(address, channel))
    accounts = accounts_to_query(principal, ALL)
    found: list[_Address] = []
    for channel, addresses in keys.items():
        wanted = queries.SuppressionFilter(accounts, channel=channel, suppressed=True, addresses=addresses)
        rows = read_suppressions(store, wanted, limit=queries.MAX_ROWS)
        for address in dict.fromkeys(addresses):
            suppressed = [row for row in rows if row["address"] == address]
            found.append(_Address(channel, address, suppressed, may_release(principal, suppressed)))
    return found


def _refused(act: str, found: Sequence[_Address], said: Mapping[str, str]) -> str:
    """Return why the form can't be submitted; blank if it can."""
    if not found:
        return "None of these is suppressed, or you may not release it" if act == "release" else "Give an address"
    if not said.get("reason"):
        return "Give a reason: it is shown in the history"
    complaints = [one.address for one in found if one.is_complaint]
    if act == "release" and complaints and len(found) > 1:
        return f"{', '.join(complaints)}: marked as spam, so it must be released alone"
    if act == "release" and complaints and said.get("again", "").lower() != complaints[0]:
        return "Type the address again: it was marked as spam, and is released only if the client asked for it"
    return ""


async def _submit(
    kafka: RecordProducer,
    store: Store,
    reads: ReadPool,
    principal: Principal,
    act: str,
    one: _Address,
    said: Mapping[str, str],
) -> _Done:
    """Write one command. If Kafka fails, its result says so; the same command may be sent again."""
    action = _ACTIONS[act]
    command_fields = {"channel": one.channel, "address": one.address, "reason": said["reason"]}
    command_fields |= {name: said[name] for name in ("scope", "note", "group", "sender") if said.get(name)}
    since = min((f"{row['since']:%Y-%m-%d}" for row in one.suppressions if row["since"]), default="")
    command = command_for(command_fields, action, principal, time.time_ns() // 1000)
    try:
        before = await submit_command(kafka, store, command, reads.runner_for(principal))
    except BrokerError:
        return _Done(one.channel, one.address, _NOT_CONFIRMED, True, since)
    was = before.was_opted_out if action == "opt_in" else before.was_suppressed
    return _Done(one.channel, one.address, words.done(act, was), False, since)
