"""All alerts: when each fires, how urgent it is, and the page that says what to do.

The thresholds stand in the expressions below. `python -m deploy.prometheus` writes them into `rules.yml`; a test fails
while that file is stale, and another makes each alert fire and not fire.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from deploy.prometheus.promql import Not, increase, quantile, series, total
from schemas.consumer_groups import DEFAULT_GATE_GROUP
from schemas.events import DeliveryFault, EventType
from schemas.telemetry import (
    ARRIVAL_DELAY_SECONDS,
    BROKER_DISK_BYTES,
    BROKER_DISK_FREE_BYTES,
    DEAD_LETTERS_TOTAL,
    DELAY_SECONDS,
    DELIVERY_FAILURES_TOTAL,
    ERRORS_TOTAL,
    EVENTS_TOTAL,
    INSERT_SECONDS,
    LAG_RECORDS,
    MEMORY_LIMIT_BYTES,
    ORPHANS_TOTAL,
    PRODUCERS_RENEWED_TOTAL,
    RECORDS_TOTAL,
    REQUESTS_TOTAL,
    RESIDENT_BYTES,
    RETRIES_TOTAL,
    SIGNATURE_FAILURES_TOTAL,
    SUPPRESSION_CHANGES_TOTAL,
    UNKNOWN_TOTAL,
    UNREAD_PARTITIONS,
    UP,
    WEBHOOK_SECONDS,
    WEBHOOKS_TOTAL,
)
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, SENDS_DECIDED, SENDS_DISPATCHED, SENDS_REQUESTED

__all__ = ["ALERTS", "GROUPS", "Alert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert. `critical` wakes somebody; `warning` can wait until working hours."""

    name: str
    severity: Literal["critical", "warning"]
    expr: str
    lasting: str = "0m"
    """How long the expression has to be true before the alert fires."""
    summary: str
    description: str
    """What was measured, as a template: `$value` is the value of `expr`."""
    runbook: str
    """A page of docs/how-to/, without `.md`."""


_OUTCOMES: Final = (EventType.DELIVERED, EventType.BOUNCED, EventType.BLOCKED, EventType.DROPPED, EventType.FAILED)
"""The types that end the delivery of a message."""
_BOUNCES: Final = (EventType.BOUNCED, EventType.FAILED)
_OWN_REASONS: Final = ("body_failed", "code_failed", "element_failed", "store_refused")
"""Reasons of dead letters that are more likely our fault than that of the record."""
_PROBES: Final = ("/healthz", "/metrics", "/readyz")
_OF_STORE: Final = ("StoreDenied", "StoreError", "WorldFault")
_OF_OPERATOR: Final = ("BrokerDenied", "EveryRecordFails")
"""Errors that are retried, as `processors/retry_reporting.py` names them: of ClickHouse; what waiting won't mend."""
_LATE_SECONDS: Final = 30
_LARGEST: Final = int(DELAY_SECONDS.buckets[-1])
_PROVIDER: Final = ("provider",)


def _up(program: str, runbook: str) -> Alert:
    return Alert(
        name=f"{program.title()}Down",
        severity="critical",
        expr=f"(sum({series(UP, program=program)}) or vector(0)) < 1",
        lasting="5m",
        summary=f"No {program} is ready",
        description=f"{{{{ $value }}}} processes of the {program} report that they are ready."
        " Either none runs, or Prometheus can't read its metrics.",
        runbook=runbook,
    )


_PROGRAMS: Final = (
    _up("gateway", "see-whether-it-is-healthy"),
    _up("ledger", "when-the-lag-grows"),
    _up("gate", "when-the-gate-is-stuck"),
    Alert(
        name="TargetDown",
        severity="warning",
        expr='up{job=~"sendledger-.*"} == 0',
        lasting="5m",
        summary="A process of sendledger does not answer",
        description="{{ $labels.instance }} of {{ $labels.job }} does not answer when Prometheus reads its metrics.",
        runbook="see-whether-it-is-healthy",
    ),
    Alert(
        name="MemoryHigh",
        severity="warning",
        expr=f"{series(RESIDENT_BYTES)} / {series(MEMORY_LIMIT_BYTES)} > 0.85",
        lasting="10m",
        summary="A process uses nearly all of its memory",
        description="{{ $value | humanizePercentage }} of the memory that {{ $labels.instance }} of {{ $labels.job }}"
        " may use. The system ends it at the limit; it starts again, and loses nothing.",
        runbook="when-the-lag-grows",
    ),
)

