"""All metrics: name, kind, labels, and what an increase means. Log lines are in `schemas.log_events`.

Labels have bounded sets of values: never an id, an address or text from outside. Counters are incremented once per
batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PREFIX: Final = "sendledger_"


@dataclass(frozen=True)
class Metric:
    """One metric. `help` says what it measures, and what to do when it rises."""

    collector: ClassVar[type[Counter | Gauge | Histogram]]
    name: str
    help: str
    _: KW_ONLY
    labels: tuple[str, ...] = ()


class CounterMetric(Metric):
    """A metric that only rises."""

    collector = Counter


class GaugeMetric(Metric):
    """A metric that rises and falls."""

    collector = Gauge


@dataclass(frozen=True)
class HistogramMetric(Metric):
    """A metric that counts values by size."""

    collector = Histogram
    buckets: tuple[float, ...] = field(kw_only=True)


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RECORDS: Final = (1, 10, 100, 500, 1000, 2500, 5000, 10_000, 20_000, 50_000)

EVENTS_TOTAL: Final = CounterMetric(
    "events_total",
    "Events folded, duplicates included.",
    labels=("provider", "type"),
)
EVENT_RECEIVED_TIMESTAMP_SECONDS: Final = GaugeMetric(
    "event_received_timestamp_seconds",
    "When the newest event of the last group that had any was received, as Unix time. If it stays while that of a type"
    " which goes before it rises, the provider is silent: `sendledger weather` says whose fault that is.",
    labels=("provider", "type"),
)
ARRIVAL_DELAY_SECONDS: Final = HistogramMetric(
    "arrival_delay_seconds",
    "Seconds from an event, by the provider's clock, until it was received: the median of each group. Events without a"
    " time of their own don't count. If it rises, the provider posts late or again.",
    labels=("provider", "type"),
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 21_600, 86_400),
)
DELIVERY_FAILURES_TOTAL: Final = CounterMetric(
    "delivery_failures_total",
    "Bounced, blocked, dropped and failed events, by who caused the failure and by error code, duplicates included."
    " `code`"
    " is class and subject of the enhanced status code (`5.7`), or one of Twilio's error codes that we know, or"
    " `other`."
    " If `sender` rises, receivers refuse what we send: the runbook is docs/how-to/when-bounces-rise.md.",
    labels=("provider", "fault", "code"),
)
RECORDS_TOTAL: Final = CounterMetric(
    "records_total",
    "Kafka records read and stored, by topic.",
    labels=("topic",),
)
GROUPS_TOTAL: Final = CounterMetric(
    "groups_total",
    "Groups of records written: one insert into each table.",
)
GROUP_RECORDS: Final = HistogramMetric(
    "group_records",
    "Records in a group. If all are small under load, increase group_seconds.",
    buckets=_RECORDS,
)
DECODE_SECONDS: Final = HistogramMetric(
    "decode_seconds",
    "Seconds to decode and aggregate a group.",
    buckets=_SECONDS,
)
INSERT_SECONDS: Final = HistogramMetric(
    "insert_seconds",
    "Seconds to insert a group. If it rises, look at the number of ClickHouse's parts.",
    buckets=_SECONDS,
)
DELAY_SECONDS: Final = HistogramMetric(
    "delay_seconds",
    "Seconds from a webhook's arrival, or a record's own time, until its row is queryable (oldest of a group).",
    labels=("topic",),
    buckets=_SECONDS,
)
LAG_RECORDS: Final = GaugeMetric(
    "lag_records",
    "Records of a partition that this worker has not acknowledged, as of some seconds ago. If it keeps rising,"
    " the worker is too slow or waits. Without a worker there is no value, so alert on `sendledger_up`, too.",
    labels=("group", "topic", "partition"),
)
UNREAD_PARTITIONS: Final = GaugeMetric(
    "unread_partitions",
    "Partitions of a topic that no worker of the group has, or that could not be fetched for a minute. If it is"
    " over 0, check that Kafka is available, and look for the partition in the worker's log.",
    labels=("group", "topic"),
)
DUPLICATES_TOTAL: Final = CounterMetric(
    "duplicates_total",
    "Duplicate events within one group; there may be more across groups. They change no row. Many mean that a"
    " provider repeats its posts, because our responses come late or not at all.",
    labels=("provider",),
)
OUT_OF_ORDER_TOTAL: Final = CounterMetric(
    "out_of_order_total",
    "Events that are older than an earlier event of the same message in the group. They change no row; an"
    " increase means that posts arrive late.",
    labels=("provider",),
)
UNKNOWN_TOTAL: Final = CounterMetric(
    "unknown_total",
    "Events of an unknown type. They are kept: see their `extra`.",
    labels=("provider",),
)
ORPHANS_TOTAL: Final = CounterMetric(
    "orphans_total",
    "Events without ids of a message of ours.",
    labels=("provider",),
)
MATCHED_TOTAL: Final = CounterMetric(
    "matched_total",
    "Orphans that were matched to their message by provider id.",
)
DECISIONS_TOTAL: Final = CounterMetric(
    "decisions_total",
    "Decisions of the gate that the ledger has written, duplicates included. For an increase of an outcome"
    " other than `approved`, `GET /v1/messages?status=` shows the messages with their reasons.",
    labels=("outcome",),
)
SUPPRESSION_CHANGES_TOTAL: Final = CounterMetric(
    "suppression_changes_total",
    "Changes of an address's state: it became suppressed in some scope (`closed`), or is suppressed in none"
    " (`open`; opt-outs may remain). After a sudden increase of `closed`, look at Bounced Emails.",
    labels=("channel", "now"),
)
DEAD_LETTERS_TOTAL: Final = CounterMetric(
    "dead_letters_total",
    "Records or elements that were dead-lettered, by reason.",
    labels=("topic", "reason"),
)
RETRIES_TOTAL: Final = CounterMetric(
    "retries_total",
    "Retries of a worker because Kafka (`BrokerError`) or ClickHouse (`StoreError`) was unavailable, which end"
    " by themselves. `EveryRecordFails` and `BrokerDenied` do not: alert on them, and follow the `mend` of the"
    " log line `attempt.retried`.",
    labels=("of",),
)
PRODUCERS_RENEWED_TOTAL: Final = CounterMetric(
    "producers_renewed_total",
    "Kafka producers that were replaced after an error, by error. A few are normal after Kafka was unavailable;"
    " if there are many, look at the broker's log.",
    labels=("why",),
)
ERRORS_TOTAL: Final = CounterMetric(
    "errors_total",
    "Responses of the gateway with status 500 or 503, by cause: `kafka`, `clickhouse` (unavailable or too slow:"
    " look at the service), `readiness` (`/readyz`), `deadline`, `limits` (overloaded), `refused` (ClickHouse"
    " rejects a statement), `code` (a bug). Each has a line `request.failed` in the log, but for connections over"
    " max_connections, which count as `limits`.",
    labels=("of",),
)
WEBHOOKS_TOTAL: Final = CounterMetric(
    "webhooks_total",
    "Responses to webhook POSTs, by HTTP status.",
    labels=("provider", "status"),
)
SPANS_TOTAL: Final = CounterMetric(
    "spans_total",
    "Spans of traced webhooks, by outcome: sent to the collector, or dropped because it did not take them. If `dropped`"
    " rises, check the collector and SENDLEDGER_TRACES_URL.",
    labels=("outcome",),
)
SIGNATURE_FAILURES_TOTAL: Final = CounterMetric(
    "signature_failures_total",
    "Webhooks rejected because of their signature: forged, or a key is missing.",
    labels=("provider",),
)
SIGNATURE_FAILURE_TIMESTAMP_SECONDS: Final = GaugeMetric(
    "signature_failure_timestamp_seconds",
    "When a webhook was last rejected because of its signature, as Unix time.",
    labels=("provider",),
)
WEBHOOK_SECONDS: Final = HistogramMetric(
    "webhook_seconds",
    "Seconds to answer a webhook.",
    labels=("provider",),
    buckets=_SECONDS,
)
REQUESTS_TOTAL: Final = CounterMetric(
    "requests_total",
    "Responses to API requests, by route and HTTP status; 499: the client disconnected before its response.",
    labels=("route", "status"),
)
REQUEST_SECONDS: Final = HistogramMetric(
    "request_seconds",
    "Seconds to answer an API request.",
    labels=("route",),
    buckets=_SECONDS,
)
RESIDENT_BYTES: Final = GaugeMetric(
    "resident_bytes",
    "Resident memory of this process. If it nears `memory_limit_bytes`, the system will end the process:"
    " docs/how-to/when-the-lag-grows.md.",
)
MEMORY_LIMIT_BYTES: Final = GaugeMetric(
    "memory_limit_bytes",
    "Memory that this process may use: the smallest of the limit of its container, `ulimit -m` and the machine's"
    " memory.",
)
BROKER_DISK_FREE_BYTES: Final = GaugeMetric(
    "broker_disk_free_bytes",
    "Room on the fullest disk of a Kafka broker, as it says itself. A broker whose disk is full ends:"
    " docs/how-to/when-kafka-lost-a-broker.md. No value: Kafka is older than 3.3, or its ACLs don't let us ask.",
    labels=("broker",),
)
BROKER_DISK_BYTES: Final = GaugeMetric(
    "broker_disk_bytes",
    "Size of that disk.",
    labels=("broker",),
)
UP: Final = GaugeMetric(
    "up",
    "1 while the program is ready.",
    labels=("program",),
)

CATALOGUE: Final[Mapping[str, Metric]] = {
    metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)
}
"""Every metric above, by name: for the reference page and the tests."""


class Reading(NamedTuple):
    """The current value of a gauge for one combination of labels."""

    value: float
    labels: Mapping[str, str]


_Collector = Counter | Gauge | Histogram


class Telemetry:
    """The metrics of one process, in their own registry. Labels are given by name; another set raises ValueError."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._collectors: dict[str, _Collector] = {}
        # By metric and labels, whose values are bounded. Prometheus' own look-up by name takes twice that by position.
        self._labelled: dict[tuple[object, ...], _Collector] = {}

    def counter(self, metric: CounterMetric, **labels: str) -> Counter:
        """Return the counter with these label values."""
        return cast(Counter, self._get(metric, labels))

    def gauge(self, metric: GaugeMetric, **labels: str) -> Gauge:
        """Return the gauge with these label values."""
        return cast(Gauge, self._get(metric, labels))

    def histogram(self, metric: HistogramMetric, **labels: str) -> Histogram:
        """Return the histogram with these label values."""
        return cast(Histogram, self._get(metric, labels))

    def watch(self, metric: GaugeMetric, read: Callable[[], Iterable[Reading]]) -> None:
        """Call `read` for the values of a gauge at each scrape, in the scrape's thread. Other labels are not shown."""
        self.registry.register(_Watched(metric, read))

    def _get(self, metric: Metric, labels: Mapping[str, str]) -> _Collector:
        key = (metric.name, *labels.items())
        found = self._labelled.get(key)
        if found is None:
            collector = self._collectors.get(metric.name) or self._registered(metric)
            found = self._labelled[key] = collector.labels(**labels) if labels or metric.labels else collector
        return found

    def _registered(self, metric: Metric) -> _Collector:
        more: dict[str, Any] = {"buckets": metric.buckets} if isinstance(metric, HistogramMetric) else {}
        full = PREFIX + metric.name
        collector = metric.collector(full, metric.help, metric.labels, registry=self.registry, **more)
        self._collectors[metric.name] = collector
        return collector


class _Watched(Collector):
    """A gauge that stores no values: it reads them at each scrape."""

    def __init__(self, metric: GaugeMetric, read: Callable[[], Iterable[Reading]]) -> None:
        self._metric, self._read = metric, read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        for value, labels in self._read():
            family.add_metric([labels[name] for name in self._metric.labels], value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(PREFIX + self._metric.name, self._metric.help, labels=self._metric.labels)
