"""What input costs, told by counting and never by a clock: characters normalised, bytes kept in caches, faults told."""

import gc
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper, lru_cache, partial
from typing import Any, Final

import orjson
import pytest

from processors.gate.intake import forwarded
from processors.ledger.reading import read_records
from projections.gate.rules import Rules
from schemas.addresses import address_key
from schemas.errors import RecordInvalid
from schemas.providers import ADAPTERS
from tests.building import NOW_US, FakeRecord, a_place
from tests.gateway.building import a_send
from tests.hostile.strategies import GOOD
from tests.hostile.test_gateway import asked

MARKS: Final = "\u0301" * 129_000
"""Once 12.8 s of work for one request, with every other one waiting (C3)."""
MOST_NORMALISED: Final = 16 * 320
"""Characters of one record that may be normalised: of its few addresses, each of at most 320, some twice."""


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many characters were normalised since."""
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
    """One of each topic, with a text of 129,000 combining marks wherever an address may stand."""
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
def test_a_records_texts_cost_no_more_than_its_addresses(record: FakeRecord, normalised: Callable[[], int]) -> None:
    if record.topic.startswith(("sends.", "webhooks.")):
        read_records([record], decision_days=30)
    if record.topic != "sends.decided":
        with suppress(RecordInvalid):
            list(forwarded(record, Rules()))
    assert normalised() <= MOST_NORMALISED


def cached_bytes() -> int:
    """Bytes of all texts that our caches hold. A cache's keys are reachable from it, for the collector of cycles."""
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


def test_the_count_sees_what_a_cache_holds() -> None:
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
def test_caches_hold_short_texts_alone(records: Callable[[], Iterator[FakeRecord]]) -> None:
    """10 MB of texts that are all different leave next to nothing behind (C5)."""
    before = cached_bytes()
    for record in records():
        read_records([record], decision_days=30)
        with suppress(RecordInvalid):
            list(forwarded(record, Rules()))
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
async def test_faults_are_told_up_to_a_hundred(said: dict[str, Any]) -> None:
    """1 MiB of zeros in `cc` was once answered by 39 MB (E3)."""
    answer, kafka = await asked("POST", "/v1/sends", content=orjson.dumps(a_send(requested_at=...) | said))
    assert (answer.status_code, kafka.sent) in ((422, []), (413, []))


async def test_a_list_of_bad_requests_is_told_up_to_a_hundred() -> None:
    answer, _ = await asked("POST", "/v1/sends", content=orjson.dumps([{"cc": [0] * 100}] * 1_000))
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) <= 100


def test_an_adapters_work_on_a_form_is_linear_in_its_fields() -> None:
    """A form of a million empty fields gives one event, whose size is that of the form at most."""
    body = b"MessageStatus=sent&" + b"a=&" * 300_000
    [event] = ADAPTERS["twilio"](body, a_place(topic="webhooks.twilio", received_us=NOW_US), []).events
    assert len(event.extra) <= 2 * len(body)