_WAITING: Final = series(
    LAG_RECORDS,
    window="5m",
    group=DEFAULT_GATE_GROUP.name,
    topic=(SENDS_REQUESTED.name, GATE_BY_ADDRESS.name, GATE_BY_ACCOUNT.name),
)

_WORKERS: Final = (
    Alert(
        name="LagHigh",
        severity="warning",
        expr=f"{total(LAG_RECORDS, ('group',))} > 10000",
        lasting="15m",
        summary="Many records wait to be read",
        description="{{ $value | humanize }} records wait in the group {{ $labels.group }}.",
        runbook="when-the-lag-grows",
    ),
    Alert(
        name="LagNotRead",
        severity="critical",
        # The gate has an alert of its own: what it reads of its internal topics is not counted.
        expr=f"sum by (instance, group, topic) ({series(LAG_RECORDS, group=Not((DEFAULT_GATE_GROUP.name,)))}) > 0"
        f"\nunless on (instance, topic) {increase(RECORDS_TOTAL, '5m', ('instance', 'topic'))} > 0",
        lasting="5m",
        summary="Records wait, and none is read",
        description="{{ $value }} records of {{ $labels.topic }} wait for {{ $labels.instance }}, which has stored none"
        " for 5 minutes.",
        runbook="when-the-lag-grows",
    ),
    Alert(
        name="GateStuck",
        severity="critical",
        expr=f"sum(min_over_time({_WAITING}) > 0)"
        f"\nunless {increase(RECORDS_TOTAL, '5m', topic=SENDS_DECIDED.name)} > 0",
        lasting="5m",
        summary="Requests wait, and the gate decides none",
        description="At least {{ $value }} records wait for the gate, and the ledger has read no decision for 5"
        " minutes.",
        runbook="when-the-gate-is-stuck",
    ),
    Alert(
        name="DelayHigh",
        severity="warning",
        expr=f"{quantile(0.9, DELAY_SECONDS, '10m', ('topic',))} > {_LATE_SECONDS}",
        lasting="10m",
        summary="Rows come late",
        description="In one of ten writes the oldest record of {{ $labels.topic }} waited for at least"
        f' {{{{ $value | printf "%.0f" }}}} s until its row was queryable. ({_LARGEST} means {_LARGEST} or more.)',
        runbook="when-the-lag-grows",
    ),
    Alert(
        name="PartitionsUnread",
        severity="critical",
        expr=f"max by (group, topic) ({series(UNREAD_PARTITIONS)}) > 0",
        lasting="5m",
        summary="Partitions are read by no worker",
        description="{{ $value }} partitions of {{ $labels.topic }} are read by no worker of the group"
        " {{ $labels.group }}.",
        runbook="when-the-lag-grows",
    ),
    Alert(
        name="InsertsSlow",
        severity="warning",
        expr=f"{quantile(0.9, INSERT_SECONDS, '10m')} > 5",
        lasting="15m",
        summary="ClickHouse takes long for an insert",
        description='One of ten inserts takes {{ $value | printf "%.1f" }} s or more.',
        runbook="when-clickhouse-is-down",
    ),
    Alert(
        name="ClickHouseUnavailable",
        severity="critical",
        # A worker that waits retries every 10 seconds, so 5 minutes have some 30 retries.
        expr=f"{increase(RETRIES_TOTAL, '5m', of=_OF_STORE)} > 6",
        lasting="5m",
        summary="Workers can't write to ClickHouse",
        description='Workers retried {{ $value | printf "%.0f" }} times in 5 minutes, because ClickHouse did not take'
        " their"
        " rows. Nothing is lost; rows come late.",
        runbook="when-clickhouse-is-down",
    ),
    Alert(
        name="KafkaUnavailable",
        severity="critical",
        # Whatever else is retried: an error that is new here must not go unnoticed. An attempt waits for Kafka for up
        # to 40 seconds, and 10 more until the next. So one write that is blocked makes some 6 retries in 5 minutes.
        expr=f"{increase(RETRIES_TOTAL, '5m', ('of',), of=Not((*_OF_STORE, *_OF_OPERATOR)))} > 2",
        lasting="5m",
        summary="Workers can't reach Kafka",
        description='Workers retried {{ $value | printf "%.0f" }} times in 5 minutes: {{ $labels.of }}.',
        runbook="when-kafka-lost-a-broker",
    ),
    Alert(
        name="WorkerNeedsOperator",
        severity="critical",
        expr=f"{increase(RETRIES_TOTAL, '10m', ('of',), of=_OF_OPERATOR)} > 0",
        summary="A worker waits for something that waiting does not mend",
        description='{{ $labels.of }}: {{ $value | printf "%.0f" }} retries in 10 minutes. The log line attempt.retried'
        " says how to mend it.",
        runbook="when-the-lag-grows",
    ),
    Alert(
        name="ProducersRenewed",
        severity="warning",
        expr=f"{increase(PRODUCERS_RENEWED_TOTAL, '30m')} > 10",
        summary="Kafka producers break again and again",
        description='{{ $value | printf "%.0f" }} producers were replaced in 30 minutes.',
        runbook="when-kafka-lost-a-broker",
    ),
    Alert(
        name="KafkaDiskLow",
        severity="critical",
        # Each worker asks; one that has just been started may not have an answer yet.
        expr=f"min by (broker) ({series(BROKER_DISK_FREE_BYTES)} / {series(BROKER_DISK_BYTES)}) < 0.15",
        lasting="10m",
        summary="The disk of a Kafka broker is nearly full",
        description="{{ $value | humanizePercentage }} of the disk of broker {{ $labels.broker }} is free. A broker"
        " whose disk is full ends.",
        runbook="when-kafka-lost-a-broker",
    ),
)

