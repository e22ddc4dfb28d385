"""The doctor's checks without any service: the result for what was found."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import pytest

from application.checks import kafka
from application.checks.check import CONFIGURATION, DOWN, WRONG, Check, State, exit_code, fail, ok, warn
from application.checks.clickhouse import _clock, _version
from application.checks.kafka import check_topics, check_unread
from cli.doctor.run import run_checks, text
from processors.kafka.cluster import Cluster, GroupDescription, TopicDescription
from processors.kafka.lag import Lag, PartitionLag
from schemas.errors import ConfigError
from schemas.kafka_connection import SaslMechanism
from schemas.settings import Settings, TopicSettings, read
from schemas.topics import ALL_TOPICS, SENDS_CONTENT, SENDS_REQUESTED, Topic

S = TypeVar("S", bound=Settings)

_KEPT: Final = "topics.settings"
_COPIES: Final = "topics.copies"
WANTED = read(TopicSettings, kafka_bootstrap="127.0.0.1:1", partitions=4, replication=3)


def found(topic: Topic) -> TopicDescription:
    """A topic with the required settings."""
    configuration = topic.configuration(WANTED.content_retention_days) | {"min.insync.replicas": "2"}
    return TopicDescription(partitions=4, replicas=3, in_sync=3, leaderless=0, configuration=configuration)


def judged(change: Callable[[TopicDescription], TopicDescription], topic: Topic = SENDS_REQUESTED) -> dict[str, Check]:
    """The checks of a cluster in which one topic differs."""
    topics = {t.name: found(t) for t in ALL_TOPICS}
    topics[topic.name] = change(topics[topic.name])
    return {check.name: check for check in check_topics(topics, WANTED, content_days=WANTED.content_retention_days)}


def configured(**said: str) -> Callable[[TopicDescription], TopicDescription]:
    settings = {name.replace("_", "."): value for name, value in said.items()}
    return lambda topic: replace(topic, configuration={**topic.configuration, **settings})


def changed(**said: Any) -> Callable[[TopicDescription], TopicDescription]:
    return lambda topic: replace(topic, **said)


def test_topics_as_they_must_be_are_all_right() -> None:
    assert {check.state for check in judged(lambda topic: topic).values()} == {State.OK}


@pytest.mark.parametrize(
    ("change", "name", "state", "says"),
    [
        pytest.param(change, name, state, says, id=case)
        for case, change, name, state, says in (
            ("compacted", configured(cleanup_policy="compact"), _KEPT, State.FAIL, "cleanup.policy is compact"),
            ("forgets by time", configured(retention_ms="604800000"), _KEPT, State.FAIL, "604800000, not -1"),
            ("forgets by size", configured(retention_bytes="1"), _KEPT, State.FAIL, "retention.bytes"),
            ("times of senders", configured(message_timestamp_type="CreateTime"), _KEPT, State.FAIL, "CreateTime"),
            ("small records", configured(max_message_bytes="1048588"), _KEPT, State.FAIL, "max.message.bytes"),
            ("larger records", configured(max_message_bytes="99999999"), _KEPT, State.OK, ""),
            ("not told", changed(configuration={}), _KEPT, State.FAIL, "unknown"),
            ("more partitions", changed(partitions=8), "topics.partitions", State.WARN, "has 8"),
            ("no leader", changed(leaderless=1), _COPIES, State.FAIL, "without a leader"),
            ("too few in sync", changed(in_sync=1), _COPIES, State.FAIL, "writes are refused"),
            ("one behind", changed(in_sync=2), _COPIES, State.WARN, "out of sync"),
            ("fewer copies", changed(replicas=2, in_sync=2), _COPIES, State.WARN, "REPLICATION"),
            ("weak", configured(min_insync_replicas="1"), _COPIES, State.WARN, "acknowledged by a single"),
        )
    ],
)
def test_a_topic_with_wrong_settings_is_reported(
    change: Callable[[TopicDescription], TopicDescription], name: str, state: State, says: str
) -> None:
    checks = judged(change)
    assert checks[name].state is state
    assert {other for other, check in checks.items() if check.state is not State.OK} <= {name}
    assert says in checks[name].what
    assert bool(checks[name].mend) == (state is not State.OK)


def test_content_is_kept_as_long_as_it_is_set() -> None:
    checks = judged(configured(retention_ms="-1"), SENDS_CONTENT)
    assert "sends.content: retention.ms is -1, not 2592000000" in checks["topics.settings"].what


def test_a_retention_is_compared_without_the_other_settings_or_not_at_all() -> None:
    topics = {SENDS_CONTENT.name: configured(retention_ms=str(90 * 86_400_000))(found(SENDS_CONTENT))}
    states = {
        days: {one.name: one.state for one in check_topics(topics, None, content_days=days)}[_KEPT]
        for days in (90, 30, None)
    }
    assert states == {90: State.OK, 30: State.FAIL, None: State.OK}


def test_without_settings_nothing_is_compared_with_them() -> None:
    topics = {t.name: replace(found(t), partitions=7) for t in ALL_TOPICS}
    assert {check.state for check in check_topics(topics, None, content_days=None)} == {State.OK}


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        pytest.param([], 0, id="all right"),
        pytest.param([WRONG], 1, id="wrong"),
        pytest.param([WRONG, DOWN], 4, id="down before wrong"),
        pytest.param([DOWN, WRONG, CONFIGURATION], 3, id="configuration before all"),
    ],
)
def test_the_exit_code_is_the_worst(codes: Sequence[int], code: int) -> None:
    checks = [ok("a", "fine"), warn("b", "check", "mend"), *(fail(str(c), "bad", "mend", c) for c in codes)]
    assert exit_code(checks) == code


def test_people_see_a_line_a_check_and_the_mend_below() -> None:
    shown = text([ok("kafka", "2 brokers"), fail("parts", "many\x1b[31m", "merge")])
    assert shown.splitlines() == [
        "ok    kafka  2 brokers",
        "fail  parts  many?[31m",
        "             mend: merge",
    ]


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("26.9.2.1", State.OK),
        ("27.1.1.1", State.OK),
        ("25.8.1.1-lts", State.WARN),
        ("23.8.16.40", State.FAIL),
        ("unknown", State.FAIL),
    ],
)
def test_an_old_clickhouse_is_reported(version: str, state: State) -> None:
    assert _version(version).state is state


@pytest.mark.parametrize(
    ("ahead", "says"),
    [(0.0, "as this machine's"), (3600.0, "3600 s ahead of this"), (-90.0, "90 s behind this")],
)
def test_a_wrong_clock_is_reported(ahead: float, says: str) -> None:
    assert says in _clock(ahead).what


async def test_what_the_doctor_itself_stumbles_over_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the checks has a bug."""

    async def buggy(*_: object) -> list[Check]:
        raise ZeroDivisionError("kept-secret")

    def settings(kind: type[S]) -> S:
        return read(kind, kafka_bootstrap="127.0.0.1:1", clickhouse_url="http://127.0.0.1:1", token_secret="x" * 32)

    monkeypatch.setattr(kafka, "check", buggy)
    checks = {check.name: check for check in await run_checks(settings)}
    assert (checks["kafka"].state, checks["clickhouse"].code) == (State.FAIL, DOWN)
    assert "ZeroDivisionError" in checks["kafka"].what
    assert "kept-secret" not in text(list(checks.values()))


