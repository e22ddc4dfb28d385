"""Tenancy: a token of one account gets nothing of another's, wherever a request can name it.

Operations and places come from the OpenAPI document. For each place there is a value of globex's and one that nobody
has: a token of acme must get the same words for both, none of which is globex's, and must write nothing for globex.
"""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx
import orjson
import pytest

from application.decisions import DecisionListener, DecisionRecord, Waiter
from application.principals import Principal
from gateway.app import create_app
from projections.store import Store
from schemas.decoding.sends import decode_decision
from schemas.decoding.times import DAY_US, rfc3339
from schemas.telemetry import Telemetry
from tests.building import a_source_position
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US, a_token
from tests.gateway.conforming import HOOKS
from tests.gateway.operations import Body, Operation, Place, closed_values, encoded, operations, put
from tests.gateway.tenants import ACME, GLOBEX, SHARED, UNKNOWN, Tenant, event_id, fill, markers, read_webhook
from tests.gateway.test_webhooks import settings
from tests.stores import fresh_store

OPERATIONS = {operation.name: operation for operation in operations()}
OF_ALL_ACCOUNTS = {"getWeather", *(name for name in OPERATIONS if "DeadLetter" in name)}
"""Operations about all accounts together: they take only a token of all of them."""
WITH_TOKEN = [name for name, operation in OPERATIONS.items() if operation.takes_token and name not in OF_ALL_ACCOUNTS]
READS = [name for name in WITH_TOKEN if OPERATIONS[name].method == "GET"]
OF_SCOPES = {"listAccounts", "listBulkReleases", "releaseInBulk", "undoBulkRelease"} | {
    "listRefusedMessages",
    "exportRefusedMessages",
}
"""Operations that don't ask whether an account is covered: they limit what they read to the token's accounts."""
LISTS = [name for name in READS if OPERATIONS[name].has_cursor]

WITHOUT_TOKEN = {
    "takeSendgridWebhook",
    "takeTwilioWebhook",
    "takePostmarkWebhook",
    "getHealth",
    "getReadiness",
    "getMetrics",
}
"""Operations without accounts: for providers, which sign, and for probes."""

VALUES: Final[Mapping[str, Callable[[Tenant], Any]]] = {
    "Idempotency-Key": lambda tenant: f"key-{tenant.account}",
    "account": lambda tenant: tenant.account,
    "account_id": lambda tenant: tenant.account,
    "address": lambda tenant: tenant.address,
    "address_prefix": lambda tenant: tenant.address[:8],
    "appointment_id": lambda tenant: tenant.appointment_id,
    "blocked.reason": lambda tenant: tenant.reason,
    "cc": lambda tenant: tenant.cc,
    "classification": lambda tenant: tenant.classification,
    "client_id": lambda tenant: tenant.recipient_id,
    "code": lambda tenant: tenant.code,
    "content.html": lambda tenant: tenant.content,
    "content.text": lambda tenant: tenant.content,
    "declined_templates": lambda tenant: tenant.template_id,
    "disabled_templates": lambda tenant: tenant.template_id,
    "domain": lambda tenant: tenant.domain,
    "email_id": lambda tenant: tenant.email_id,
    "enhanced_code": lambda tenant: tenant.code,
    "event_id": event_id,
    "from": lambda tenant: tenant.sender,
    "group": lambda tenant: tenant.group,
    "id": lambda tenant: tenant.bulk_id,
    "letter": lambda _: "0:0",  # dead letters are of no account
    "message_id": lambda tenant: tenant.email_id,
    "metadata.*": lambda tenant: tenant.note,
    "note": lambda tenant: tenant.note,
    "provider_message_id": lambda tenant: tenant.provider_message_id,
    "q": lambda tenant: tenant.account,
    "reason": lambda tenant: tenant.reason,
    "recipient.id": lambda tenant: tenant.recipient_id,
    "recipient.name": lambda tenant: tenant.recipient_name,
    "recipient_id": lambda tenant: tenant.recipient_id,
    "scope": lambda tenant: tenant.account,
    "sender": lambda tenant: tenant.sender,
    "staff_id": lambda tenant: tenant.recipient_id,
    "subject": lambda tenant: tenant.subject,
    "template.id": lambda tenant: tenant.template_id,
    "template.name": lambda tenant: tenant.template_name,
    "template.unsubscribe_group": lambda tenant: tenant.group,
    "text": lambda tenant: tenant.reason,
    "to": lambda tenant: tenant.address,
    "type": lambda tenant: tenant.template_name,
}
"""What a tenant puts into a place of free text, by the place's name."""