_LETTERS: Final = (
    Alert(
        name="DeadLetters",
        severity="warning",
        expr=f"{increase(DEAD_LETTERS_TOTAL, '15m', ('topic', 'reason'))} > 0",
        summary="Records could not be processed",
        description='{{ $value | printf "%.0f" }} dead letters of {{ $labels.topic }} in 15 minutes, with the reason'
        " {{ $labels.reason }}.",
        runbook="handle-dead-letters",
    ),
    Alert(
        name="DeadLettersOfOurCode",
        severity="critical",
        expr=f"{increase(DEAD_LETTERS_TOTAL, '15m', ('topic', 'reason'), reason=_OWN_REASONS)} > 5",
        summary="Our code fails on records",
        description='{{ $value | printf "%.0f" }} dead letters of {{ $labels.topic }} in 15 minutes, with the reason'
        " {{ $labels.reason }}: probably a bad deploy.",
        runbook="when-a-deploy-wrote-wrong-rows",
    ),
    Alert(
        name="DeadLettersMany",
        severity="critical",
        expr=f"{increase(DEAD_LETTERS_TOTAL, '15m', ('topic',))} > 100",
        summary="Many records could not be processed",
        description='{{ $value | printf "%.0f" }} dead letters of {{ $labels.topic }} in 15 minutes.',
        runbook="handle-dead-letters",
    ),
)

_ANSWERS: Final = increase(REQUESTS_TOTAL, "10m", route=Not(_PROBES))
_FAILED: Final = increase(REQUESTS_TOTAL, "10m", route=Not(_PROBES), status=("500", "503"))
_REFUSED: Final = increase(SIGNATURE_FAILURES_TOTAL, "15m", _PROVIDER)
_POSTED: Final = increase(WEBHOOKS_TOTAL, "15m", _PROVIDER)