@pytest.mark.parametrize("servers", ["127.0.0.1:port", "a:1,,b:2", "http://a:1", "", "a b:1", "a:123456"])
def test_addresses_of_kafka_that_can_not_be_are_refused_by_name(servers: str) -> None:
    with pytest.raises(ConfigError, match=r"SENDLEDGER_KAFKA_BOOTSTRAP: .*host:port"):
        read(TopicSettings, kafka_bootstrap=servers)


@pytest.mark.parametrize(
    "servers", ["kafka-1:9092,kafka-2:9092", "localhost", "[::1]:9092", "a.example:1, b.example:2"]
)
def test_addresses_of_kafka_are_taken(servers: str) -> None:
    assert read(TopicSettings, kafka_bootstrap=servers).kafka_bootstrap == servers


def behind(partition: int, lag: int) -> PartitionLag:
    return PartitionLag("ledger", "webhooks.twilio", partition, None, lag, lag)


def test_records_in_a_partition_that_no_worker_has_are_reported() -> None:
    groups = {"ledger": GroupDescription(1, frozenset({("webhooks.twilio", 0)}))}
    check = check_unread(groups, [behind(0, 5), behind(1, 7), behind(2, 0)])
    assert check.state is State.WARN
    assert "webhooks.twilio-1 (7 records, group ledger)" in check.what
    assert "webhooks.twilio-0" not in check.what
    assert "webhooks.twilio-2" not in check.what


@pytest.mark.parametrize("group", [GroupDescription(), GroupDescription(2)], ids=["nobody there", "assigning"])
def test_without_workers_or_during_a_rebalance_no_unread_partition_is_reported(group: GroupDescription) -> None:
    assert check_unread({"ledger": group}, [behind(1, 7)]).state is State.OK


def test_of_many_partitions_without_a_worker_a_few_are_named() -> None:
    check = check_unread({"ledger": GroupDescription(1, frozenset())}, [behind(n, 1) for n in range(9)])
    assert "and 4 more" in check.what


@pytest.mark.parametrize(
    ("protocol", "mechanism", "state"),
    [
        ("SASL_PLAINTEXT", "PLAIN", State.WARN),
        ("SASL_PLAINTEXT", "SCRAM-SHA-512", State.OK),
        ("SASL_SSL", "PLAIN", State.OK),
    ],
)
def test_a_password_that_everybody_on_the_way_can_read_is_a_warning(
    protocol: Any, mechanism: SaslMechanism, state: State
) -> None:
    login: dict[str, Any] = {"kafka_sasl_username": "u", "kafka_sasl_password": "p", "kafka_sasl_mechanism": mechanism}
    secured = read(TopicSettings, kafka_bootstrap="127.0.0.1:1", kafka_security_protocol=protocol, **login)
    cluster = Cluster("ours", 1, supports_static_members=True, topics={}, groups={})
    checks = kafka.checks_of(kafka.KafkaState(cluster, Lag(())), secured.kafka, ("ledger", "gate"), content_days=None)
    assert checks[0].state is state
