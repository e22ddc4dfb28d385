"""The names of all log lines, as `subject.what_happened`: operators search for them, so they don't change.

What a line is about is in its fields, `what`, `where` and `mend` among them; its level says who acts. Metrics are in
`schemas.telemetry`. Only the engine, which knows nothing of this project, writes plain text.
"""

from enum import StrEnum

__all__ = ["LogEvent"]


class LogEvent(StrEnum):
    """The event of a log line."""

    # Workers
    ATTEMPT_RETRIED = "attempt.retried"
    DISKS_NOT_READ = "disks.not_read"
    FAILURES_COUNTED = "failures.counted"
    FAILURES_NOT_COUNTED = "failures.not_counted"
    GENERATION_CHANGED = "generation.changed"
    LEDGER_STORE_UNAVAILABLE = "ledger.store_unavailable"
    PRODUCER_RENEWED = "producer.renewed"
    RECORD_AT_FAULT = "record.at_fault"
    RECORDS_PARKED = "records.parked"
    SWEEP_FAILED = "sweep.failed"
    TRACES_REFUSED = "traces.refused"
    WORKER_ASSIGNED = "worker.assigned"

    # Gateway and application
    CLICKHOUSE_AWAY = "clickhouse.away"
    DECISIONS_READING_FAILED = "decisions.reading_failed"
    HEALTH_PART_FAILED = "health.part_failed"
    REQUEST_CLIENT_GONE = "request.client_gone"
    REQUEST_FAILED = "request.failed"
    REQUEST_RECORD_REFUSED = "request.record_refused"
    SENDS_EVIDENCE_UNKNOWN = "sends.evidence_unknown"
    SUPPRESSION_STATE_UNKNOWN = "suppression.state_unknown"

    # A stack on this machine
    LEFTOVER_FOUND = "leftover.found"
    PART_DIED = "part.died"
    PART_KILLED = "part.killed"
    PART_RELOADED = "part.reloaded"
    PART_STARTED = "part.started"
    PART_STOPPED = "part.stopped"
    RESPONSE_ABANDONED = "response.abandoned"
    RESPONSE_BROKEN = "response.broken"

    # Simulator
    DEMO_GATE_BEHIND = "demo.gate_behind"
    DEMO_KAFKA_UNAVAILABLE = "demo.kafka_unavailable"
    DEMO_POST_REFUSED = "demo.post_refused"
    DEMO_STARTED = "demo.started"
    DEMO_STOPPED = "demo.stopped"
    GATEWAY_AVAILABLE_AGAIN = "gateway.available_again"
    GATEWAY_UNAVAILABLE = "gateway.unavailable"