_GATEWAY: Final = (
    Alert(
        name="ErrorRate",
        severity="critical",
        expr=f"{_FAILED}\n/ ({_ANSWERS} >= 100)\n> 0.05",
        lasting="5m",
        summary="The gateway answers with errors",
        description="{{ $value | humanizePercentage }} of the responses of 10 minutes had the status 500 or 503.",
        runbook="see-whether-it-is-healthy",
    ),
    Alert(
        name="GatewayWithoutKafka",
        severity="critical",
        expr=f"{increase(ERRORS_TOTAL, '10m', of='kafka')} > 5",
        summary="Webhooks and sends are refused, because Kafka takes nothing",
        description='{{ $value | printf "%.0f" }} requests were answered with 503 in 10 minutes.',
        runbook="when-kafka-lost-a-broker",
    ),
    Alert(
        name="GatewayWithoutClickHouse",
        severity="warning",
        expr=f"{increase(ERRORS_TOTAL, '10m', of=('clickhouse', 'refused'))} > 5",
        summary="Lists and pages fail, because of ClickHouse",
        description='{{ $value | printf "%.0f" }} requests failed in 10 minutes.',
        runbook="when-clickhouse-is-down",
    ),
    Alert(
        name="GatewayFails",
        severity="warning",
        expr=f"{increase(ERRORS_TOTAL, '15m', of='code')} > 0",
        summary="The gateway has a bug",
        description='{{ $value | printf "%.0f" }} responses of 15 minutes had the status 500. Their log lines'
        " request.failed have the exception.",
        runbook="see-whether-it-is-healthy",
    ),
    Alert(
        name="GatewayOverloaded",
        severity="warning",
        expr=f"{increase(ERRORS_TOTAL, '10m', of=('deadline', 'limits'))} > 20",
        summary="The gateway can't keep up",
        description='{{ $value | printf "%.0f" }} requests of 10 minutes reached a limit or took too long.',
        runbook="see-whether-it-is-healthy",
    ),
    Alert(
        name="WebhooksSlow",
        severity="warning",
        expr=f"{quantile(0.95, WEBHOOK_SECONDS, '10m', _PROVIDER)} > 2",
        lasting="10m",
        summary="Webhooks are answered late",
        description='One of twenty webhooks of {{ $labels.provider }} is answered after {{ $value | printf "%.1f" }} s'
        " or"
        " more. Providers give up and post again.",
        runbook="when-kafka-lost-a-broker",
    ),
    Alert(
        name="SignatureFailures",
        severity="warning",
        expr=f"({_REFUSED} >= 10)\n/ {_POSTED}\n> 0.05",
        lasting="5m",
        summary="Webhooks are refused because of their signature",
        description="{{ $value | humanizePercentage }} of the webhooks of {{ $labels.provider }} in 15 minutes:"
        " forged, or"
        " a key was rotated.",
        runbook="rotate-a-key",
    ),
    Alert(
        name="SignaturesAllRefused",
        severity="critical",
        expr=f"({_REFUSED} >= 10)\n/ {_POSTED}\n> 0.9",
        lasting="5m",
        summary="Nearly every webhook of a provider is refused because of its signature",
        description="{{ $value | humanizePercentage }} of the webhooks of {{ $labels.provider }} in 15 minutes:"
        " probably a"
        " key is missing. Only SendGrid posts them again.",
        runbook="rotate-a-key",
    ),
)


def _share(part: str, whole: str, least: int) -> str:
    """The share of `part` in `whole`, by provider, if the whole is at least this large."""
    return f"{part}\n/ on (provider) ({whole} >= {least})"


_EVENTS_OF_A_DAY: Final = increase(EVENTS_TOTAL, "1d", _PROVIDER)
_EXPECTED: Final = (
    f"{_EVENTS_OF_A_DAY}\n/ ignoring (provider) group_left {increase(EVENTS_TOTAL, '1d')}"
    f"\n* ignoring (provider) group_left {increase(RECORDS_TOTAL, '30m', topic=SENDS_DISPATCHED.name)}"
)
"""Messages that were handed over to each provider in 30 minutes, by its share of the events of the day."""
_ENDED: Final = increase(EVENTS_TOTAL, "1h", _PROVIDER, type=_OUTCOMES)
_BY_CODE: Final = ("provider", "code")

