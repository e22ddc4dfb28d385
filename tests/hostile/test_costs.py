"""The cost of input, counted and never timed: characters normalised, bytes kept in caches, errors reported."""

import gc
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper, lru_cache, partial
from typing import Any, Final

import orjson
import pytest

from processors.gate.intake import internal_messages
from processors.ledger.decode import read_records
from schemas.decoding.addresses import address_key
from schemas.decoding.decoders import decoders
from schemas.errors import RecordInvalid
from schemas.providers import ADAPTERS
from tests.building import NOW_US, FakeRecord, a_source_position
from tests.gateway.building import a_send
from tests.hostile.strategies import GOOD
from tests.hostile.test_gateway import asked

DECODERS: Final = decoders(decision_days=30)
MARKS: Final = "\u0301" * 129_000
"""These once took 12.8 s for one request, while all others waited."""
MOST_NORMALISED: Final = 16 * 320
"""Characters of one record that may be normalised: its few addresses of at most 320 each, some of them twice."""


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that counts the characters normalised since."""
    seen: list[int] = []
    plain = unicodedata.normalize

    def counting(form: Any, text: str) -> str:
        seen.append(len(text))
        return plain(form, text)

    monkeypatch.setattr(unicodedata, "normalize", counting)
    return lambda: sum(seen)


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("text", [MARKS, f"a{MARKS}@example.com", f"ann@{MARKS}.com", MARKS[:321]])
def test_a_text_of_over_320_characters_is_never_normalised(
    channel: str, text: str, normalised: Callable[[], int]
) -> None:
    address_key(text, channel)
    assert normalised() == 0


def hostile_records() -> Iterator[FakeRecord]:
    """Yield a record of each topic, with 129,000 combining marks in all fields for addresses."""
    request = GOOD["sends.requested"] | {"to": MARKS, "cc": [MARKS[:60_000]], "from": MARKS[:1_000]}
    yield FakeRecord("sends.requested", orjson.dumps(request))
    yield FakeRecord("sends.requested", orjson.dumps(GOOD["sends.requested"] | {"to": MARKS[:100_000]}))
    yield FakeRecord("suppressions.commands", orjson.dumps(GOOD["suppressions.commands"] | {"address": MARKS}))
    decision = GOOD["sends.decided"]
    decided = decision | {"request": decision["request"] | {"to": MARKS[:90_000], "cc": []}}
    yield FakeRecord("sends.decided", orjson.dumps(decided))
    yield FakeRecord("webhooks.sendgrid", orjson.dumps([{"event": "bounce", "email": MARKS, "status": "5.1.1"}]))
    yield FakeRecord("webhooks.postmark", orjson.dumps({"RecordType": "Bounce", "Type": "HardBounce", "Email": MARKS}))
    yield FakeRecord("webhooks.twilio", f"MessageStatus=delivered&To={MARKS}&From={MARKS}".encode())


@pytest.mark.parametrize("record", list(hostile_records()), ids=lambda record: record.topic)
def test_only_the_addresses_of_a_record_are_normalised(record: FakeRecord, normalised: Callable[[], int]) -> None:
    if record.topic.startswith(("sends.", "webhooks.")):
        read_records([record], decision_days=30)
    if record.topic != "sends.decided":
        with suppress(RecordInvalid):
            list(internal_messages(record, DECODERS))
    assert normalised() <= MOST_NORMALISED


def cached_bytes() -> int:
    """Return the bytes of all texts in our caches, found by their references as the garbage collector sees them."""
    total = 0
    for cache in (one for one in gc.get_objects() if isinstance(one, _lru_cache_wrapper)):
        if getattr(cache, "__module__", "").split(".")[0] not in ("schemas", "projections", "processors", "gateway"):
            continue
        todo, seen = list[object]([cache]), set[int]()
        while todo:
            one = todo.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, str | bytes):
                total += len(one)
            elif isinstance(one, tuple | list | dict) or one is cache or type(one).__name__ == "_lru_list_elem":
                todo += gc.get_referents(one)
    return total


def test_the_count_includes_the_contents_of_caches() -> None:
    kept = lru_cache(maxsize=10)(str.upper)
    kept.__module__ = "schemas.example"
    before = cached_bytes()
    kept("x" * 100_000)
    assert cached_bytes() - before >= 100_000


def many(topic: str, make: Callable[[str], bytes]) -> Iterator[FakeRecord]:
    for number in range(200):
        yield FakeRecord(topic, make(f"{number}" + "x" * 50_000), offset=number)


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(partial(many, "sends.requested", lambda t: _requested(to=t)), id="to"),
        pytest.param(partial(many, "sends.requested", lambda t: _requested(to=f"{t}@example.com")), id="local part"),
        pytest.param(partial(many, "sends.requested", lambda t: _requested(account_id=t)), id="account"),
        pytest.param(partial(many, "webhooks.sendgrid", lambda t: orjson.dumps([{"event": t}])), id="event name"),
        pytest.param(
            partial(many, "webhooks.sendgrid", lambda t: orjson.dumps([{"event": "open", "sl_account": t}])),
            id="echoed account",
        ),
        pytest.param(partial(many, "webhooks.postmark", lambda t: orjson.dumps({"RecordType": t})), id="RecordType"),
        pytest.param(
            partial(many, "webhooks.postmark", lambda t: orjson.dumps({"RecordType": "Bounce", "Type": t})), id="Type"
        ),
        pytest.param(partial(many, "webhooks.twilio", lambda t: f"MessageStatus={t}&To={t}".encode()), id="status"),
    ],
)
def test_caches_hold_short_texts_only(records: Callable[[], Iterator[FakeRecord]]) -> None:
    """10 MB of different texts leave almost nothing in the caches."""
    before = cached_bytes()
    for record in records():
        read_records([record], decision_days=30)
        with suppress(RecordInvalid):
            list(internal_messages(record, DECODERS))
    assert cached_bytes() - before < 500_000


def _requested(**said: Any) -> bytes:
    return orjson.dumps(GOOD["sends.requested"] | said)


@pytest.mark.parametrize(
    "said",
    [
        {"cc": [0] * 500_000},
        {"cc": ["ann@example.com"] * 60_000},
        {"cc": [{}] * 100_000},
        {"metadata": {f"k{n}": n for n in range(100_000)}},
        {"template": {f"k{n}": n for n in range(100_000)}},
        {f"unknown{n}": n for n in range(100_000)},
    ],
    ids=["numbers", "addresses", "objects", "metadata", "template", "fields"],
)
async def test_at_most_a_hundred_errors_are_reported(said: dict[str, Any]) -> None:
    """The response to 1 MiB of zeros in `cc` once had 39 MB."""
    answer, kafka = await asked("POST", "/v1/sends", content=orjson.dumps(a_send(requested_at=...) | said))
    assert (answer.status_code, kafka.sent) in ((422, []), (413, []))


async def test_at_most_a_hundred_errors_are_reported_for_a_list() -> None:
    answer, _ = await asked("POST", "/v1/sends", content=orjson.dumps([{"cc": [0] * 100}] * 1_000))
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) <= 100


def test_an_adapters_work_on_a_form_is_linear_in_its_fields() -> None:
    """A form of a million empty fields gives one event that is at most as large as the form."""
    body = b"MessageStatus=sent&" + b"a=&" * 300_000
    [event] = ADAPTERS["twilio"](body, a_source_position(topic="webhooks.twilio", received_us=NOW_US), []).events
    assert len(event.extra) <= 2 * len(body)
