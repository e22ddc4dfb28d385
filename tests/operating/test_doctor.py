"""The doctor on real services: what is right, what is wrong, and that its output never contains a secret."""

import http.server
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from application.checks.check import CONFIGURATION, DOWN, WRONG, Check, State, exit_code
from cli.doctor.run import run_checks, text
from processors.kafka.topics import create_topics
from projections.store import Store, generations, migrate
from schemas.errors import RequestError
from schemas.settings import PREFIX, Settings, TopicSettings, read
from schemas.topics import SUPPRESSIONS_CHANGED
from simulator.signing import new_key_pair
from tests.http_server import serving
from tests.local.endpoints import EndpointProcess
from tests.local.ports import free_port_base
from tests.operating.commands import sendledger
from tests.operating.test_topics import remove
from tests.stores import a_store, drop

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]

S = TypeVar("S", bound=Settings)
Given = dict[str, Any]

PRIVATE, PUBLIC = new_key_pair()
SECRETS = {
    "token_secret": "kept-secret-token-secret-of-this-test",
    "sendgrid_public_keys": PUBLIC,
    "twilio_auth_tokens": "kept5ecret0123456789abcdef012345",
    "postmark_basic_auth": "postmark:kept-secret-password",
}


class Doctor:
    """The doctor, with settings that tests change one by one."""

    def __init__(self, given: Given) -> None:
        self.given = given

    def but(self, **said: Any) -> "Doctor":
        """Return one with other settings; None removes a setting."""
        return Doctor({name: value for name, value in (self.given | said).items() if value is not None})

    async def looks(self, *programs: str) -> dict[str, Check]:
        """Return its checks by name, after checking that no text contains a secret."""

        def settings(kind: type[S]) -> S:
            return read(kind, **self.given)

        checks = await run_checks(settings, programs)
        said = text(checks) + orjson.dumps([check.as_json() for check in checks]).decode()
        for secret in (*SECRETS.values(), "kept-secret", "kept5ecret"):
            assert secret not in said
        by_name = {check.name: check for check in checks}
        assert len(by_name) == len(checks)
        return by_name

    @property
    def environment(self) -> Mapping[str, str]:
        """The same, for a command."""
        return {PREFIX + name.upper(): str(value) for name, value in self.given.items()}


@pytest.fixture(scope="module")
async def topics_made(kafka_bootstrap: str) -> TopicSettings:
    settings = read(TopicSettings, kafka_bootstrap=kafka_bootstrap)
    await create_topics(settings)
    return settings


@pytest.fixture(scope="module")
def database(clickhouse_url: str) -> Iterator[str]:
    store = a_store(clickhouse_url)
    yield store.database
    drop(store)


@pytest.fixture
def doctor(topics_made: TopicSettings, clickhouse_url: str, database: str) -> Doctor:
    """Everything is as required, except that none of our programs runs."""
    return Doctor(
        {
            "kafka_bootstrap": topics_made.kafka_bootstrap,
            "clickhouse_url": clickhouse_url,
            "clickhouse_database": database,
            "consumer_group": f"doctor-{uuid4().hex[:8]}",
            "gate_group": f"doctor-gate-{uuid4().hex[:8]}",
            "public_url": "https://user:kept-secret@ledger.invalid",
            "port": free_port_base(),
            **SECRETS,
        }
    )


def failures(checks: Mapping[str, Check]) -> dict[str, int]:
    """The names and codes of what is wrong."""
    return {name: check.code for name, check in checks.items() if check.state is State.FAIL}