_PROVIDERS: Final = (
    Alert(
        name="ProviderSilent",
        severity="critical",
        expr=f"({_EXPECTED}) > 20\nunless on (provider) {increase(EVENTS_TOTAL, '30m', _PROVIDER)} > 0",
        lasting="5m",
        summary="A provider reports nothing",
        description='Some {{ $value | printf "%.0f" }} messages were handed over to {{ $labels.provider }} in 30'
        " minutes,"
        " and no event of it was stored.",
        runbook="when-a-provider-is-silent",
    ),
    Alert(
        name="DeliveredSilent",
        severity="warning",
        expr=f"{increase(EVENTS_TOTAL, '15m', _PROVIDER, type=(EventType.PROCESSED, EventType.SENT))} >= 20"
        f"\nunless on (provider) {increase(EVENTS_TOTAL, '15m', _PROVIDER, type=EventType.DELIVERED)} > 0",
        lasting="5m",
        summary="A provider reports no delivery",
        description='{{ $labels.provider }} reported {{ $value | printf "%.0f" }} processed or sent messages in 15'
        " minutes,"
        " and delivered none.",
        runbook="when-a-provider-is-silent",
    ),
    Alert(
        name="EventsLate",
        severity="warning",
        expr=f"{quantile(0.9, ARRIVAL_DELAY_SECONDS, '30m', _PROVIDER, type=EventType.DELIVERED)} > 1800",
        lasting="10m",
        summary="Events of a provider arrive late",
        description="Deliveries by {{ $labels.provider }} arrive {{ $value | humanizeDuration }} after they happened.",
        runbook="when-a-provider-is-silent",
    ),
    Alert(
        name="UnknownEvents",
        severity="warning",
        expr=f"{increase(UNKNOWN_TOTAL, '1h', _PROVIDER)} > 10",
        summary="A provider sends events of an unknown type",
        description='{{ $value | printf "%.0f" }} events of {{ $labels.provider }} in an hour have a type that no'
        " adapter"
        " knows. They are stored.",
        runbook="see-what-a-provider-sent",
    ),
    Alert(
        name="OrphansMany",
        severity="warning",
        expr=f"{_share(increase(ORPHANS_TOTAL, '1h', _PROVIDER), increase(EVENTS_TOTAL, '1h', _PROVIDER), 100)} > 0.2",
        lasting="15m",
        summary="Many events name no message of ours",
        description="{{ $value | humanizePercentage }} of the events of {{ $labels.provider }} in an hour: a sender may"
        " leave out our ids.",
        runbook="see-what-a-provider-sent",
    ),
    Alert(
        name="BounceRate",
        severity="warning",
        expr=f"{_share(increase(EVENTS_TOTAL, '1h', _PROVIDER, type=_BOUNCES), _ENDED, 100)} > 0.05",
        lasting="10m",
        summary="Many messages bounce",
        description="{{ $value | humanizePercentage }} of the messages that {{ $labels.provider }} ended in an hour"
        " bounced"
        " or failed.",
        runbook="when-bounces-rise",
    ),
    Alert(
        name="ComplaintRate",
        severity="critical",
        # The large receivers ask senders to stay below 0.1 % and never to reach 0.3 %.
        expr=_share(
            increase(EVENTS_TOTAL, "1d", _PROVIDER, type=EventType.COMPLAINED),
            increase(EVENTS_TOTAL, "1d", _PROVIDER, type=EventType.DELIVERED),
            1000,
        )
        + " > 0.001",
        lasting="10m",
        summary="Many recipients complain",
        description="{{ $value | humanizePercentage }} of the messages that {{ $labels.provider }} delivered in a day"
        " were"
        " reported as spam.",
        runbook="when-bounces-rise",
    ),
    Alert(
        name="SenderRefused",
        severity="critical",
        expr=_share(
            increase(DELIVERY_FAILURES_TOTAL, "1h", _PROVIDER, fault=DeliveryFault.SENDER),
            _ENDED,
            100,
        )
        + " > 0.05",
        lasting="10m",
        summary="Receivers refuse what we send",
        description="{{ $value | humanizePercentage }} of the messages that {{ $labels.provider }} ended in an hour"
        " were"
        " refused because of the sender: reputation, authentication, content or registration.",
        runbook="when-bounces-rise",
    ),
    Alert(
        name="ErrorCodeRate",
        severity="warning",
        expr=f"({increase(DELIVERY_FAILURES_TOTAL, '1h', _BY_CODE)} >= 50)"
        f"\n/ on (provider) group_left {_ENDED}\n> 0.02"
        f"\nand {increase(DELIVERY_FAILURES_TOTAL, '1h', _BY_CODE)}"
        f"\n  > {increase(DELIVERY_FAILURES_TOTAL, '1d', _BY_CODE)} / 24 * 3",
        lasting="10m",
        summary="One error code became frequent",
        description="{{ $value | humanizePercentage }} of the messages that {{ $labels.provider }} ended in an hour"
        " failed"
        " with {{ $labels.code }}, over three times as many as in the usual hour of the day.",
        runbook="when-bounces-rise",
    ),
    Alert(
        name="SuppressionWave",
        severity="critical",
        expr=f"{increase(SUPPRESSION_CHANGES_TOTAL, '30m', ('channel',), now='closed')} > 100"
        f"\nand {increase(SUPPRESSION_CHANGES_TOTAL, '30m', ('channel',), now='closed')}"
        f"\n  > {increase(SUPPRESSION_CHANGES_TOTAL, '1d', ('channel',), now='closed')} / 48 * 5",
        summary="Many addresses become suppressed at once",
        description='{{ $value | printf "%.0f" }} addresses ({{ $labels.channel }}) became suppressed in 30 minutes,'
        " over"
        " five times as many as usual: perhaps a receiver has an outage.",
        runbook="release-a-suppression-wave",
    ),
)