TIMES: Final = {
    "from": [rfc3339(NOW_US - 2 * DAY_US)],
    "to": [rfc3339(NOW_US + DAY_US)],
    "requested_at": [rfc3339(NOW_US)],
    "updated_at": [rfc3339(NOW_US)],
    "trial_started_at": [rfc3339(NOW_US)],
    "billing_entered_at": [rfc3339(NOW_US)],
    "blocked.since": [rfc3339(NOW_US)],
}
"""Places of a time: no account owns one."""

ACCOUNTS: Final = {"account", "account_id", "scope"}
"""Places that say whose rows are read or written. They take `*`, too."""
OF_BOTH: Final = {
    "address",
    "address_prefix",
    "client_id",
    "appointment_id",
    "email_id",
    "recipient_id",
    "message_id",
    "to",
}
"""Places of things that both accounts have: acme gets its own alone."""
FROM_CURSOR: Final = {"cursor"}
"""Places for values from another response: they have separate tests below."""
LEFT_OUT: Final = {"message_id"}
"""Fields of an example that a request is sent without, so that ids are made of the Idempotency-Key."""

_MEND: Final = (
    "{operation} has a place that this test has no value for: {where} `{name}`. Add it to VALUES in"
    " tests/gateway/test_tenancy.py, with what each tenant would put there; to TIMES, if it is a time"
)

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(z|\+00:00)", re.IGNORECASE)
_OF_ONE_ANSWER: Final = {"request-id", "content-length"}


class Case(NamedTuple):
    """The values for the places: `foreign` belongs to globex, `unknown` to no account; None if there is none."""

    foreign: Mapping[Place, Any]
    unknown: Mapping[Place, Any] | None = None

    @property
    def names_another(self) -> bool:
        """Whether globex is named as the account to read or to write."""
        return any(place.name in ACCOUNTS and value == GLOBEX.account for place, value in self.foreign.items())


class Answer(NamedTuple):
    """A response, and the records that were written before it."""

    status: int
    head: str
    body: str
    given: Sequence[str]
    """What was put into the request: an answer may repeat it."""
    written: Sequence[tuple[str, bytes, bytes]]

    @property
    def words(self) -> tuple[int, str, str]:
        """Its content without the given values, and without the ids and times that differ in each response."""
        head, body = (
            _TIME.sub("<time>", _ID.sub("<id>", without(text, self.given))) for text in (self.head, self.body)
        )
        return self.status, head, body

    def found(self, texts: Sequence[str]) -> list[str]:
        """The texts that are in the answer without having been given."""
        said = without(f"{self.head} {self.body}", self.given)
        return [text for text in texts if text in said]


class Gateway:
    """A gateway with the rows of both accounts, over a Kafka that keeps what is written."""

    def __init__(self, client: httpx.AsyncClient, kafka: FakeKafka) -> None:
        self._client, self.kafka = client, kafka

    async def ask(
        self,
        operation: Operation,
        token: Mapping[str, str],
        values: Mapping[Place, Any],
        *,
        tenant: Tenant = SHARED,
        body: Body | None = None,
    ) -> Answer:
        """Call an operation with `values`; everything else that it needs is the tenant's."""
        path, query, headers = operation.path, {}, dict(token)
        given = [str(value) for value in values.values()]
        for place in operation.parameters:
            value = values.get(place, value_of(operation, place, tenant) if place.required else None)
            if value is None:
                continue
            if place.where == "path":
                given.append(str(value))
                path = path.replace(f"{{{place.name}}}", quote(str(value), safe=""))
            elif place.where == "query":
                query[place.name] = str(value).lower() if isinstance(value, bool) else value
            else:
                headers[place.name] = value
        content = None
        if body is not None:
            content = encoded(body.media, filled(body, values, tenant))
            headers["Content-Type"] = body.media
        before = len(self.kafka.sent)
        answer = await self._client.request(operation.method, path, params=query, content=content, headers=headers)
        head = {name: text for name, text in answer.headers.items() if name not in _OF_ONE_ANSWER}
        written = [(topic, key, value) for topic, key, value, _ in self.kafka.sent[before:]]
        return Answer(answer.status_code, str(head), answer.text, given, written)


