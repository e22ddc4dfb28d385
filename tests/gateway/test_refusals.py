"""What the metrics of the gateways say about refused webhooks."""

import pytest
from prometheus_client import generate_latest

from application.weather import Refusals
from gateway.refusals import parse_refusals, read_refusals
from schemas.telemetry import SIGNATURE_FAILURE_TIMESTAMP_SECONDS, SIGNATURE_FAILURES_TOTAL, UP, Telemetry


def metrics(program: str = "gateway", **failures: tuple[int, float]) -> str:
    counted = Telemetry()
    counted.gauge(UP, program=program).set(1)
    for provider, (number, at) in failures.items():
        counted.counter(SIGNATURE_FAILURES_TOTAL, provider=provider).inc(number)
        counted.gauge(SIGNATURE_FAILURE_TIMESTAMP_SECONDS, provider=provider).set(at)
    return generate_latest(counted.registry).decode()


def test_several_gateways_are_added_up_and_the_last_refusal_counts() -> None:
    found = parse_refusals([metrics(sendgrid=(2, 100.5)), metrics(sendgrid=(3, 90), twilio=(1, 7)), metrics()])
    assert found == {"sendgrid": Refusals(5, 100_500_000), "twilio": Refusals(1, 7_000_000)}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="no answer"),
        pytest.param("", id="empty"),
        pytest.param("<html>", id="another page"),
        pytest.param(metrics("ledger"), id="another program"),
        pytest.param("sendledger_signature_failures_total{} 1\n", id="without a provider"),
        pytest.param(metrics(sendgrid=(1, 1)).replace(" 1.0", " +Inf"), id="endless"),
    ],
)
def test_unless_each_gateway_answers_nothing_is_known(text: str | None) -> None:
    assert parse_refusals([metrics(), text]) is None


async def test_without_urls_nothing_is_known() -> None:
    assert await read_refusals([]) is None
    assert await read_refusals(["http://127.0.0.1:1/metrics"]) is None
