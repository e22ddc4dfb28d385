"""Two accounts, acme and globex, with rows in every table that a route reads, for the tests of tenancy.

Some things both accounts have: a message id, a recipient, an address that is suppressed for the whole platform on the
evidence of both. Everything else of globex's is a text that occurs nowhere else: its `markers`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from processors.engine import Record
from processors.ledger.decode import read_records
from processors.ledger.write import tables_of
from projections.bounces.columns import bounces_table
from projections.store import Store
from projections.suppressions.addressing import AddressKey
from projections.suppressions.bulk_release import command_id_of
from schemas.decoding.ids import uuid7
from schemas.decoding.times import SECOND_US, rfc3339
from schemas.events import Event
from tests.building import FakeRecord
from tests.gateway.building import NOW_US, a_message_id

__all__ = ["ACME", "GLOBEX", "SHARED", "UNKNOWN", "Tenant", "a_webhook", "event_id", "fill", "markers", "read_webhook"]


class Tenant(NamedTuple):
    """The ids and texts of one account."""

    account: str
    email_id: str
    refused_id: str
    address: str
    phone: str
    cc: str
    domain: str
    subject: str
    template_id: str
    template_name: str
    recipient_id: str
    recipient_name: str
    appointment_id: str
    provider_message_id: str
    code: str
    classification: str
    reason: str
    actor: str
    note: str
    group: str
    sender: str
    url: str
    user_agent: str
    content: str
    command_ids: tuple[str, str]
    bulk_id: str
    freed: str
    """An address that the bulk release freed."""
    not_sent: tuple[str, str]
    """Messages that were refused before."""
    wave: str
    """An address that is suppressed like those that were freed."""


def _tenant(account: str, word: str, number: int) -> Tenant:
    """A tenant whose texts all contain its `word`, and whose ids contain its `number`."""
    return Tenant(
        account=account,
        email_id=a_message_id(0.5, number),
        refused_id=a_message_id(0.5, number + 1),
        address=f"to-{word}@{word}.example",
        phone=f"+1415555{number:04}",
        cc=f"cc-{word}@{word}.example",
        domain=f"{word}.example",
        subject=f"Subject of {word}",
        template_id=f"template-{word}",
        template_name=f"Name of {word}",
        recipient_id=f"recipient-{word}",
        recipient_name=f"Recipient {word}",
        appointment_id=f"appointment-{word}",
        provider_message_id=f"provider-{word}",
        code=f"code-{word}",
        classification=f"class-{word}",
        reason=f"reason of {word}",
        actor=f"actor-{word}",
        note=f"note of {word}",
        group=f"group-{word}",
        sender=f"sender-{word}",
        url=f"https://{word}.example/link",
        user_agent=f"Agent-{word}/1",
        content=f"<p>Content of {word}</p>",
        command_ids=(uuid7(NOW_US, f"{word:*<10.10}".encode()), uuid7(NOW_US, f"{word:+<10.10}".encode())),
        bulk_id=uuid7(NOW_US, f"{word:-<10.10}".encode()),
        freed=f"freed-{word}@{word}.example",
        not_sent=(a_message_id(0.5, number + 2), a_message_id(0.5, number + 3)),
        wave=f"wave-{word}@{word}.example",
    )


ACME: Final = _tenant("acme", "roadrunner", 1000)
GLOBEX: Final = _tenant("globex", "scorpio", 2000)
UNKNOWN: Final = _tenant("nobody", "absent", 3000)
"""An account that does not exist: no row has any of its texts."""
SHARED: Final = _tenant("acme", "common", 4000)
"""What both accounts have; as an account it is acme."""

_AT: Final = rfc3339(NOW_US)
_SENT_US: Final = NOW_US - 43_200 * SECOND_US


def fill(store: Store) -> None:
    """Write the rows of both accounts, made of records by the ledger's own decoders and column builders."""
    ids = {tenant.account: _event_ids(tenant) for tenant in (ACME, GLOBEX)}
    evidence = [*ids["acme"], *ids["globex"], ACME.command_ids[0], GLOBEX.command_ids[0]]
    _insert(store, [a_webhook()])
    for tenant in (ACME, GLOBEX):
        _insert(store, [_record(topic, value) for topic, value in _facts(tenant, evidence)])
    _insert(store, [_record("suppressions.changed", state) for state in [*_states(ids), *_wave()]])
    _insert(store, [_record("suppressions.commands", command) for command in _bulk_commands()])