class TestHealthy:
    async def test_nothing_is_wrong_and_what_does_not_run_is_a_warning(self, doctor: Doctor) -> None:
        checks = await doctor.looks()
        assert failures(checks) == {}
        warned = {name for name, check in checks.items() if check.state is State.WARN}
        assert warned == {"workers", "gateway", "gateway.public"}
        assert exit_code(checks.values()) == 0

    async def test_every_dependency_is_looked_at(self, doctor: Doctor) -> None:
        checks = await doctor.looks()
        assert list(checks) == [
            *("settings.topics", "settings.migrate", "settings.ledger", "settings.gate", "settings.gateway"),
            *("keys.sendgrid", "keys.twilio", "keys.postmark", "webhooks.verified"),
            *("kafka", "topics.exist", "topics.settings", "topics.partitions", "topics.copies"),
            *("workers", "lag", "unread"),
            *("clickhouse", "clickhouse.version", "clickhouse.clock", "database", "migrations", "parts"),
            *("gateway", "gateway.public"),
        ]

    async def test_the_command_prints_a_line_a_check_and_exits_0(self, doctor: Doctor, tmp_path: Path) -> None:
        ended = await sendledger("doctor", env=doctor.environment, folder=tmp_path)
        assert (ended.code, ended.err) == (0, "")
        assert "ok    clickhouse  " in ended.out
        assert "kept-secret" not in ended.out

    async def test_the_command_prints_one_object(self, doctor: Doctor, tmp_path: Path) -> None:
        ended = await sendledger("doctor", "--json", env=doctor.environment, folder=tmp_path)
        assert (ended.code, ended.json()["ok"], len(ended.out.splitlines())) == (0, True, 1)
        assert {tuple(check) for check in ended.json()["checks"]} == {("name", "state", "what", "mend")}

    async def test_one_program_alone_may_be_looked_at(self, doctor: Doctor) -> None:
        checks = await doctor.but(token_secret=None).looks("ledger")
        assert failures(checks) == {}
        assert not {name for name in checks if name.startswith(("keys", "gateway", "settings.gateway"))}
        with pytest.raises(RequestError, match="Unknown program"):
            await doctor.looks("sendgrid")


class TestSettings:
    async def test_all_that_is_missing_is_named_and_the_rest_is_looked_at(self, doctor: Doctor, tmp_path: Path) -> None:
        doctor = doctor.but(token_secret=None, clickhouse_url=None)
        checks = await doctor.looks()
        assert failures(checks) == dict.fromkeys(
            ("settings.migrate", "settings.ledger", "settings.gateway"), CONFIGURATION
        )
        assert "SENDLEDGER_TOKEN_SECRET" in checks["settings.gateway"].what
        assert "SENDLEDGER_CLICKHOUSE_URL" in checks["settings.gateway"].what
        assert checks["kafka"].state is State.OK
        assert checks["clickhouse"].what == "not checked: its address is not set"
        assert (await sendledger("doctor", env=doctor.environment, folder=tmp_path)).code == 3

    @pytest.mark.parametrize(
        ("said", "name", "code"),
        [
            pytest.param({"token_secret": "kept-secret"}, "settings.gateway", CONFIGURATION, id="a short secret"),
            pytest.param({"sendgrid_public_keys": "kept-secret"}, "keys.sendgrid", CONFIGURATION, id="no key"),
            pytest.param({"twilio_auth_tokens": "kept secret"}, "keys.twilio", CONFIGURATION, id="no token"),
            pytest.param({"postmark_basic_auth": "kept-secret"}, "keys.postmark", CONFIGURATION, id="no password"),
            pytest.param({"insecure_webhooks": True}, "webhooks.verified", WRONG, id="unsigned webhooks"),
            pytest.param(
                {"clickhouse_url": "http://me:kept-secret/and-more@127.0.0.1:8123"},
                "clickhouse",
                CONFIGURATION,
                id="a password with a slash",
            ),
            pytest.param(
                {"clickhouse_url": "http://me:12/kept-secret@127.0.0.1"},
                "clickhouse",
                CONFIGURATION,
                id="a password that begins like a port",
            ),
            pytest.param(
                {"clickhouse_url": "clickhouse://me:kept-secret@127.0.0.1"}, "clickhouse", CONFIGURATION, id="no http"
            ),
        ],
    )
    async def test_an_invalid_setting_fails_its_own_check(
        self, doctor: Doctor, said: Given, name: str, code: int
    ) -> None:
        checks = await doctor.but(**said).looks()
        assert failures(checks) == {name: code}
        assert checks[name].mend

    async def test_a_provider_without_keys_is_a_warning(self, doctor: Doctor) -> None:
        checks = await doctor.but(twilio_auth_tokens=None).looks()
        assert checks["keys.twilio"].state is State.WARN
        assert "401" in checks["keys.twilio"].what
        assert "SENDLEDGER_TWILIO_AUTH_TOKENS" in checks["keys.twilio"].mend

    async def test_twilio_needs_the_public_address(self, doctor: Doctor) -> None:
        assert (await doctor.but(public_url=None).looks())["public_url"].state is State.FAIL