def value_of(operation: Operation, place: Place, tenant: Tenant) -> Any:
    """What a tenant puts into a place."""
    closed = values_without_owner(place)
    if closed is not None:
        return closed[0]
    known = VALUES.get(place.name) or VALUES.get(place.name.rpartition(".")[2])
    assert known is not None, _MEND.format(operation=operation.name, where=place.where, name=place.name)
    return known(tenant)


def values_without_owner(place: Place) -> Sequence[Any] | None:
    """The values of a place that can't name anything of an account; None for free text."""
    is_time = place.schema.get("format") == "date-time" or (place.where == "query" and place.name in ("from", "to"))
    return TIMES[place.name] if is_time else closed_values(place.schema)


def filled(body: Body, values: Mapping[Place, Any], tenant: Tenant) -> Any:
    """A body: its example, filled with the tenant's own, and `values` at their places."""
    made = {name: value for name, value in body.example.items() if name not in LEFT_OUT}
    for place in body.places:
        if place.path[0] in made:
            made = put(made, place.path, value_of(OPERATIONS["sendMessages"], place, tenant))
    for place in values:
        if place.where == "body":
            made = put(made, place.path, values[place])
    return made


def without(text: str, given: Sequence[str]) -> str:
    """A text in lower case, without the given values."""
    text = text.lower()
    for value in sorted(given, key=len, reverse=True):
        for written in {value, orjson.dumps(value).decode()[1:-1], quote(value, safe="")}:
            text = text.replace(written.lower(), "<given>")
    return text


def cases(operation: Operation, body: Body | None) -> Iterator[Case]:
    """All combinations: each place alone, the name of a thing with that of its account, and all together."""
    places = [p for p in (*operation.parameters, *(body.places if body else ())) if p.name not in FROM_CURSOR]
    free = [place for place in places if values_without_owner(place) is None]
    accounts = [place for place in free if place.name in ACCOUNTS]
    others = [place for place in free if place not in accounts]

    def pair(*named: Place) -> Case:
        foreign, unknown = ({p: value_of(operation, p, tenant) for p in named} for tenant in (GLOBEX, UNKNOWN))
        return Case(foreign, unknown)

    yield Case({})
    for account in accounts:
        yield pair(account)
        yield Case({account: "*"})
        for place in others:
            if place.where == "path":
                yield pair(account, place)
    yield pair(*free)
    for place in others:
        yield pair(place)
        if place.name in OF_BOTH:
            yield Case({place: value_of(operation, place, SHARED)})
    for place in places:
        values = values_without_owner(place) or []
        for value in [list(values)] if "items" in place.schema else values:
            yield Case({place: value})


def names_something(place: Place) -> bool:
    """Whether a place says whose rows or which one of them: a filter only chooses among those that may be seen."""
    return place.name in ACCOUNTS or place.where == "path"


async def leaks(gateway: Gateway, operation: Operation, role: str) -> AsyncGenerator[str]:
    """Yield what a token of acme gets of globex's, or does to it.

    The first role tries every case; the others, for which the routes do nothing else, those that name something.
    """
    token = a_token("acme", role=role, subject="acme's")
    for body in operation.bodies:
        for case in cases(operation, body):
            if role != operation.roles[0] and not any(map(names_something, case.foreign)):
                continue
            asked = [values for values in case if values is not None]
            calls = [gateway.ask(operation, token, values, body=body) for values in asked]
            # Requests that write are sent one by one, since a record does not say which call it came from.
            answers = [await call for call in calls] if body else await asyncio.gather(*calls)
            foreign = answers[0]
            said = {f"{place.where} {place.name}": value for place, value in case.foreign.items()}
            where = f"{operation.name} as {role}, with {said}"
            if found := foreign.found(markers()):
                yield f"{where}, shows {found}"
            if wrong := [value for _, _, value in foreign.written if owner_of(value) != ACME.account]:
                yield f"{where}, writes {wrong}"
            if foreign.written and case.names_another:
                yield f"{where}, writes although it names globex"
            if {foreign.words} != (words := {answer.words for answer in answers}):
                yield f"{where}, answers {words}: one with globex's, one with what does not exist"


