"""Every metric, in one place: name, kind, labels, and what a rise means.

Labels are bounded: never an id, an address or a text from outside. Counters are raised once a batch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["CATALOGUE", "PREFIX", "Metric", "Readings", "Telemetry"]

PREFIX: Final = "sendledger_"

Readings = Mapping[tuple[str, ...], float]
"""What a gauge shows now: a value for each tuple of label values."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `help` says what it counts, and what a rise asks for."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECORDS: Final = (1, 10, 100, 500, 1000, 2500, 5000, 10_000, 20_000, 50_000)

CATALOGUE: Final = {
    metric.name: metric
    for metric in (
        Metric("events_total", "counter", "Events folded, copies included.", ("provider", "type")),
        Metric("records_total", "counter", "Kafka records read and written, by topic.", ("topic",)),
        Metric("groups_total", "counter", "Groups written: one insert for each table."),
        Metric(
            "group_records", "histogram", "Records in a group. All small under load: raise group_seconds.", (), _RECORDS
        ),
        Metric("decode_seconds", "histogram", "Seconds to decode and fold a group.", (), _SECONDS),
        Metric(
            "insert_seconds",
            "histogram",
            "Seconds to insert a group. A rise: look at ClickHouse's parts.",
            (),
            _SECONDS,
        ),
        Metric(
            "delay_seconds",
            "histogram",
            "From the arrival of a webhook, or a record's own time, to its row being queryable (a group's oldest).",
            ("topic",),
            _SECONDS,
        ),
        Metric(
            "lag_records",
            "gauge",
            "Records of a partition that this worker has not acknowledged, as of its last fetch. A rise that lasts: the"
            " worker is too slow or waits; with no worker nothing is shown, so alert on `sendledger lag` too.",
            ("group", "topic", "partition"),
        ),
        Metric(
            "unread_partitions",
            "gauge",
            "Partitions of a topic that no worker of the group has, or that could not be fetched for a minute. Over 0:"
            " see whether Kafka is away, and what the worker's log says of the partition.",
            ("group", "topic"),
        ),
        Metric(
            "duplicates_total",
            "counter",
            "Copies of events within one group: the least that there were. They change no row; many mean that a"
            " provider posts again and again, because it gets its answers late or not at all.",
            ("provider",),
        ),
        Metric(
            "out_of_order_total",
            "counter",
            "Events older than one of the same message before them in the group. They change no row; a rise means that"
            " posts come late.",
            ("provider",),
        ),
        Metric(
            "unknown_total", "counter", "Events of a type that we don't know: kept; look at their extra.", ("provider",)
        ),
        Metric("orphans_total", "counter", "Events that name no message of ours.", ("provider",)),
        Metric("matched_total", "counter", "Of those, the ones that found their message by provider id."),
        Metric(
            "decisions_total",
            "counter",
            "Decisions of the gate that the ledger has written, copies included. A rise of one that isn't `approved`:"
            " `GET /v1/messages?status=` shows them with their reasons.",
            ("outcome",),
        ),
        Metric(
            "suppression_changes_total",
            "counter",
            "Changes of what holds for an address: it was `closed` in some scope, or is `open` everywhere (opt-outs may"
            " remain). A sudden rise of `closed`: look at Bounced Emails.",
            ("channel", "now"),
        ),
        Metric("dead_letters_total", "counter", "Records or elements parked, by reason.", ("topic", "reason")),
        Metric(
            "retries_total",
            "counter",
            "A worker's waits because Kafka (`BrokerError`) or ClickHouse (`StoreError`) was away. They pass by"
            " themselves. `EveryRecordFails` and `BrokerDenied` do not: alert on them, and mend what the log says.",
            ("of",),
        ),
        Metric(
            "producers_renewed_total",
            "counter",
            "Connections to Kafka that an error had broken and that were replaced, by that error. A few after Kafka was"
            " away; many: look at the broker's log.",
            ("why",),
        ),
        Metric(
            "errors_total",
            "counter",
            "Answers of the gateway that were 500 or 503, by what was at fault: `kafka`, `clickhouse` (away or too"
            " slow: look at the service), `readiness` (`/readyz`), `deadline`, `limits` (overloaded), `refused`"
            " (ClickHouse refuses a statement), `code` (a defect). Each has a line `request.failed` in the log.",
            ("of",),
        ),
        Metric("webhooks_total", "counter", "Webhook POSTs answered, by HTTP status.", ("provider", "status")),
        Metric("signature_failures_total", "counter", "Webhooks refused: forged, or a key is missing.", ("provider",)),
        Metric("webhook_seconds", "histogram", "Seconds to answer a webhook.", ("provider",), _SECONDS),
        Metric(
            "requests_total",
            "counter",
            "API requests answered, by route and HTTP status; 499: the client went away before its answer.",
            ("route", "status"),
        ),
        Metric("request_seconds", "histogram", "Seconds to answer an API request.", ("route",), _SECONDS),
        Metric("up", "gauge", "1 while the program is ready.", ("program",)),
    )
}


class Telemetry:
    """The metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._collectors: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str, *labels: str) -> Counter:
        """Return a counter of the catalogue, for these label values."""
        return cast(Counter, self._labelled(name, Counter, labels))

    def gauge(self, name: str, *labels: str) -> Gauge:
        """Return a gauge of the catalogue, for these label values."""
        return cast(Gauge, self._labelled(name, Gauge, labels))

    def histogram(self, name: str, *labels: str) -> Histogram:
        """Return a histogram of the catalogue, for these label values."""
        return cast(Histogram, self._labelled(name, Histogram, labels))

    def watch(self, name: str, read: Callable[[], Readings]) -> None:
        """Have a gauge of the catalogue read at each scrape, in its thread. What is not given is not shown."""
        self.registry.register(_Watched(CATALOGUE[name], read))

    def _labelled(self, name: str, kind: type[Counter | Gauge | Histogram], labels: tuple[str, ...]) -> object:
        collector = self._collectors.get(name)
        if collector is None:
            metric = CATALOGUE[name]
            more = {"buckets": metric.buckets} if metric.buckets else {}
            full = PREFIX + metric.name
            collector = kind(full, metric.help, metric.labels, registry=self.registry, **more)  # type: ignore[arg-type]
            # (buckets go to histograms alone)
            self._collectors[name] = collector
        return collector.labels(*labels) if labels else collector


class _Watched(Collector):
    """A gauge that holds nothing: it asks when it is asked."""

    def __init__(self, metric: Metric, read: Callable[[], Readings]) -> None:
        self._metric, self._read = metric, read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(PREFIX + self._metric.name, self._metric.help, labels=self._metric.labels)