class TestKafka:
    async def test_an_unavailable_server_is_reported_and_does_not_stop_other_checks(
        self, doctor: Doctor, tmp_path: Path
    ) -> None:
        doctor = doctor.but(kafka_bootstrap=f"127.0.0.1:{free_port_base()}")
        checks = await doctor.looks()
        assert failures(checks) == {"kafka": DOWN}
        assert "SENDLEDGER_KAFKA_BOOTSTRAP" in checks["kafka"].mend
        assert checks["topics.exist"].what == checks["lag"].what == "not checked: Kafka does not answer"
        assert checks["migrations"].state is State.OK
        ended = await sendledger("doctor", env=doctor.environment, folder=tmp_path)
        assert (ended.code, ended.err) == (4, "")

    async def test_a_missing_topic_is_named(self, doctor: Doctor, topics_made: TopicSettings, tmp_path: Path) -> None:
        await remove(topics_made.kafka_bootstrap, SUPPRESSIONS_CHANGED.name)
        try:
            checks = await doctor.looks()
            ended = await sendledger("doctor", "--json", env=doctor.environment, folder=tmp_path)
        finally:
            await create_topics(topics_made)
        assert failures(checks) == {"topics.exist": WRONG}
        assert checks["topics.exist"].what == "missing: suppressions.changed"
        assert checks["topics.exist"].mend == "run `sendledger topics`"
        assert (ended.code, ended.json()["ok"]) == (1, False)

    async def test_a_topic_with_a_short_retention_is_reported(self, doctor: Doctor, topics_made: TopicSettings) -> None:
        bootstrap, name = topics_made.kafka_bootstrap, SUPPRESSIONS_CHANGED.name
        await remove(bootstrap, name)
        await make(bootstrap, NewTopic(name, 2, 1, topic_configs={"retention.ms": "3600000"}))
        try:
            checks = await doctor.looks()
        finally:
            await remove(bootstrap, name)
            await create_topics(topics_made)
        assert failures(checks) == {"topics.settings": WRONG}
        assert "suppressions.changed: retention.ms is 3600000, not -1" in checks["topics.settings"].what
        assert checks["topics.partitions"].state is State.WARN
        assert "suppressions.changed has 2" in checks["topics.partitions"].what

    async def test_other_partition_counts_than_set_are_reported(self, doctor: Doctor) -> None:
        checks = await doctor.but(partitions=12, replication=2).looks()
        assert "SENDLEDGER_PARTITIONS is 12" in checks["topics.partitions"].what
        assert "SENDLEDGER_REPLICATION" in checks["topics.copies"].what
        assert failures(checks) == {}