# Names of clickhouse-server's own exporter (`<prometheus>` in its configuration). Nothing of ours measures these.
_ASYNC: Final = "ClickHouseAsyncMetrics"
_MEMORY: Final = f"({_ASYNC}_CGroupMemoryTotal > 0 < {_ASYNC}_OSMemoryTotal or {_ASYNC}_OSMemoryTotal)"
"""The memory that it may use: the limit of its container, if there is one."""


def _disk(name: str, severity: Literal["critical", "warning"], percent: int) -> Alert:
    return Alert(
        name=name,
        severity=severity,
        expr=f"{_ASYNC}_DiskAvailable_default / {_ASYNC}_DiskTotal_default < {percent / 100}",
        lasting="10m",
        summary=f"Less than {percent} % of ClickHouse's disk is free",
        description="{{ $value | humanizePercentage }} of the disk of {{ $labels.instance }} is free. Merges need"
        " room, too;"
        " when it is full, workers wait.",
        runbook="when-clickhouse-is-down",
    )


_CLICKHOUSE: Final = (
    Alert(
        name="ClickHouseParts",
        severity="warning",
        expr=f"{_ASYNC}_MaxPartCountForPartition > 300",
        lasting="10m",
        summary="A partition of a ClickHouse table has many parts",
        description="{{ $value }} parts on {{ $labels.instance }}: reads get slow, and eventually inserts are refused.",
        runbook="when-clickhouse-is-down",
    ),
    _disk("ClickHouseDiskLow", "warning", 20),
    _disk("ClickHouseDiskFull", "critical", 5),
    Alert(
        name="ClickHouseMemoryHigh",
        severity="warning",
        expr=f"ClickHouseMetrics_MemoryTracking / {_MEMORY} > 0.85",
        lasting="10m",
        summary="ClickHouse uses nearly all of its memory",
        description="{{ $value | humanizePercentage }} of the memory of {{ $labels.instance }}. Queries and inserts"
        " fail at"
        " its limit; inserts are repeated.",
        runbook="when-clickhouse-is-down",
    ),
)

GROUPS: Final[dict[str, tuple[Alert, ...]]] = {
    "sendledger-programs": _PROGRAMS,
    "sendledger-workers": _WORKERS,
    "sendledger-dead-letters": _LETTERS,
    "sendledger-gateway": _GATEWAY,
    "sendledger-providers": _PROVIDERS,
    "clickhouse-server": _CLICKHOUSE,
}
"""The alerts by their group in `rules.yml`."""
ALERTS: Final = tuple(chain.from_iterable(GROUPS.values()))