def owner_of(value: bytes) -> Any:
    """The account that a record is for."""
    record = orjson.loads(value)
    return record["account_id"] if "account_id" in record else record["scope"]


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as made:
        fill(made)
        yield made


@asynccontextmanager
async def a_gateway(store: Store) -> AsyncIterator[Gateway]:
    kafka = FakeKafka()
    unlimited = settings(writes_per_second=0, reads_per_second=0)
    app = create_app(unlimited, store, kafka, Telemetry(), read_one=read_webhook)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside", event_hooks=HOOKS) as client:
        gateway = Gateway(client, kafka)
        # An Idempotency-Key that globex has used is free for acme.
        send = OPERATIONS["sendMessages"]
        [key] = [place for place in send.parameters if place.name == "Idempotency-Key"]
        token = a_token("globex", subject="globex's")
        answer = await gateway.ask(send, token, {key: VALUES[key.name](GLOBEX)}, tenant=GLOBEX, body=send.bodies[0])
        assert answer.status == 202, answer
        yield gateway


@pytest.fixture(scope="module")
async def gateway(store: Store) -> AsyncIterator[Gateway]:
    """A gateway whose gate decides immediately, with evidence of both accounts."""

    async def is_ready(_: DecisionListener) -> bool:
        return True

    async def wait_for_all(watch: Waiter, _: float) -> dict[Any, DecisionRecord]:
        return {key: a_decision(made.kafka, key) for key in watch.message_keys}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecisionListener, "_is_ready", is_ready)
        patch.setattr(Waiter, "wait_for_all", wait_for_all)
        async with a_gateway(store) as made:
            yield made


def a_decision(kafka: FakeKafka, pair: tuple[str, str]) -> DecisionRecord:
    """The decision about the request that was written last under a name."""
    requests = [orjson.loads(value) for topic, _, value, _ in kafka.sent if topic == "sends.requested"]
    [*_, request] = [one for one in requests if (one["account_id"], one["message_id"]) == pair]
    said = {name: request[name] for name in ("message_id", "account_id", "channel", "to")} | {
        "outcome": "suppressed",
        "reason": "complaint",
        "detail": "A recipient complained",
        "evidence": [*markers(), f"policy:{GLOBEX.account}@{rfc3339(NOW_US)}"],
        "decided_at": rfc3339(NOW_US),
        "request": request,
    }
    value = orjson.dumps(said)
    return DecisionRecord(value, decode_decision(value, a_source_position(received_us=2**60)))


def with_roles(names: Sequence[str]) -> list[Any]:
    return [
        pytest.param(OPERATIONS[name], role, id=f"{name}-{role}") for name in names for role in OPERATIONS[name].roles
    ]


def test_an_operation_without_a_token_is_one_that_knows_no_accounts() -> None:
    found = {name for name, operation in OPERATIONS.items() if not operation.takes_token}
    assert found == WITHOUT_TOKEN, "Say in WITHOUT_TOKEN that the operation knows no accounts, or ask for a token"


@pytest.mark.parametrize("name", WITH_TOKEN)
def test_every_place_of_a_request_has_values(name: str) -> None:
    operation = OPERATIONS[name]
    for body in operation.bodies:
        for place in (*operation.parameters, *(body.places if body else ())):
            if place.name not in FROM_CURSOR:
                assert value_of(operation, place, GLOBEX) is not None


@pytest.mark.clickhouse
@pytest.mark.parametrize(("operation", "role"), with_roles(WITH_TOKEN))
async def test_a_token_of_one_account_gets_nothing_of_another(
    gateway: Gateway, operation: Operation, role: str
) -> None:
    assert [leak async for leak in leaks(gateway, operation, role)] == []


@pytest.mark.clickhouse
@pytest.mark.parametrize(("operation", "role"), with_roles(sorted(OF_ALL_ACCOUNTS)))
async def test_what_is_of_all_accounts_needs_a_token_of_all(gateway: Gateway, operation: Operation, role: str) -> None:
    refused = await gateway.ask(operation, a_token("acme", "globex", role=role), {})
    assert (refused.status, "role-not-allowed" in refused.body) == (403, True)