class TestClickHouse:
    async def test_an_unavailable_server_is_reported_and_does_not_stop_other_checks(self, doctor: Doctor) -> None:
        port = free_port_base()
        checks = await doctor.but(clickhouse_url=f"http://me:kept-secret@127.0.0.1:{port}").looks()
        assert failures(checks) == {"clickhouse": DOWN}
        assert f"(at 127.0.0.1:{port})" in checks["clickhouse"].what
        assert checks["topics.exist"].state is State.OK

    async def test_a_wrong_password_differs_from_an_unavailable_server(self, doctor: Doctor, tmp_path: Path) -> None:
        endpoint = await EndpointProcess(tmp_path / "clickhouse", "me:kept-secret-too").start()
        try:
            url = f"http://me:kept-secret@127.0.0.1:{endpoint.port}"
            checks = await doctor.but(clickhouse_url=url).looks()
        finally:
            await endpoint.end(signal.SIGTERM)
        assert failures(checks) == {"clickhouse": CONFIGURATION}
        assert "refuses the user or the password" in checks["clickhouse"].what
        assert "SENDLEDGER_CLICKHOUSE_URL" in checks["clickhouse"].mend

    async def test_a_missing_database_is_reported(self, doctor: Doctor) -> None:
        checks = await doctor.but(clickhouse_database="nowhere").looks()
        assert failures(checks) == {"database": WRONG}
        assert checks["database"].mend == "run `sendledger migrate`"

    async def test_an_interrupted_switch_is_a_warning(self, doctor: Doctor, clickhouse_url: str) -> None:
        with a_database(clickhouse_url) as store:
            migrate.apply(store)
            names = [view.name for view in migrate.views()]
            second = Store(clickhouse_url, database=store.database, generation=2)
            migrate.apply(second)
            generations.show(second, 2, names, complete=False)
            checks = await doctor.but(clickhouse_database=store.database).looks()
        assert checks["database"].state is State.WARN
        assert checks["database"].mend == "run `sendledger rebuild`, which finishes it"

    async def test_a_migration_that_is_not_applied_is_named(self, doctor: Doctor, clickhouse_url: str) -> None:
        with a_database(clickhouse_url) as store:
            checks = await doctor.but(clickhouse_database=store.database).looks()
        assert failures(checks) == {"migrations": WRONG}
        assert checks["migrations"].what.startswith("not applied: events, ")
        assert checks["migrations"].mend == "run `sendledger migrate`"

    async def test_a_migration_that_was_changed_is_named(self, doctor: Doctor, clickhouse_url: str) -> None:
        with a_database(clickhouse_url) as store:
            migrate.apply(store)
            store.command(
                "INSERT INTO schema_migrations (version, name, checksum) SELECT 1, 'messages', 'another'",
                database=store.tables,
            )
            checks = await doctor.but(clickhouse_database=store.database).looks()
        assert failures(checks) == {"migrations": CONFIGURATION}
        assert "0001" in checks["migrations"].what

    async def test_many_parts_are_a_warning(self, doctor: Doctor, clickhouse_url: str) -> None:
        with a_database(clickhouse_url) as store:
            migrate.apply(store)
            for sql in (
                "CREATE TABLE torn (n UInt32) ENGINE = MergeTree ORDER BY n PARTITION BY n",
                "INSERT INTO torn SELECT number FROM numbers(301) SETTINGS max_partitions_per_insert_block = 0",
            ):
                store.command(sql, database=store.tables)
            checks = await doctor.but(clickhouse_database=store.database).looks()
        assert checks["parts"].state is State.WARN
        assert "torn has 301" in checks["parts"].what


class TestGateway:
    @pytest.mark.parametrize(
        ("status", "state", "code"),
        [
            pytest.param(200, State.OK, 0, id="ready"),
            pytest.param(503, State.FAIL, DOWN, id="not ready"),
            pytest.param(404, State.WARN, 0, id="somebody else's port"),
        ],
    )
    async def test_what_it_answers(self, doctor: Doctor, status: int, state: State, code: int) -> None:
        with answering(status) as port:
            check = (await doctor.but(port=port, host="0.0.0.0", public_url=None).looks())["gateway"]
        assert (check.state, check.code) == (state, code)

    async def test_the_public_address_is_looked_at_too(self, doctor: Doctor) -> None:
        with answering(200) as port:
            checks = await doctor.but(public_url=f"http://user:kept-secret@localhost:{port}/").looks()
        assert checks["gateway"].state is State.WARN
        assert checks["gateway.public"].what == f"ready at http://localhost:{port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()


def answering(status: int) -> AbstractContextManager[int]:
    """A server that answers /readyz with `status`; yields its port."""
    return serving(type("Answer", (_Answer,), {"status": status}))


async def make(bootstrap: str, topic: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([topic])
    await admin.close()


@contextmanager
def a_database(url: str) -> Iterator[Store]:
    """An empty database, while the block runs."""
    store = Store(url, database=f"doctor_{uuid4().hex[:12]}", generation=generations.FIRST)
    for database in (store.database, store.tables):
        store.command(f"CREATE DATABASE {database}")
    try:
        yield store
    finally:
        drop(store)
