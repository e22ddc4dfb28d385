"""The metrics of the workers: read, parsed and added up."""

from collections import Counter

import pytest

from gateway.worker_metrics import parse_metrics, quantile, read_worker_metrics
from tests.metrics import a_worker, text_of


def test_the_metrics_of_several_workers_are_added_up() -> None:
    found = parse_metrics([text_of(a_worker(0.2, 0.2, duplicates=3)), text_of(a_worker(4, duplicates=4)), None, "{"])
    assert (found.answering, found.silent) == (2, 2)
    assert found.counts["duplicates_total"] == Counter(sendgrid=7)
    assert found.retries == Counter(StoreError=4)
    assert quantile(found.delay, 0.5) == pytest.approx(0.2125)  # of 3 observations, within (0.1, 0.25]
    assert quantile(found.delay, 0.95) == pytest.approx(4.625)  # within (2.5, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("sendledger_duplicates_total 3\n", id="no label"),
        pytest.param('sendledger_duplicates_total{provider="a"} +Inf\n', id="infinite"),
        pytest.param('sendledger_duplicates_total{provider="a"} NaN\n', id="no number"),
        pytest.param('sendledger_delay_seconds_bucket{topic="webhooks.a",le="x"} 1\n', id="no bound"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_malformed_text_is_that_of_a_silent_worker(wrong: str) -> None:
    good = text_of(a_worker(0.2, duplicates=3))
    found = parse_metrics([good, good + wrong if wrong else ""])
    assert (found.answering, found.silent, found.counts["duplicates_total"]["sendgrid"]) == (1, 1, 3)


@pytest.mark.parametrize(
    ("cumulative", "q", "expected"),
    [
        pytest.param({}, 0.5, None, id="nothing measured"),
        pytest.param({1.0: 0, float("inf"): 0}, 0.5, None, id="nothing observed"),
        pytest.param({1.0: 4, 2.0: 4, float("inf"): 4}, 0.5, 0.5, id="in the first bucket"),
        pytest.param({1.0: 1, 2.0: 1, float("inf"): 4}, 0.95, 2.0, id="above the last bound"),
    ],
)
def test_a_quantile_is_interpolated(cumulative: dict[float, int], q: float, expected: float | None) -> None:
    assert quantile(cumulative, q) == expected


async def test_without_urls_no_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("httpx.AsyncClient")
    assert (await read_worker_metrics([])).silent == 0