@pytest.mark.clickhouse
async def test_the_weather_names_no_account(gateway: Gateway) -> None:
    answer = await gateway.ask(OPERATIONS["getWeather"], a_token("*", role="operator"), {})
    assert (answer.status, "sendgrid" in answer.body) == (200, True)
    assert answer.found(markers()) == []


@pytest.mark.clickhouse
@pytest.mark.parametrize(("operation", "role"), with_roles(WITH_TOKEN))
async def test_the_generated_calls_are_accepted(gateway: Gateway, operation: Operation, role: str) -> None:
    for body in operation.bodies:
        answer = await gateway.ask(operation, a_token("acme", role=role), {}, body=body)
        assert answer.status < 300, answer
        assert {owner_of(value) for _, _, value in answer.written} == ({"acme"} if body else set())


@pytest.mark.clickhouse
@pytest.mark.parametrize("accounts", [["globex"], ["*"]], ids=["its own token", "an operator of all accounts"])
@pytest.mark.parametrize("name", READS)
async def test_a_token_that_covers_an_account_sees_it(gateway: Gateway, name: str, accounts: list[str]) -> None:
    operation = OPERATIONS[name]
    places = {place.name: place for place in operation.parameters}
    values = {places["account"]: GLOBEX.account} if "account" in places else {}
    if "group_by" in places:  # by default it shows numbers alone
        values[places["group_by"]] = "template"
    answer = await gateway.ask(operation, a_token(*accounts, role="operator"), values, tenant=GLOBEX)
    assert (answer.status, answer.found(["globex", "scorpio"]) != []) == (200, True)


@pytest.mark.clickhouse
@pytest.mark.parametrize("name", WITH_TOKEN)
async def test_without_the_check_of_accounts_leaks_are_found(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Principal, "covers", lambda *_: True)
    monkeypatch.setattr(Principal, "covers_all", property(lambda _: name in OF_SCOPES))
    operation = OPERATIONS[name]
    found = leaks(gateway, operation, operation.roles[0])
    assert await anext(found, None) is not None
    await found.aclose()


@pytest.mark.clickhouse
@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_of_another_account_shows_nothing_of_it(gateway: Gateway, name: str) -> None:
    operation = OPERATIONS[name]
    places = {place.name: place for place in operation.parameters}
    limit, cursor = {places["limit"]: 1}, places["cursor"]
    # A list of accounts has a second page for a token of two.
    acme, globex = (
        a_token(*([account] if "account" in places else [account, "initech"]), role=operation.roles[0])
        for account in ("acme", "globex")
    )
    asked = [{}, *({places["account"]: value} for value in ("acme", "globex", "*") if "account" in places)]
    pages = [await gateway.ask(operation, globex, one | limit, tenant=GLOBEX) for one in asked]
    theirs = {orjson.loads(page.body)["next"] for page in pages if page.status == 200}
    assert theirs
    assert None not in theirs
    for one in asked:
        page = await gateway.ask(operation, acme, one | limit)
        ours = orjson.loads(page.body).get("next")
        for tried in theirs:
            answer = await gateway.ask(operation, acme, one | {cursor: tried})
            assert (answer.found(markers()), answer.status >= 400) == ([], True)
            if ours is not None:
                answer = await gateway.ask(operation, acme, one | {cursor: with_key_of(ours, tried)})
                assert (answer.found(markers()), answer.status) == ([], 200)


def with_key_of(ours: str, theirs: str) -> str:
    """A cursor that is valid for our filters, at the position of theirs."""
    [ours_of, *_], [_, *key] = (orjson.loads(base64.urlsafe_b64decode(text + "==")) for text in (ours, theirs))
    return base64.urlsafe_b64encode(orjson.dumps([ours_of, *key])).decode().rstrip("=")


@pytest.mark.clickhouse
@pytest.mark.parametrize("name", sorted(WITHOUT_TOKEN))
async def test_operations_without_a_token_show_nothing_of_an_account(gateway: Gateway, name: str) -> None:
    operation = OPERATIONS[name]
    await gateway.ask(OPERATIONS["getMessage"], a_token("globex", role="viewer"), {}, tenant=GLOBEX)
    answer = await gateway.ask(operation, {}, {})
    assert (answer.found(markers()), answer.written) == ([], [])
    assert answer.status == (200 if operation.method == "GET" else 401)
