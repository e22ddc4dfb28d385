"""Every program over a Kafka with TLS, SASL and certificates of clients, and what is said when a setting is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from application.checks import kafka as kafka_checks
from application.checks.check import State
from application.dead_letters import LetterFilter, LetterSelection, handle_letters, list_letters
from gateway.tokens import issue
from processors.engine import Output
from processors.kafka import Producer
from processors.kafka.cluster import describe_cluster
from processors.kafka.lag import wait_until_caught_up
from processors.kafka.read_topic import read_topic
from processors.kafka.topics import create_topics
from projections.store import Store
from schemas.consumer_groups import consumer_groups
from schemas.decoding.times import rfc3339
from schemas.errors import BrokerError, BrokerSettingsError
from schemas.kafka_connection import KafkaConnection
from schemas.settings import PREFIX, TopicSettings, read
from schemas.topics import SENDS_DECIDED, SENDS_REQUESTED
from tests.gate.building import a_request, now_us
from tests.kafka.nodes import USER, SecureKafka, secure_kafka
from tests.local.ports import free_port_base
from tests.local.waiting import until
from tests.operating.commands import in_process, sendledger
from tests.stack.programs import Program, answering, running

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.clickhouse]

PASSWORD = "kept-secret-password"
WRONG = "kept-secret-but-wrong"
TOKEN_SECRET = "kept-secret-token-secret-of-this-test"
GROUPS = ("ledger", "gate")
MESSAGES = 30

Env = dict[str, str]


@pytest.fixture(scope="module")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureKafka]:
    async with secure_kafka(tmp_path_factory.mktemp("secure"), PASSWORD) as running_kafka:
        yield running_kafka


def sasl_ssl(kafka: SecureKafka, **other: str) -> Env:
    """The settings of a user with a password, over TLS."""
    given = {
        "BOOTSTRAP": kafka.sasl_ssl,
        "SECURITY_PROTOCOL": "SASL_SSL",
        "CA_FILE": str(kafka.ca.file),
        "SASL_MECHANISM": "SCRAM-SHA-512",
        "SASL_USERNAME": USER,
        "SASL_PASSWORD": kafka.password,
    }
    return {f"{PREFIX}KAFKA_{name}": value for name, value in (given | other).items()}


def mutual_tls(kafka: SecureKafka, **other: str) -> Env:
    """The settings of a client with a certificate."""
    given = {
        "BOOTSTRAP": kafka.ssl,
        "SECURITY_PROTOCOL": "SSL",
        "CA_FILE": str(kafka.ca.file),
        "CERT_FILE": str(kafka.client.certificate),
        "KEY_FILE": str(kafka.client.key),
    }
    return {f"{PREFIX}KAFKA_{name}": value for name, value in (given | other).items()}


def topic_settings(env: Mapping[str, str]) -> TopicSettings:
    given: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in env.items()}
    return read(TopicSettings, **given)


def connection(env: Mapping[str, str]) -> KafkaConnection:
    return topic_settings(env).kafka


@pytest.fixture(scope="module")
async def topics(kafka: SecureKafka) -> None:
    """All topics, created over TLS with a password."""
    settings = topic_settings(sasl_ssl(kafka))

    async def created() -> bool:
        """The first handshakes of a new Java process may take longer than a client waits."""
        try:
            await create_topics(settings)
        except BrokerSettingsError:
            raise
        except BrokerError:
            return False
        return True

    await until(created, "the topics")


@dataclass(frozen=True)
class Installation:
    """A gateway and both workers over TLS with a password, and the requests that they were given."""

    env: Env
    kafka: KafkaConnection
    requested: list[str]
    folder: Path


@pytest.fixture(scope="module")
async def installation(
    kafka: SecureKafka,
    topics: None,
    clickhouse_url: str,
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Installation]:
    folder, port = tmp_path_factory.mktemp("programs"), free_port_base()
    env = sasl_ssl(kafka) | {
        f"{PREFIX}CLICKHOUSE_URL": clickhouse_url,
        f"{PREFIX}CLICKHOUSE_DATABASE": store.database,
        f"{PREFIX}TOKEN_SECRET": TOKEN_SECRET,
        f"{PREFIX}WORKER_DIR": str(folder),
        f"{PREFIX}INSTANCE": "one",
        f"{PREFIX}PORT": str(port),
    }
    requests = [a_request("acct", to=f"u{n}@example.com") for n in range(MESSAGES)]
    async with AsyncExitStack() as programs:
        for words in (["gateway"], ["worker", "ledger"], ["worker", "gate"]):
            await programs.enter_async_context(running(Program(words, env, folder / f"{words[-1]}.log")))
        await until(lambda: answering(f"http://127.0.0.1:{port}/readyz"), "the gateway")
        headers = {"Authorization": f"Bearer {issue(TOKEN_SECRET, subject='t', role='publisher', accounts=['acct'])}"}
        async with httpx.AsyncClient(trust_env=False, timeout=30, headers=headers) as client:

            async def accepted() -> bool:
                """A busy machine may take longer than the gateway waits: then 503, and the same again."""
                answer = await client.post(f"http://127.0.0.1:{port}/v1/sends", json=requests)
                assert answer.status_code in {202, 503}, answer.text
                return answer.status_code == 202

            await until(accepted, "the gateway to accept")
        yield Installation(env, connection(env), [str(request["message_id"]) for request in requests], folder)


class TestEveryProgram:
    @pytest.mark.usefixtures("topics")
    async def test_what_was_created_with_a_password_is_found_with_a_certificate(
        self, kafka: SecureKafka, tmp_path: Path
    ) -> None:
        ended = await in_process("topics", env=mutual_tls(kafka), folder=tmp_path)
        assert (ended.code, SENDS_REQUESTED.name in ended.out) == (0, False), ended.err
        found = await describe_cluster(connection(mutual_tls(kafka)), [SENDS_REQUESTED.name], [])
        assert found.topics.keys() == {SENDS_REQUESTED.name}

    async def test_what_the_gateway_takes_is_decided_and_becomes_rows(
        self, installation: Installation, store: Store
    ) -> None:
        behind = await wait_until_caught_up(installation.kafka, consumer_groups(*GROUPS), within_seconds=120)
        assert behind == 0
        decided = {(record.key or b"").decode() async for record in read_topic(installation.kafka, SENDS_DECIDED.name)}
        assert decided == set(installation.requested)
        rows = "SELECT count() FROM messages WHERE account_id = 'acct' AND status != ''"
        assert store.tuples(rows) == [(MESSAGES,)]

    async def test_a_bad_record_is_parked_and_its_letter_discarded(self, installation: Installation) -> None:
        producer = Producer(installation.kafka)
        await producer.start()
        await producer.send_all([Output(SENDS_REQUESTED.name, b"key", b"no JSON")])
        await producer.stop()
        assert await wait_until_caught_up(installation.kafka, consumer_groups(*GROUPS), within_seconds=120) == 0
        (letter,) = await list_letters(installation.kafka, LetterFilter(), limit=2)
        wanted = LetterSelection(ids=frozenset([letter.id]))
        done = await handle_letters(
            installation.kafka, wanted, "discarded", actor="t", reason="r", at=rfc3339(now_us()), dry_run=False
        )
        assert [one.id for one in done.done] == [letter.id]
        assert await list_letters(installation.kafka, LetterFilter(), limit=2) == []

    async def test_the_doctor_finds_nothing_wrong(self, installation: Installation) -> None:
        checks = await kafka_checks.check(installation.kafka, GROUPS, topic_settings(installation.env))
        assert [check for check in checks if check.state is not State.OK] == []

    async def test_a_certificate_is_enough_where_the_listener_asks_for_one(
        self, kafka: SecureKafka, installation: Installation
    ) -> None:
        async with aclosing(read_topic(connection(mutual_tls(kafka)), SENDS_REQUESTED.name)) as records:
            values = [record.value async for record in records]
        assert len(values) >= len(installation.requested)

    async def test_no_log_has_the_password(self, installation: Installation) -> None:
        logs = list(installation.folder.glob("*.log"))
        assert len(logs) == 3
        assert [log.name for log in logs if "kept-secret" in log.read_text()] == []


def with_a_foreign_certificate(kafka: SecureKafka) -> Env:
    other = kafka.other_ca.issue("other")
    return mutual_tls(kafka, CERT_FILE=str(other.certificate), KEY_FILE=str(other.key))


WrongSettings = tuple[Callable[[SecureKafka], Env], str, str]
WRONG_SETTINGS: Mapping[str, WrongSettings] = {
    "password": (
        lambda kafka: sasl_ssl(kafka, SASL_PASSWORD=WRONG),
        "rejects our user or password",
        "KAFKA_SASL_PASSWORD",
    ),
    "user": (
        lambda kafka: sasl_ssl(kafka, SASL_USERNAME="nobody"),
        "rejects our user or password",
        "KAFKA_SASL_USERNAME",
    ),
    "mechanism": (
        lambda kafka: sasl_ssl(kafka, SASL_MECHANISM="PLAIN"),
        "does not accept the mechanism PLAIN",
        "SASL_MECHANISM",
    ),
    "CA": (
        lambda kafka: sasl_ssl(kafka, CA_FILE=str(kafka.other_ca.file)),
        "a CA that we don't trust",
        "KAFKA_CA_FILE",
    ),
    "system's CAs": (lambda kafka: sasl_ssl(kafka, CA_FILE=""), "a CA that we don't trust", "KAFKA_CA_FILE"),
    "host name": (
        lambda kafka: sasl_ssl(kafka, BOOTSTRAP=kafka.wrong_name),
        "for another host name",
        "advertised.listeners",
    ),
    "no certificate": (
        lambda kafka: mutual_tls(kafka, CERT_FILE="", KEY_FILE=""),
        "rejects our certificate, or requires one",
        "KAFKA_CERT_FILE",
    ),
    "foreign certificate": (
        with_a_foreign_certificate,
        "rejects our certificate, or requires one",
        "KAFKA_CERT_FILE",
    ),
    "TLS missing": (
        lambda kafka: {f"{PREFIX}KAFKA_BOOTSTRAP": kafka.ssl},
        "requires TLS",
        "KAFKA_SECURITY_PROTOCOL",
    ),
    "no TLS there": (
        lambda kafka: sasl_ssl(kafka, BOOTSTRAP=kafka.plain),
        "speaks no TLS",
        "KAFKA_SECURITY_PROTOCOL",
    ),
    "SASL missing": (
        lambda kafka: mutual_tls(kafka, BOOTSTRAP=kafka.sasl_ssl),
        "requires a user and a password",
        "KAFKA_SECURITY_PROTOCOL",
    ),
    "no SASL there": (
        lambda kafka: sasl_ssl(kafka) | mutual_tls(kafka, SECURITY_PROTOCOL="SASL_SSL"),
        "takes no password",
        "KAFKA_SECURITY_PROTOCOL",
    ),
}
"""Each with what the error says, and what its mend names."""


class TestWrongSettings:
    @pytest.mark.parametrize("case", WRONG_SETTINGS)
    async def test_the_doctor_names_the_setting_and_the_mend(
        self, kafka: SecureKafka, case: str, tmp_path: Path
    ) -> None:
        settings, what, mend = WRONG_SETTINGS[case]
        env = settings(kafka)
        ended = await in_process("doctor", "--for", "topics", env=env, folder=tmp_path)
        line, advice = ended.out.split(" kafka ", 1)[1].splitlines()[:2]
        assert (ended.code, what in line, mend in advice) == (3, True, True), ended.out
        assert "kept-secret" not in ended.out + ended.err

    @pytest.mark.parametrize("case", ["password", "CA", "host name", "no certificate"])
    async def test_a_program_ends_with_code_3_and_says_the_same(
        self, kafka: SecureKafka, case: str, tmp_path: Path
    ) -> None:
        settings, what, mend = WRONG_SETTINGS[case]
        env = settings(kafka)
        away = {"CLICKHOUSE_URL": "http://127.0.0.1:1", "TOKEN_SECRET": TOKEN_SECRET, "PORT": str(free_port_base())}
        env |= {PREFIX + name: value for name, value in away.items()}
        programs = (["worker", "ledger"], ["worker", "gate"], ["gateway"])
        for ended in await asyncio.gather(*(sendledger(*words, env=env, folder=tmp_path) for words in programs)):
            assert ended.code == 3, ended.err
            assert all(text in ended.err for text in ("error:", "where:", "mend:", what, mend))
            assert "kept-secret" not in ended.out + ended.err
            assert "Traceback" not in ended.err


@pytest.mark.usefixtures("topics")
async def test_a_replaced_password_is_the_only_one(kafka: SecureKafka) -> None:
    old = connection(sasl_ssl(kafka))
    await kafka.set_password("kept-secret-and-new")
    assert await wait_until_caught_up(connection(sasl_ssl(kafka)), [], within_seconds=60) == 0
    with pytest.raises(BrokerSettingsError, match="rejects our user or password") as raised:
        await wait_until_caught_up(old, [], within_seconds=60)
    assert "kept-secret" not in str(raised.value)
