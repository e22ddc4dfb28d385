"""For each alert: metrics with which it fires, and metrics that resemble them, with which it must not.

Values are those of promtool, one a minute, or one per `step` minutes: `0+10x60` is 0, 10, 20, … and `5x60` is 61 times
5. The names of metrics are
written out here: an alert whose metric gets another name no longer fires.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["CASES", "Case", "Fires"]

Metrics = Mapping[str, str]


class Fires(NamedTuple):
    """Metrics with which the alert fires at `minute`, with the labels and the description of the alert."""

    minute: int
    metrics: Metrics
    description: str
    labels: Mapping[str, str] = {}


class Case(NamedTuple):
    """An alert: when it fires, and when it does not, by the reason."""

    fires: Fires
    quiet: Mapping[str, Metrics]
    step: int = 1
    """Minutes from one value to the next: alerts that look at a day would take long with a value for each."""


PROVIDER: Final = {"provider": "sendgrid"}
_UP: Final = 'sendledger_up{program="%s", instance="a:1"}'
_NOT_READY: Final = (
    "0 processes of the %s report that they are ready. Either none runs, or Prometheus can't read its metrics."
)


def _up(program: str) -> Case:
    return Case(
        Fires(20, {_UP % program: "1x10 0x20"}, _NOT_READY % program),
        {
            "another one is ready": {_UP % program: "1x10 0x20", f'sendledger_up{{program="{program}"}}': "1x30"},
            "a restart": {_UP % program: "1x12 0x3 1x20"},
        },
    )


def _events(kind: str, values: str, provider: str = "sendgrid") -> Metrics:
    return {f'sendledger_events_total{{provider="{provider}", type="{kind}"}}': values}


def _failures(fault: str, code: str, values: str) -> Metrics:
    return {f'sendledger_delivery_failures_total{{provider="sendgrid", fault="{fault}", code="{code}"}}': values}


def _quantile(metric: str, labels: str, below: str, largest: str, values: str, slow_values: str) -> Metrics:
    """A histogram with the observations `slow_values` between `below` and `largest`, beside the fast ones."""
    return {
        f'{metric}_bucket{{{labels}le="{below}"}}': values,
        f'{metric}_bucket{{{labels}le="{largest}"}}': slow_values,
        f'{metric}_bucket{{{labels}le="+Inf"}}': slow_values,
    }


_LAG: Final = 'sendledger_lag_records{group="ledger", topic="webhooks.sendgrid", partition="%d", instance="a:1"}'
_READ: Final = 'sendledger_records_total{topic="webhooks.sendgrid", instance="%s"}'
_GATE_LAG: Final = 'sendledger_lag_records{group="gate", topic="%s", partition="0", instance="b:1"}'
_DECIDED: Final = 'sendledger_records_total{topic="sends.decided", instance="a:1"}'
_DISPATCHED: Final = 'sendledger_records_total{topic="sends.dispatched", instance="a:1"}'
_LETTERS: Final = 'sendledger_dead_letters_total{topic="webhooks.sendgrid", reason="%s"}'
_REQUESTS: Final = 'sendledger_requests_total{route="/v1/messages", status="%d"}'
_WEBHOOKS: Final = 'sendledger_webhooks_total{provider="sendgrid", status="%d"}'
_REFUSED: Final = 'sendledger_signature_failures_total{provider="sendgrid"}'
_RETRIES: Final = 'sendledger_retries_total{of="%s", instance="a:1"}'
_ERRORS: Final = 'sendledger_errors_total{of="%s", instance="a:1"}'
_CLOSED: Final = 'sendledger_suppression_changes_total{channel="email", now="%s"}'
_OF_TOPIC: Final = {"topic": "webhooks.sendgrid"}

_RESIDENT: Final = 'sendledger_resident_bytes{job="sendledger-gate", instance="a:1"}'
_MEMORY_LIMIT: Final = 'sendledger_memory_limit_bytes{job="sendledger-gate", instance="a:1"}'
_DISK_FREE: Final = 'sendledger_broker_disk_free_bytes{broker="%d", instance="a:1"}'
_DISK: Final = 'sendledger_broker_disk_bytes{broker="%d", instance="a:1"}'

_PROGRAMS: Final = {
    "GatewayDown": _up("gateway"),
    "LedgerDown": _up("ledger"),
    "GateDown": _up("gate"),
    "TargetDown": Case(
        Fires(
            10,
            {'up{job="sendledger-ledger", instance="a:1"}': "0x30"},
            "a:1 of sendledger-ledger does not answer when Prometheus reads its metrics.",
            {"job": "sendledger-ledger", "instance": "a:1"},
        ),
        {
            "it answers": {'up{job="sendledger-ledger", instance="a:1"}': "1x30"},
            "another one's job": {'up{job="node", instance="a:1"}': "0x30"},
        },
    ),
    "MemoryHigh": Case(
        Fires(
            20,
            {_RESIDENT: "90x30", _MEMORY_LIMIT: "100x30"},
            "90% of the memory that a:1 of sendledger-gate may use. The system ends it at the limit; it starts again,"
            " and loses nothing.",
            {"job": "sendledger-gate", "instance": "a:1"},
        ),
        {
            "half of it": {_RESIDENT: "50x30", _MEMORY_LIMIT: "100x30"},
            "a peak": {_RESIDENT: "50x12 90x8 50x20", _MEMORY_LIMIT: "100x40"},
            "another one's limit": {
                _RESIDENT: "90x30",
                _MEMORY_LIMIT: "200x30",
                'sendledger_memory_limit_bytes{job="sendledger-gate", instance="b:1"}': "100x30",
            },
        },
    ),
}

_WORKERS: Final = {
    "LagHigh": Case(
        Fires(
            20,
            {_LAG % 0: "8000x30", _LAG % 1: "4500x30"},
            "12.5k records wait in the group ledger.",
            {"group": "ledger"},
        ),
        {
            "few": {_LAG % 0: "8000x30"},
            "it catches up": {_LAG % 0: "30000-3000x10 0x20"},
            "a peak": {_LAG % 0: "0x10 30000x7 0x20"},
            "two groups with half of it": {_LAG % 0: "6000x30", _GATE_LAG % "sends.requested": "6000x30"},
        },
    ),
    "LagNotRead": Case(
        Fires(
            20,
            {_LAG % 0: "3x30", _READ % "a:1": "100x30", _READ % "b:1": "0+10x30"},
            "3 records of webhooks.sendgrid wait for a:1, which has stored none for 5 minutes.",
            {"group": "ledger", "topic": "webhooks.sendgrid", "instance": "a:1"},
        ),
        {
            "a pause": {_LAG % 0: "0x15 3x3 0x20", _READ % "a:1": "100x30"},
            "slow, but it reads": {_LAG % 0: "900x30", _READ % "a:1": "0+1x30"},
            "nothing waits": {_LAG % 0: "0x30", _READ % "a:1": "100x30"},
        },
    ),
    "GateStuck": Case(
        Fires(
            20,
            {_GATE_LAG % "gate.by-account": "2x30", _DECIDED: "50x30"},
            "At least 2 records wait for the gate, and the ledger has read no decision for 5 minutes.",
        ),
        {
            "it decides": {_GATE_LAG % "gate.by-account": "2x30", _DECIDED: "0+1x30"},
            "a pause": {_GATE_LAG % "sends.requested": "0x10 2x8 0x20", _DECIDED: "50x30"},
            "a quiet night": {_GATE_LAG % "sends.requested": "0x30", _DECIDED: "50x30"},
            "only what is in flight waits": {
                _GATE_LAG % "sends.requested": "1 0 1 0 1 0 1 0 1 0x20",
                _DECIDED: "50x30",
            },
            "others wait": {_GATE_LAG % "webhooks.sendgrid": "2x30", _DECIDED: "50x30"},
        },
    ),
    "DelayHigh": Case(
        Fires(
            30,
            _quantile("sendledger_delay_seconds", 'topic="webhooks.sendgrid", ', "30", "60", "0x40", "0+60x40"),
            "In one of ten writes the oldest record of webhooks.sendgrid waited for at least 57 s until its row was"
            " queryable. (60 means 60 or more.)",
            _OF_TOPIC,
        ),
        {
            "one slow write": _quantile(
                "sendledger_delay_seconds", 'topic="webhooks.sendgrid", ', "30", "60", "0+60x40", "1+60x40"
            )
        },
    ),
    "PartitionsUnread": Case(
        Fires(
            10,
            {'sendledger_unread_partitions{group="ledger", topic="webhooks.sendgrid"}': "4x20"},
            "4 partitions of webhooks.sendgrid are read by no worker of the group ledger.",
            {"group": "ledger", **_OF_TOPIC},
        ),
        {
            "all are read": {'sendledger_unread_partitions{group="ledger", topic="webhooks.sendgrid"}': "0x20"},
            "a rebalance": {'sendledger_unread_partitions{group="ledger", topic="webhooks.sendgrid"}': "0x7 4 4 0x20"},
        },
    ),
    "InsertsSlow": Case(
        Fires(
            40,
            _quantile("sendledger_insert_seconds", "", "5", "10", "0x60", "0+60x60"),
            "One of ten inserts takes 9.5 s or more.",
        ),
        {"one of a hundred": _quantile("sendledger_insert_seconds", "", "5", "10", "0+99x60", "0+100x60")},
    ),
    "ClickHouseUnavailable": Case(
        Fires(
            20,
            {_RETRIES % "StoreError": "0x5 0+6x30"},
            "Workers retried 30 times in 5 minutes, because ClickHouse did not take their rows. Nothing is lost; rows"
            " come"
            " late.",
        ),
        {
            "a restart of ClickHouse": {_RETRIES % "StoreError": "0x14 50x30"},
            "one now and then": {_RETRIES % "StoreError": "0+1x30"},
            "Kafka's": {_RETRIES % "BrokerError": "0+6x30"},
        },
    ),
    "KafkaUnavailable": Case(
        Fires(
            20,
            # One write that is blocked, with an attempt every 50 seconds.
            {_RETRIES % "BrokerError": "0x5 0+1.2x30"},
            "Workers retried 6 times in 5 minutes: BrokerError.",
            {"of": "BrokerError"},
        ),
        {
            "a leader moved": {_RETRIES % "BrokerError": "0x14 50x30"},
            "one now and then": {_RETRIES % "BrokerError": " ".join(f"{n}x2" for n in range(20))},
            "ClickHouse's": {_RETRIES % "StoreError": "0+6x30", _RETRIES % "StoreDenied": "0+6x30"},
            "an operator's": {_RETRIES % "BrokerDenied": "0+6x30"},
        },
    ),
    "WorkerNeedsOperator": Case(
        Fires(
            20,
            {_RETRIES % "BrokerDenied": "_x18 1x30"},
            "BrokerDenied: 1 retries in 10 minutes. The log line attempt.retried says how to mend it.",
            {"of": "BrokerDenied"},
        ),
        {
            "those that end by themselves": {_RETRIES % "StoreError": "0+6x30"},
            "it was mended": {_RETRIES % "BrokerDenied": "0+1x5 5x30"},
        },
    ),
    "ProducersRenewed": Case(
        Fires(
            40,
            {'sendledger_producers_renewed_total{why="ProducerFenced"}': "0+1x60"},
            "30 producers were replaced in 30 minutes.",
        ),
        {"Kafka was away": {'sendledger_producers_renewed_total{why="ProducerFenced"}': "0x20 4x60"}},
    ),
    "KafkaDiskLow": Case(
        Fires(
            20,
            {_DISK_FREE % 2: "10x30", _DISK % 2: "100x30", _DISK_FREE % 1: "60x30", _DISK % 1: "100x30"},
            "10% of the disk of broker 2 is free. A broker whose disk is full ends.",
            {"broker": "2"},
        ),
        {
            "enough": {_DISK_FREE % 2: "20x30", _DISK % 2: "100x30"},
            "a peak": {_DISK_FREE % 2: "60x12 10x8 60x20", _DISK % 2: "100x40"},
            "a small one beside a large one": {
                _DISK_FREE % 2: "60x30",
                _DISK % 2: "100x30",
                _DISK_FREE % 1: "600x30",
                _DISK % 1: "1000x30",
            },
        },
    ),
}

_DEAD_LETTERS: Final = {
    "DeadLetters": Case(
        # The first letter of a worker: the metric appears with 1.
        Fires(
            20,
            {_LETTERS % "event_missing": "_x18 1x30"},
            "1 dead letters of webhooks.sendgrid in 15 minutes, with the reason event_missing.",
            {**_OF_TOPIC, "reason": "event_missing"},
        ),
        {
            "older ones": {_LETTERS % "event_missing": "7x60"},
            "older ones, and a scrape that failed": {_LETTERS % "event_missing": "7x4 stale 7x60"},
        },
    ),
    "DeadLettersOfOurCode": Case(
        Fires(
            20,
            {_LETTERS % "element_failed": "_x18 9x30"},
            "9 dead letters of webhooks.sendgrid in 15 minutes, with the reason element_failed: probably a bad deploy.",
            {**_OF_TOPIC, "reason": "element_failed"},
        ),
        {
            "one odd record": {_LETTERS % "element_failed": "_x18 1x30"},
            "malformed mail": {_LETTERS % "event_missing": "_x18 90x30"},
        },
    ),
    "DeadLettersMany": Case(
        Fires(
            20,
            {_LETTERS % "event_missing": "_x18 80x30", _LETTERS % "body_not_json": "_x18 70x30"},
            "150 dead letters of webhooks.sendgrid in 15 minutes.",
            _OF_TOPIC,
        ),
        {"some": {_LETTERS % "event_missing": "_x18 80x30"}},
    ),
}

_GATEWAY: Final = {
    "ErrorRate": Case(
        Fires(
            20,
            {_REQUESTS % 200: "0+90x30", _REQUESTS % 503: "0+10x30"},
            "10% of the responses of 10 minutes had the status 500 or 503.",
        ),
        {
            "few requests": {_REQUESTS % 200: "0+3x30", _REQUESTS % 503: "0+3x30"},
            "few errors": {_REQUESTS % 200: "0+99x30", _REQUESTS % 503: "0+1x30"},
            "the callers' fault": {_REQUESTS % 200: "0+90x30", _REQUESTS % 401: "0+90x30"},
            "probes": {
                _REQUESTS % 200: "0+90x30",
                'sendledger_requests_total{route="/readyz", status="503"}': "0+90x30",
            },
        },
    ),
    "GatewayWithoutKafka": Case(
        Fires(20, {_ERRORS % "kafka": "_x18 8x30"}, "8 requests were answered with 503 in 10 minutes."),
        {
            "one": {_ERRORS % "kafka": "_x18 1x30"},
            "ClickHouse's": {_ERRORS % "clickhouse": "0+9x30"},
            "over": {_ERRORS % "kafka": "80x30"},
        },
    ),
    "GatewayWithoutClickHouse": Case(
        Fires(
            20,
            {_ERRORS % "clickhouse": "_x18 4x30", _ERRORS % "refused": "_x18 4x30"},
            "8 requests failed in 10 minutes.",
        ),
        {"one": {_ERRORS % "clickhouse": "_x18 1x30"}, "Kafka's": {_ERRORS % "kafka": "0+9x30"}},
    ),
    "GatewayFails": Case(
        Fires(
            20,
            {_ERRORS % "code": "_x18 1x30"},
            "1 responses of 15 minutes had the status 500. Their log lines request.failed have the exception.",
        ),
        {"older ones": {_ERRORS % "code": "3x30"}, "limits": {_ERRORS % "limits": "0+9x30"}},
    ),
    "GatewayOverloaded": Case(
        Fires(
            20,
            {_ERRORS % "limits": "0+2x30", _ERRORS % "deadline": "0+1x30"},
            "30 requests of 10 minutes reached a limit or took too long.",
        ),
        {"few": {_ERRORS % "limits": "0+1x30"}},
    ),
    "WebhooksSlow": Case(
        Fires(
            30,
            _quantile("sendledger_webhook_seconds", 'provider="sendgrid", ', "2.5", "5", "0x40", "0+60x40"),
            "One of twenty webhooks of sendgrid is answered after 4.9 s or more. Providers give up and post again.",
            PROVIDER,
        ),
        {
            "one of a hundred": _quantile(
                "sendledger_webhook_seconds", 'provider="sendgrid", ', "1", "5", "0+99x40", "0+100x40"
            )
        },
    ),
    "SignatureFailures": Case(
        Fires(
            30,
            {_WEBHOOKS % 204: "0+90x40", _WEBHOOKS % 401: "0+10x40", _REFUSED: "0+10x40"},
            "10% of the webhooks of sendgrid in 15 minutes: forged, or a key was rotated.",
            PROVIDER,
        ),
        {
            "few": {_WEBHOOKS % 204: "0x40", _WEBHOOKS % 401: "0x20 5x40", _REFUSED: "0x20 5x40"},
            "a small share": {_WEBHOOKS % 204: "0+99x40", _WEBHOOKS % 401: "0+1x40", _REFUSED: "0+1x40"},
        },
    ),
    "SignaturesAllRefused": Case(
        Fires(
            30,
            {_WEBHOOKS % 204: "900x40", _WEBHOOKS % 401: "0+10x40", _REFUSED: "0+10x40"},
            "100% of the webhooks of sendgrid in 15 minutes: probably a key is missing. Only SendGrid posts them"
            " again.",
            PROVIDER,
        ),
        {
            "a tenth": {_WEBHOOKS % 204: "0+90x40", _WEBHOOKS % 401: "0+10x40", _REFUSED: "0+10x40"},
            "few": {_WEBHOOKS % 204: "0x40", _WEBHOOKS % 401: "0x20 5x40", _REFUSED: "0x20 5x40"},
        },
    ),
}

_HALF_AND_HALF: Final = {**_events("delivered", "0+5x60 300x60"), **_events("sent", "0+5x60 300x60", "twilio")}
"""Both were silent for the second hour."""

_PROVIDERS: Final = {
    "ProviderSilent": Case(
        Fires(
            110,
            # SendGrid had 300 of the 850 events of the day; 42 of the 120 messages were to be expected from it.
            {**_events("delivered", "0+5x60 300x60"), **_events("sent", "0+5x120", "twilio"), _DISPATCHED: "0+4x120"},
            "Some 42 messages were handed over to sendgrid in 30 minutes, and no event of it was stored.",
            PROVIDER,
        ),
        {
            "nothing was sent": {**_HALF_AND_HALF, _DISPATCHED: "600x120"},
            "few messages": {**_HALF_AND_HALF, _DISPATCHED: "0+1x120"},
            "it reports": {**_events("delivered", "0+5x120"), _DISPATCHED: "0+4x120"},
            "a provider that is hardly used": {
                **_events("delivered", "0+50x120"),
                **_events("sent", "3x120", "twilio"),
                _DISPATCHED: "0+4x120",
            },
        },
    ),
    "DeliveredSilent": Case(
        Fires(
            40,
            {**_events("processed", "0+4x60"), **_events("delivered", "80x60")},
            "sendgrid reported 60 processed or sent messages in 15 minutes, and delivered none.",
            PROVIDER,
        ),
        {
            "nothing is sent": {**_events("processed", "80x60"), **_events("delivered", "80x60")},
            "few": {**_events("processed", "0+1x60"), **_events("delivered", "80x60")},
            "they are delivered": {**_events("processed", "0+4x60"), **_events("delivered", "0+1x60")},
        },
    ),
    "EventsLate": Case(
        Fires(
            60,
            _quantile(
                "sendledger_arrival_delay_seconds",
                'provider="sendgrid", type="delivered", ',
                "1800",
                "7200",
                "0x90",
                "0+10x90",
            ),
            "Deliveries by sendgrid arrive 1h 51m 0s after they happened.",
            PROVIDER,
        ),
        {
            "one of a hundred": _quantile(
                "sendledger_arrival_delay_seconds",
                'provider="sendgrid", type="delivered", ',
                "1800",
                "7200",
                "0+99x90",
                "0+100x90",
            ),
            "openings": _quantile(
                "sendledger_arrival_delay_seconds",
                'provider="sendgrid", type="opened", ',
                "1800",
                "7200",
                "0x90",
                "0+10x90",
            ),
        },
    ),
    "UnknownEvents": Case(
        Fires(
            90,
            {'sendledger_unknown_total{provider="sendgrid"}': "0+1x120"},
            "60 events of sendgrid in an hour have a type that no adapter knows. They are stored.",
            PROVIDER,
        ),
        {"some": {'sendledger_unknown_total{provider="sendgrid"}': "_x60 5x60"}},
    ),
    "OrphansMany": Case(
        Fires(
            100,
            {'sendledger_orphans_total{provider="sendgrid"}': "0+5x120", **_events("delivered", "0+10x120")},
            "50% of the events of sendgrid in an hour: a sender may leave out our ids.",
            PROVIDER,
        ),
        {
            "few events": {
                'sendledger_orphans_total{provider="sendgrid"}': "0+1x120",
                **_events("delivered", "0+1x120"),
            },
            "a small share": {
                'sendledger_orphans_total{provider="sendgrid"}': "0+1x120",
                **_events("delivered", "0+10x120"),
            },
        },
    ),
    "BounceRate": Case(
        Fires(
            100,
            {**_events("delivered", "0+9x120"), **_events("bounced", "0+1x120")},
            "10% of the messages that sendgrid ended in an hour bounced or failed.",
            PROVIDER,
        ),
        {
            "too few messages": {**_events("delivered", "0+1x120"), **_events("bounced", "_x80 30x40")},
            "a usual share": {**_events("delivered", "0+98x120"), **_events("bounced", "0+2x120")},
            "another provider's": {**_events("delivered", "0+9x120"), **_events("failed", "0+1x120", "twilio")},
        },
    ),
    "ComplaintRate": Case(
        Fires(
            300,
            {**_events("delivered", "0+100x40"), **_events("complained", "_x20 6x20")},
            "0.2% of the messages that sendgrid delivered in a day were reported as spam.",
            PROVIDER,
        ),
        {
            "too few messages": {**_events("delivered", "0+20x40"), **_events("complained", "_x20 6x20")},
            "a usual share": {**_events("delivered", "0+200x40"), **_events("complained", "_x20 3x20")},
        },
        step=10,
    ),
    "SenderRefused": Case(
        Fires(
            100,
            {
                **_events("delivered", "0+9x120"),
                **_events("blocked", "0+1x120"),
                **_failures("sender", "5.7", "0+1x120"),
            },
            "10% of the messages that sendgrid ended in an hour were refused because of the sender: reputation,"
            " authentication, content or registration.",
            PROVIDER,
        ),
        {
            "the recipients' fault": {
                **_events("delivered", "0+9x120"),
                **_events("bounced", "0+1x120"),
                **_failures("recipient", "5.1", "0+1x120"),
            },
            "too few messages": {**_events("blocked", "0+1x120"), **_failures("sender", "5.7", "0+1x120")},
            "a usual share": {**_events("delivered", "0+98x120"), **_failures("sender", "5.7", "0+2x120")},
        },
    ),
    "ErrorCodeRate": Case(
        Fires(
            1600,
            {
                **_events("delivered", "0+200x170"),
                **_events("blocked", "0x150 0+50x20"),
                **_failures("sender", "5.7", "0x150 0+50x20"),
            },
            "20% of the messages that sendgrid ended in an hour failed with 5.7, over three times as many as in the"
            " usual"
            " hour of the day.",
            {**PROVIDER, "code": "5.7"},
        ),
        {
            "as usual": {
                **_events("delivered", "0+200x170"),
                **_events("bounced", "0+50x170"),
                **_failures("recipient", "5.1", "0+50x170"),
            },
            "new, but a small share": {
                **_events("delivered", "0+1000x170"),
                **_failures("sender", "5.7", "0x150 0+10x20"),
            },
            "few": {
                **_events("delivered", "0+10x170"),
                **_events("blocked", "_x157 40x20"),
                **_failures("sender", "5.7", "_x157 40x20"),
            },
        },
        step=10,
    ),
    "SuppressionWave": Case(
        Fires(
            1600,
            {_CLOSED % "closed": "_x158 200x20"},
            "200 addresses (email) became suppressed in 30 minutes, over five times as many as usual: perhaps a"
            " receiver"
            " has an outage.",
            {"channel": "email"},
        ),
        {
            "as usual": {_CLOSED % "closed": "0+100x170"},
            "few": {_CLOSED % "closed": "_x158 50x20"},
            "releases": {_CLOSED % "open": "_x158 200x20"},
        },
        step=10,
    ),
}

_CLICKHOUSE: Final = {
    "ClickHouseParts": Case(
        Fires(
            20,
            {'ClickHouseAsyncMetrics_MaxPartCountForPartition{instance="c:1"}': "420x30"},
            "420 parts on c:1: reads get slow, and eventually inserts are refused.",
            {"instance": "c:1"},
        ),
        {"some": {'ClickHouseAsyncMetrics_MaxPartCountForPartition{instance="c:1"}': "200x30"}},
    ),
    **{
        name: Case(
            Fires(
                20,
                {
                    'ClickHouseAsyncMetrics_DiskAvailable_default{instance="c:1"}': f"{free}x30",
                    'ClickHouseAsyncMetrics_DiskTotal_default{instance="c:1"}': "100x30",
                },
                f"{free}% of the disk of c:1 is free. Merges need room, too; when it is full, workers wait.",
                {"instance": "c:1"},
            ),
            {
                "enough": {
                    'ClickHouseAsyncMetrics_DiskAvailable_default{instance="c:1"}': f"{enough}x30",
                    'ClickHouseAsyncMetrics_DiskTotal_default{instance="c:1"}': "100x30",
                }
            },
        )
        for name, free, enough in (("ClickHouseDiskLow", 10, 30), ("ClickHouseDiskFull", 3, 10))
    },
    "ClickHouseMemoryHigh": Case(
        Fires(
            20,
            {
                'ClickHouseMetrics_MemoryTracking{instance="c:1"}': "90x30",
                'ClickHouseAsyncMetrics_OSMemoryTotal{instance="c:1"}': "1000x30",
                'ClickHouseAsyncMetrics_CGroupMemoryTotal{instance="c:1"}': "100x30",
            },
            "90% of the memory of c:1. Queries and inserts fail at its limit; inserts are repeated.",
            {"instance": "c:1"},
        ),
        {
            "half of it": {
                'ClickHouseMetrics_MemoryTracking{instance="c:1"}': "50x30",
                'ClickHouseAsyncMetrics_OSMemoryTotal{instance="c:1"}': "100x30",
            },
            "no limit, and much memory": {
                'ClickHouseMetrics_MemoryTracking{instance="c:1"}': "50x30",
                'ClickHouseAsyncMetrics_OSMemoryTotal{instance="c:1"}': "100x30",
                'ClickHouseAsyncMetrics_CGroupMemoryTotal{instance="c:1"}': "0x30",
            },
        },
    ),
}

CASES: Final[Mapping[str, Case]] = {
    **_PROGRAMS,
    **_WORKERS,
    **_DEAD_LETTERS,
    **_GATEWAY,
    **_PROVIDERS,
    **_CLICKHOUSE,
}
"""The cases by the name of the alert."""
