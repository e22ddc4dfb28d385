"""No client of Kafka is made without the settings of TLS and SASL. The source is read for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.engine.processes import ROOT

PACKAGES = (
    "schemas",
    "projections",
    "processors",
    "application",
    "gateway",
    "verification",
    "cli",
    "simulator",
    "deploy",
)
CLIENTS = {
    "AIOKafkaClient",
    "AIOKafkaProducer",
    "AIOKafkaConsumer",
    "AIOKafkaAdminClient",
    "AIOKafkaConnection",
    "create_conn",
    "new_consumer",
    "MicroBatchApp",
    "KafkaTransactions",
}
BUILDERS = {
    "schemas/settings.py": "the settings themselves",
    "schemas/kafka_connection.py": "where the arguments are made",
    "processors/kafka/diagnosis.py": "connects in other ways too, to find out how a listener is secured",
    "processors/engine/app.py": "passes on Faust's credentials (client_settings)",
    "processors/engine/transport.py": "passes on Faust's credentials",
    "processors/engine/transactions.py": "passes on what its caller gives as `client`",
    "processors/engine/preflight.py": "passes on the client_settings of the app",
    "processors/engine/consumer.py": "the factory itself",
    "processors/engine/changelog.py": "passes on the client_settings of the app",
    "processors/engine/keyed.py": "passes on the client_settings of the app",
    "processors/worker.py": "gives the app Faust's credentials",
}
"""The files that may connect without `client_arguments`. tests/kafka/test_secure.py runs all of them with TLS."""


def found(source: str) -> Iterator[str]:
    """Yield what in a file makes a client, or names servers, without `client_arguments`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value == "bootstrap_servers":
            yield f"line {node.lineno}: names bootstrap_servers"
        if isinstance(node, ast.Attribute) and node.attr == "kafka_bootstrap":
            yield f"line {node.lineno}: takes the servers alone from the settings"
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if any(keyword.arg == "bootstrap_servers" for keyword in node.keywords):
            yield f"line {node.lineno}: names bootstrap_servers"
        elif name in CLIENTS and "client_arguments(" not in ast.unparse(node):
            yield f"line {node.lineno}: makes a client ({name}) without client_arguments()"


def test_every_client_is_made_with_the_settings_of_tls_and_sasl() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    wrong = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        if name not in BUILDERS and (faults := list(found(path.read_text()))):
            wrong[name] = faults
    assert wrong == {}


def test_each_exception_still_makes_clients() -> None:
    assert [name for name in BUILDERS if not any(found((ROOT / name).read_text()))] == []


@pytest.mark.parametrize(
    "source",
    [
        "AIOKafkaProducer(bootstrap_servers=servers)",
        "aiokafka.AIOKafkaConsumer('topic')",
        "new_consumer(group_id='g')",
        "KafkaTransactions('id', client={'bootstrap_servers': servers})",
        "Producer(settings.kafka_bootstrap)",
        "MicroBatchApp('ledger', broker='kafka://a:1')",
    ],
)
def test_a_client_without_them_would_be_found(source: str) -> None:
    assert list(found(source))


def test_one_with_them_is_not_found() -> None:
    assert not list(found("new_consumer('topic', **client_arguments(kafka), group_id='g')"))
    assert not list(found("KafkaTransactions('id', client={**client_arguments(kafka), 'max_request_size': 1})"))
