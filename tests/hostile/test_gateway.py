"""The gateway's routes: no request gets a 500, and no worker parks what the gateway accepts."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app import create_app
from processors.gate.intake import internal_messages
from processors.ledger.decode import read_records
from projections.store import Store
from projections.suppressions.rules import GateRules
from schemas.decoding.decoders import decoders
from schemas.errors import RecordInvalid
from schemas.telemetry import Telemetry
from schemas.topics import GATE_INPUTS, LEDGER_INPUTS
from tests.building import FakeRecord
from tests.fakes import FakeKafka
from tests.gateway.building import NOW_US, a_send, a_token
from tests.gateway.test_webhooks import settings as gateway_settings
from tests.hostile.examples import examples
from tests.hostile.strategies import bodies, deep, json_values, texts, times

EXPECTED: Final = {200, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503}
MOST_ANSWER_BYTES: Final = 128 * 1024
"""The limit for an error response: 100 errors, each with a field's name and a sentence."""
MOST_FAULTS: Final = 100
RULES: Final = GateRules()
DECODERS: Final = decoders(decision_days=RULES.decision_days)


class EmptyStore(Store):
    """A store without rows and without a server."""

    def rows(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return []

    def tuples(self, *_: object, **__: object) -> Sequence[Sequence[Any]]:
        return [(0,)]


@cache
def gateway() -> tuple[FakeKafka, httpx.AsyncClient]:
    """One gateway for all examples, without rate limits, which would hide the errors behind them."""
    kafka = FakeKafka()
    unlimited = gateway_settings(writes_per_second=0, reads_per_second=0, failures_per_minute=0)
    app = create_app(unlimited, EmptyStore("http://127.0.0.1:1"), kafka, Telemetry())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # exceptions become responses, as in a server
    return kafka, httpx.AsyncClient(transport=transport, base_url="http://inside", timeout=60)


async def asked(
    method: str, path: str, *, token: Mapping[str, str] | Mapping[bytes, bytes] | None = None, **said: Any
) -> tuple[httpx.Response, FakeKafka]:
    """Return the response to one request, and what it wrote to Kafka."""
    kafka, client = gateway()
    kafka.outputs.clear()
    answer = await client.request(method, path, headers=token or a_token("*", role="operator"), **said)
    assert answer.status_code in EXPECTED, answer.text[:500]
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.content) <= MOST_ANSWER_BYTES
        assert len(answer.json().get("errors", ())) <= MOST_FAULTS
    return answer, kafka


