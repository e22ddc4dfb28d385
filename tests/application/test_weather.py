"""The weather with services that answer, and with those that don't."""

import asyncio
from typing import Any

import pytest

from application import weather
from application.weather import Refusals, Weather, read_weather
from processors.dead_letters.browsing import Letter, LetterId, OpenLetters
from processors.kafka.lag import Lag, PartitionLag
from projections.weather.silence import Cause, Evidence, Heard
from schemas.decoding.times import SECOND_US
from schemas.errors import BrokerError
from tests.weather.test_silence import NOW_US, provider

HEARD = [*provider("sendgrid", delivered=10), *provider("twilio")]
FROM_US = NOW_US - 15 * 60 * SECOND_US


class Answers:
    """A store that answers the three queries."""

    def __init__(self, heard: list[Heard]) -> None:
        self._heard = heard

    def tuples(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        if "FINAL" in sql:
            return [tuple(one) for one in self._heard]
        is_today = parameters["to"] == NOW_US
        return [("sendgrid", "processed", 12, 10, 15, 8, 2, 1.5, 9.0, 1)] if is_today else []

    rows = columns = tuples


async def read(refusals: dict[str, Refusals] | None, heard: list[Heard] = HEARD) -> Weather:
    return await read_weather(
        asyncio.to_thread,
        Answers(heard),  # type: ignore[arg-type]  # has the method that is called
        bootstrap="127.0.0.1:1",
        consumer_group="ledger",
        minutes=15,
        now_us=NOW_US,
        refusals=refusals,
    )


async def test_without_kafka_and_gateways_the_arrivals_are_shown_and_nobody_is_blamed() -> None:
    found = await read(None)
    assert set(found.evidence.values()) == {Evidence(None, None, None)}
    assert [one.cause for one in found.silences] == [Cause.NOT_KNOWN]
    answer = found.as_json()
    assert answer["providers"][1] == {
        "provider": "sendgrid",
        "unread": None,
        "dead_letters": None,
        "signature_failures": None,
        "signature_failed_at": None,
    }
    rows = {(item["provider"], item["type"]): item for item in answer["items"]}
    assert ("sendgrid", "dispatched") not in rows  # handed over by us
    assert rows["sendgrid", "processed"]["now"] == {
        "received": 12,
        "events": 10,
        "duplicate_factor": 1.5,
        "out_of_order": 2,
        "out_of_order_share": 0.25,
        "delay_p50_seconds": 1.5,
        "delay_p95_seconds": 9.0,
        "orphans": 1,
    }
    assert rows["sendgrid", "processed"]["day_before"]["received"] == 0
    assert rows["sendgrid", "delivered"]["now"]["duplicate_factor"] is None
    [silence] = answer["silences"]
    assert silence["what"] == (
        "no delivered from sendgrid for 10 min, and 40 events were expected: there were 40 events processed meanwhile"
    )
    assert silence["next_step"]


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Kafka answers: the unread records of webhooks.sendgrid, and the topics of recent dead letters."""
    answers: dict[str, Any] = {"unread": [0, 0], "letters": []}

    async def lag(bootstrap: str, groups: Any) -> Lag:
        assert [group.name for group in groups] == ["ledger"]
        topic = "webhooks.sendgrid"
        return Lag(tuple(PartitionLag("ledger", topic, n, 0, lag, lag) for n, lag in enumerate(answers["unread"])))

    async def read_open_letters(bootstrap: str, *, since_ms: int, most: int, within_seconds: float) -> OpenLetters:
        assert since_ms == FROM_US // 1000
        if answers["letters"] is None:
            raise BrokerError("Kafka does not answer", bootstrap, "Start it")
        letters = (a_letter(number, topic) for number, topic in enumerate(answers["letters"]))
        return OpenLetters(tuple(letters), 0, reached_end=True)

    monkeypatch.setattr(weather, "lag", lag)
    monkeypatch.setattr(weather, "read_open_letters", read_open_letters)
    return answers


def a_letter(number: int, topic: str) -> Letter:
    return Letter(LetterId(0, number), topic, None, "element_failed", "", "ledger", "", "", None, b"", ())


async def test_the_evidence_is_of_each_provider(kafka: dict[str, Any]) -> None:
    kafka |= {"unread": [2, 3], "letters": ["webhooks.twilio", "webhooks.sendgrid", "sends.requested"]}
    found = await read({"postmark": Refusals(4, FROM_US)})
    assert found.evidence == {
        "sendgrid": Evidence(5, 1, 0),
        "twilio": Evidence(0, 1, 0),
        "postmark": Evidence(0, 0, 4),
    }
    assert [one.cause for one in found.silences] == [Cause.PROVIDER]


async def test_what_was_refused_long_ago_is_shown_and_explains_nothing(kafka: dict[str, Any]) -> None:
    found = await read({"sendgrid": Refusals(400, FROM_US - 1)})
    assert found.evidence["sendgrid"].refused == 0
    assert found.as_json()["providers"][1]["signature_failures"] == 400
    assert [one.cause for one in found.silences] == [Cause.PROVIDER]
    found = await read({"sendgrid": Refusals(400, FROM_US)})
    assert [one.cause for one in found.silences] == [Cause.REFUSED]


async def test_a_part_of_kafka_that_does_not_answer_is_not_known(kafka: dict[str, Any]) -> None:
    kafka["letters"] = None
    found = await read({})
    assert found.evidence["sendgrid"] == Evidence(0, None, 0)
    assert [one.cause for one in found.silences] == [Cause.NOT_KNOWN]


async def test_messages_that_are_handed_over_to_a_silent_provider_are_named(kafka: dict[str, Any]) -> None:
    kafka["unread"] = [7, 0]
    found = await read({}, [*provider("sendgrid", all=10), *provider("twilio")])
    [silence] = found.as_json()["silences"]
    assert silence["what"] == (
        "nothing from sendgrid for 10 min, and 120 events were expected: 40 messages were handed over to it meanwhile"
    )
    assert (silence["likely"], silence["cause"]) == ("sendledger", "unread_records")