def markers() -> Sequence[str]:
    """What no answer to acme may contain: globex's name, the word in all its texts, and its ids."""
    messages = (GLOBEX.email_id, GLOBEX.refused_id, *GLOBEX.not_sent)
    ids = (*messages, GLOBEX.bulk_id, *GLOBEX.command_ids, *_event_ids(GLOBEX))
    return ("globex", "scorpio", GLOBEX.phone.removeprefix("+"), *ids)


_HEADERS: Final = [
    ("webhook_id", uuid7(NOW_US, b"webhook___").encode()),
    ("received_at", _AT.encode()),
    ("request_url", b"https://hooks.example.com/webhooks/sendgrid"),
    ("content_type", b"application/json"),
]


@lru_cache
def a_webhook() -> FakeRecord:
    """One post of SendGrid with the events of both: it neither knows our accounts nor keeps them apart."""
    return _record("webhooks.sendgrid", [*_events(ACME), *_events(GLOBEX)])


async def read_webhook(topic: str, partition: int, offset: int) -> Record | None:
    """Return the post, as Kafka does."""
    post = a_webhook()
    return post if (topic, partition, offset) == (post.topic, post.partition, post.offset) else None


def _record(topic: str, value: object) -> FakeRecord:
    return FakeRecord(topic, orjson.dumps(value), headers=_HEADERS, timestamp=NOW_US // 1000)


@lru_cache
def _event_ids(tenant: Tenant) -> Sequence[str]:
    """The ids of the account's provider events."""
    return [event.event_id for event in _provider_events() if event.account_id == tenant.account]


def event_id(tenant: Tenant) -> str:
    """The id of an event of the tenant's message; one that no event has, if there is none."""
    of_message = (e for e in _provider_events() if (e.account_id, e.message_id) == (tenant.account, tenant.email_id))
    return next((event.event_id for event in of_message), "0" * 32)


def _provider_events() -> Sequence[Event]:
    return read_records([a_webhook()], decision_days=30).events


def _insert(store: Store, records: Sequence[FakeRecord]) -> None:
    sheet = read_records(records, decision_days=30)
    assert (sheet.letters, sheet.orphans) == ([], [])
    for table, rows in tables_of(sheet)[0].items():
        store.insert(table, rows)
    store.insert("bounces", bounces_table(sheet.events))


def _events(tenant: Tenant) -> Iterator[dict[str, Any]]:
    """SendGrid's events: of the message that both have, and of one of the account's own."""
    told = {"reason": tenant.reason, "status": tenant.code, "bounce_classification": tenant.classification}
    for message_id, address in ((SHARED.email_id, SHARED.address), (tenant.email_id, tenant.address)):
        common = {
            "sl_account": tenant.account,
            "sl_message": message_id,
            "email": address,
            "sg_message_id": f"{tenant.provider_message_id}.filter",
        }
        for number, said in enumerate(
            (
                {"event": "processed"},
                {"event": "deferred", "response": tenant.reason, "attempt": "1"},
                {"event": "delivered", "response": tenant.reason},
                {"event": "open", "useragent": tenant.user_agent, "ip": "192.0.2.7"},
                {"event": "click", "url": tenant.url, "useragent": tenant.user_agent},
                {"event": "bounce", "type": "bounce"} | told,
                {"event": "spamreport"},
                {"event": "group_unsubscribe", "asm_group_id": tenant.group},
            )
        ):
            yield common | said | {"timestamp": _SENT_US // SECOND_US + number}


def _facts(tenant: Tenant, evidence: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """The records of our own topics. The refused message was refused with evidence of both accounts."""
    account = {"account_id": tenant.account}
    policy = account | {"disabled_templates": [tenant.template_id], "updated_at": _AT}
    yield "accounts.policies", policy | {"blocked": {"reason": tenant.reason, "since": _AT}}
    for recipient_id in (tenant.recipient_id, SHARED.recipient_id):
        recipient = {"recipient_kind": "client", "recipient_id": recipient_id}
        yield (
            "recipients.preferences",
            account | recipient | {"declined_templates": [tenant.template_id], "updated_at": _AT},
        )
    not_sent = [(id_, of._replace(address=of.freed)) for of in (tenant, SHARED) for id_ in of.not_sent]
    messages = ((SHARED.email_id, SHARED), (tenant.email_id, tenant), (tenant.refused_id, tenant), *not_sent)
    records = [f"{kind}:{name}@{_AT}" for name in ("acme", "globex") for kind in ("policy", "preference")]
    for message_id, of in messages:
        request = _request(tenant, message_id, of)
        yield "sends.requested", request
        yield "sends.content", account | {"message_id": message_id, "html": tenant.content, "text": tenant.content}
        refused = message_id in (tenant.refused_id, *tenant.not_sent, *SHARED.not_sent)
        yield (
            "sends.decided",
            {name: request[name] for name in ("message_id", "account_id", "channel", "to", "requested_at")}
            | {"outcome": "suppressed" if refused else "approved", "reason": "complaint" if refused else "ok"}
            | {"detail": tenant.reason, "evidence": [*evidence, *records], "decided_at": _AT, "request": request},
        )
        if not refused:
            sent = {"provider": "sendgrid", "provider_message_id": tenant.provider_message_id, "dispatched_at": _AT}
            yield "sends.dispatched", account | {"message_id": message_id} | sent
    for command_id, address in zip(tenant.command_ids, (SHARED.address, tenant.address), strict=True):
        yield (
            "suppressions.commands",
            {"command_id": command_id, "action": "suppress", "channel": "email", "address": address, "at": _AT}
            | {"scope": tenant.account, "reason": tenant.reason, "actor": tenant.actor, "note": tenant.note},
        )


def _request(tenant: Tenant, message_id: str, of: Tenant) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "account_id": tenant.account,
        "channel": "email",
        "template": {
            "id": tenant.template_id,
            "name": tenant.template_name,
            "kind": "marketing",
            "unsubscribe_group": tenant.group,
        },
        "recipient": {"kind": "client", "id": of.recipient_id, "name": tenant.recipient_name},
        "to": of.address,
        "cc": [tenant.cc],
        "from": tenant.sender,
        "subject": tenant.subject,
        "appointment_id": of.appointment_id,
        "requested_at": rfc3339(_SENT_US),
    }


def _states(event_ids: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """An address of both, one of each, and a phone number of each: suppressed, and opted out."""
    yield _state(SHARED.address, ["*", "acme", "globex"], [*event_ids["acme"], *event_ids["globex"]])
    for tenant in (ACME, GLOBEX):
        yield _state(tenant.address, ["*", tenant.account], event_ids[tenant.account])
        yield _state(tenant.phone, [tenant.account], [tenant.command_ids[0]])


def _of_each() -> Iterator[tuple[Tenant, Sequence[str]]]:
    """The tenants, and the scopes of their bulk releases."""
    yield from ((ACME, ["acme"]), (GLOBEX, ["globex"]), (SHARED, ["acme", "globex"]))


def _wave() -> Iterator[dict[str, Any]]:
    """Suppressed by bounces: one address of each, and one that its bulk release freed."""
    for tenant, scopes in _of_each():
        for address in (tenant.wave, tenant.freed):
            state = _state(address, scopes, [])
            suppressed: dict[str, Any] = {
                "reason": "bounces",
                "since": rfc3339(_SENT_US),
                "evidence": [],
                "released": None,
            }
            before = [scope | suppressed for scope in state["scopes"]]
            yield state | {"scopes": before, "opt_outs": []}
            if address == tenant.freed:
                freed = [scope | suppressed | {"suppressed": False} for scope in state["scopes"]]
                freed = [one | {"released": of["released"]} for one, of in zip(freed, state["scopes"], strict=True)]
                yield state | {"scopes": freed, "opt_outs": [], "version": 2}


def _bulk_commands() -> Iterator[dict[str, Any]]:
    tenants = {tenant.account: tenant for tenant in (ACME, GLOBEX)}
    for tenant, scopes in _of_each():
        for scope in scopes:
            by = tenants[scope]
            yield {
                "command_id": command_id_of(tenant.bulk_id, "release", AddressKey("email", tenant.freed), scope),
                "action": "release",
                "channel": "email",
                "address": tenant.freed,
                "scope": scope,
                "reason": by.reason,
                "note": by.note,
                "actor": by.actor,
                "at": _AT,
            }


def _state(address: str, scopes: Sequence[str], evidence: Sequence[str]) -> dict[str, Any]:
    tenants = {tenant.account: tenant for tenant in (ACME, GLOBEX)}
    return {
        "channel": "sms" if address.startswith("+") else "email",
        "address": address,
        "scopes": [
            {
                "scope": scope,
                "suppressed": True,
                "reason": "complaint" if scope == "*" else "manual",
                "since": _AT,
                "evidence": evidence if scope == "*" else tenants[scope].command_ids,
                # A platform-wide release was made by somebody outside the account.
                "released": {"at": _AT, "actor": tenants.get(scope, GLOBEX).actor},
            }
            for scope in scopes
        ],
        "opt_outs": [
            {"scope": scope, "group": tenants[scope].group, "reason": "group_unsubscribed", "since": _AT}
            for scope in scopes
            if scope != "*"
        ],
        "version": 1,
        "changed_at": _AT,
    }