def judged(kafka: FakeKafka) -> None:
    """Check that no worker parks a record that was written."""
    for number, (topic, key, value, headers) in enumerate(kafka.sent):
        record = FakeRecord(topic, value, key, list(headers.items()), offset=number, timestamp=NOW_US // 1000)
        if topic in {one.name for one in LEDGER_INPUTS}:
            assert read_records([record], decision_days=RULES.decision_days).letters == []
        if topic in {one.name for one in GATE_INPUTS}:
            try:
                list(internal_messages(record, DECODERS))
            except RecordInvalid as invalid:
                raise AssertionError(f"{topic}: {invalid.detail}") from invalid


ROUTES: Final = (
    ("POST", "/v1/sends"),
    ("POST", "/v1/suppressions"),
    ("POST", "/v1/suppressions/release"),
    ("POST", "/v1/suppressions/opt-in"),
    ("POST", "/v1/suppressions/import"),
    ("PUT", "/v1/accounts/acme/policy"),
    ("PUT", "/v1/accounts/acme/recipients/client/c1/preference"),
)
routes = pytest.mark.parametrize(("method", "path"), ROUTES, ids=[path for _, path in ROUTES])


@routes
@given(body=bodies())
@settings(max_examples=examples(30))
async def test_any_body_gets_a_response(method: str, path: str, body: bytes) -> None:
    _, kafka = await asked(method, path, content=body)
    judged(kafka)


_FIELDS: Final = {
    "/v1/sends": (
        *("message_id", "account_id", "channel", "template", "recipient", "to", "cc", "from", "subject"),
        *("appointment_id", "requested_at", "metadata", "content", "x"),
    ),
    "/v1/suppressions": ("channel", "address", "scope", "reason", "note", "group", "sender", "x"),
    "/v1/accounts/acme/policy": (
        *("trial_started_at", "billing_entered_at", "trial_days", "trial_email_limit", "sms_enabled"),
        *("disabled_templates", "invitation_opt_in_enabled", "blocked", "updated_at", "account_id", "x"),
    ),
    "/v1/accounts/acme/recipients/client/c1/preference": (
        *("declined_templates", "invitation_opted_in", "updated_at", "x"),
    ),
}
_FIELDS["/v1/suppressions/release"] = _FIELDS["/v1/suppressions/opt-in"] = _FIELDS["/v1/suppressions"]
_FIELDS["/v1/suppressions/import"] = _FIELDS["/v1/suppressions"]


def good(path: str) -> dict[str, Any]:
    if path == "/v1/sends":
        return a_send(requested_at=...)
    if path.startswith("/v1/suppressions"):
        return {"channel": "email", "address": "ann@example.com", "reason": "asked", "scope": "acme"}
    return {}


@routes
@given(data=st.data())
@settings(max_examples=examples(60))
async def test_no_worker_parks_what_the_gateway_accepts(method: str, path: str, data: st.DataObject) -> None:
    value = st.one_of(json_values(), texts(), times(), st.lists(texts(), max_size=3))
    fields = data.draw(st.dictionaries(st.sampled_from(_FIELDS[path]), value, max_size=3))
    try:
        body = orjson.dumps(good(path) | fields)
    except (TypeError, ValueError):  # values that only Python's `json` can encode are among the bodies above
        return
    _, kafka = await asked(method, path, content=body)
    judged(kafka)


@routes
@pytest.mark.parametrize("levels", [1_100, 100_000])
async def test_a_body_may_nest_at_any_depth(method: str, path: str, levels: int) -> None:
    whole = orjson.dumps(good(path))
    nested = b'{"x":' + deep(levels) + (b"," + whole[1:] if whole != b"{}" else b"}")
    _, kafka = await asked(method, path, content=nested)
    judged(kafka)


LISTS: Final = (
    "/v1/messages",
    "/v1/messages/0199d29b-09c0-7abc-8def-0123456789ab",
    "/v1/messages/0199d29b-09c0-7abc-8def-0123456789ab/events",
    "/v1/bounces",
    "/v1/bounces/export",
    "/v1/suppressions",
    "/v1/suppressions/export",
    "/v1/suppressions/email/ann@example.com",
    "/v1/accounts",
)


@pytest.mark.parametrize("path", LISTS)
@given(data=st.data())
@settings(max_examples=examples(40))
async def test_any_parameters_get_a_response(path: str, data: st.DataObject) -> None:
    names = st.sampled_from(
        ["account", "from", "to", "status", "address", "email_id", "limit", "cursor", "order", "channel", "scope"]
        + ["suppressed", "reason", "format", "q", "x"]
    )
    values = st.one_of(
        texts().map(lambda text: text[:1_200]),  # four of them, escaped, are the longest URL that the client sends
        times().map(str),
        st.sampled_from(["*", "acme", "50", "501", "W10", "WzEsMiwzXQ"]),
    )
    said = data.draw(st.lists(st.tuples(names, values), max_size=4))
    await asked("GET", path, params=said)


@given(authorization=st.one_of(texts(), texts().map(lambda text: f"Bearer {text}")))
@settings(max_examples=examples(60))
async def test_any_token_gets_a_response(authorization: str) -> None:
    raw = authorization.encode("utf-8", "replace").translate(None, b"\r\n\x00")[:4_000]
    answer, _ = await asked("GET", "/v1/accounts", token={b"Authorization": raw})
    assert answer.status_code == 401


@pytest.mark.parametrize("provider", ["sendgrid", "twilio", "postmark"])
@given(body=bodies(), said=texts())
@settings(max_examples=examples(30))
async def test_an_unsigned_post_is_always_rejected(provider: str, body: bytes, said: str) -> None:
    value = said.encode("utf-8", "replace").translate(None, b"\r\n\x00")[:4_000]
    names = ("X-Twilio-Signature", "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp")
    headers = {name.encode(): value for name in (*names, "Authorization")}
    answer, kafka = await asked("POST", f"/webhooks/{provider}", token=headers, content=body)
    assert answer.status_code in (401, 413)
    assert kafka.sent == []
