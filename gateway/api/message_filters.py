"""The filters of Messaging Logs, shared by the list, its counts and its export.

In:  the query string. Out: a `MessageFilter` limited to the token's accounts; or Problem 400, which names the
parameter.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Query

from application.fields import MAX_ADDRESS_CHARACTERS, is_one_line
from application.principals import Principal
from gateway.access import RequirePrincipal, accounts_to_query
from gateway.api.lists import Account, OfChannel, address_keys, email_id_of, period
from gateway.problems import Problem
from projections.messages import filters
from schemas.decoding.addresses import domain_of, email_key
from schemas.providers.provider_ids import PROVIDER_ID_KEYS

__all__ = ["filter_of"]

MAX_TEXT: Final = 1_000
"""The most characters of a text filter: more than anybody would type."""

Provider = Literal["sendgrid", "twilio", "postmark"]

From = Annotated[str | None, Query(alias="from", description="Sent at or after: RFC 3339, or a date (UTC)")]
To = Annotated[str | None, Query(description="Sent before: RFC 3339, or a date (UTC)")]
Statuses = Annotated[
    list[str] | None,
    Query(
        description="A status, in any case; may be repeated: any of them",
        json_schema_extra={"items": {"type": "string", "enum": list(filters.STATUSES)}},
    ),
]
Types = Annotated[list[str] | None, Query(description="A template's id or name; may be repeated: any of them")]
SentTo = Annotated[Literal["client", "staff"] | None, Query(description="Whether the recipient is a client or staff")]
AnyAddress = Annotated[
    str | None, Query(description="A To or CC: an email address, or a phone number in E.164 (its `+` as `%2B`)")
]
Prefix = Annotated[str | None, Query(description="Start of a To or CC address, in any case")]
Domain = Annotated[str | None, Query(description="The domain of the To, in any case")]
Subject = Annotated[str | None, Query(description="A part of the subject, in any case")]
EmailId = Annotated[str | None, Query(description="One message's id, a UUID of version 7")]
ClientId = Annotated[str | None, Query(description="Messages to this client")]
StaffId = Annotated[str | None, Query(description="Messages to this member of the staff")]
AppointmentId = Annotated[str | None, Query(description="Messages about this appointment")]
OfProvider = Annotated[Provider | None, Query(description="Messages that went through this provider")]
ProviderMessageId = Annotated[
    str | None,
    Query(description="The provider's id of the message, in any of its forms: `sg_message_id`, `smtp-id`, SID, …"),
]
Code = Annotated[str | None, Query(description="The provider's code, or the enhanced code (like 5.1.1)")]
Classification = Annotated[str | None, Query(description="As the provider classifies it")]
StuckHours = Annotated[
    int | None,
    Query(ge=1, le=24 * 366, description="Processed or Pending for at least this many hours, without a later event"),
]


def filter_of(
    reader: RequirePrincipal,
) -> Callable[..., Coroutine[Any, Any, filters.Filter]]:
    """Return the dependency that reads the filters. `reader` is the route's own dependency, so that it runs once."""
    as_reader = Annotated[Principal, Depends(reader)]

    async def wanted(
        principal: as_reader,
        account: Account = None,
        from_: From = None,
        to: To = None,
        status: Statuses = None,
        channel: OfChannel = None,
        type_: Annotated[Types, Query(alias="type")] = None,
        sent_to: SentTo = None,
        address: AnyAddress = None,
        address_prefix: Prefix = None,
        domain: Domain = None,
        subject: Subject = None,
        email_id: EmailId = None,
        client_id: ClientId = None,
        staff_id: StaffId = None,
        appointment_id: AppointmentId = None,
        provider: OfProvider = None,
        provider_message_id: ProviderMessageId = None,
        code: Code = None,
        classification: Classification = None,
        stuck_hours: StuckHours = None,
    ) -> filters.Filter:
        from_us, to_us = period(from_, to)
        return filters.Filter(
            accounts=accounts_to_query(principal, account),
            from_us=from_us,
            to_us=to_us,
            statuses=_statuses(status or []),
            addresses=address_keys(address, channel),
            email_id=email_id_of(email_id),
            channel=channel,
            types=[_text("type", name) for name in type_ or []],
            sent_to=sent_to,
            address_prefix=_prefix(address_prefix),
            domain=_domain(domain),
            subject=_given("subject", subject),
            client_id=_given("client_id", client_id),
            staff_id=_given("staff_id", staff_id),
            appointment_id=_given("appointment_id", appointment_id),
            provider=provider,
            provider_message_ids=_provider_message_ids(provider, _given("provider_message_id", provider_message_id)),
            code=_given("code", code),
            classification=_given("classification", classification),
            stuck_hours=stuck_hours,
        )

    return wanted


def _statuses(names: Sequence[str]) -> Sequence[str]:
    by_lower = {status.lower(): status for status in filters.STATUSES}
    for name in names:
        if name.lower() not in by_lower:
            raise Problem(
                "invalid-parameter", f"`status` {name[:40]!r} is not a status; use one of {', '.join(filters.STATUSES)}"
            )
    return [by_lower[name.lower()] for name in names]


def _given(name: str, text: str | None) -> str | None:
    return None if text is None else _text(name, text)


def _text(name: str, text: str) -> str:
    """Validate a text filter. Blank ones are refused: they are a mistake, not a filter."""
    if not text.strip() or len(text) > MAX_TEXT or not is_one_line(text):
        raise Problem("invalid-parameter", f"`{name}` must be 1 to {MAX_TEXT:,} characters on one line")
    return text


def _prefix(text: str | None) -> str | None:
    if text is None:
        return None
    if not text.strip() or len(text) > MAX_ADDRESS_CHARACTERS or not is_one_line(text):
        raise Problem("invalid-parameter", f"`address_prefix` must be 1 to {MAX_ADDRESS_CHARACTERS} characters")
    # Normalised email addresses are case-folded; phone numbers have no case. An unescaped `+` arrives as a space.
    return (f"+{text[1:]}" if text[0] == " " and text[1:2].isdigit() else text.strip()).casefold()


def _domain(text: str | None) -> str | None:
    if text is None:
        return None
    key = domain_of(email_key(f"x@{text.strip().removeprefix('@')}"))
    if not key or len(text) > MAX_ADDRESS_CHARACTERS or not is_one_line(text):
        raise Problem("invalid-parameter", "`domain` must be a domain, like example.com")
    return key


def _provider_message_ids(provider: str | None, text: str | None) -> Sequence[str]:
    """The stored forms of an id: of the given provider, else of all providers."""
    if text is None:
        return []
    keys = [key(text) for name, key in PROVIDER_ID_KEYS.items() if provider in (None, name)]
    return sorted({key for key in keys if key}) or [text]
