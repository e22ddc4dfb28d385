"""No client of Kafka is made without the settings of TLS and SASL. The source is read for it."""

from __future__ import annotations

import ast
from collections import defaultdict

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
CLIENT = "makes a client ({}) without client_arguments()"
NAMES_SERVERS = "names bootstrap_servers"
TAKES_SERVERS = "takes the servers alone from the settings"

EXCEPTIONS = {
    "schemas/settings.py BrokerSettings.kafka": [TAKES_SERVERS],  # makes the connection that everything else is given
    "schemas/kafka_connection.py client_arguments": [NAMES_SERVERS],
    # It also connects in other ways, to find out how a listener is secured.
    "processors/kafka/diagnosis.py _probe": [NAMES_SERVERS],
    "processors/kafka/diagnosis.py _brokers": [CLIENT.format("create_conn")],
    "processors/kafka/diagnosis.py _answers": [CLIENT.format("create_conn")],
    "processors/kafka/diagnosis.py _requires_login": [CLIENT.format("create_conn")],
    # The engine is given Faust's credentials (worker.py), and passes them on: `client_settings` of its app.
    "processors/worker.py _run": [CLIENT.format("MicroBatchApp")],
    "processors/engine/app.py MicroBatchApp.client_settings": [NAMES_SERVERS],
    "processors/engine/transport.py BatchThread._create_worker_consumer": [NAMES_SERVERS],
    "processors/engine/preflight.py check_topics": [NAMES_SERVERS],
    "processors/engine/preflight.py _describe_topics": [CLIENT.format("AIOKafkaAdminClient"), NAMES_SERVERS],
    "processors/engine/changelog.py _written_ends": [CLIENT.format("new_consumer")],
    "processors/engine/changelog.py _read": [CLIENT.format("new_consumer")],
    "processors/engine/keyed.py KeyedAgent._transactions": [CLIENT.format("KafkaTransactions")],
    # These pass on what their callers give them.
    "processors/engine/transactions.py KafkaTransactions.start": [CLIENT.format("AIOKafkaProducer")],
    "processors/engine/consumer.py new_consumer": [CLIENT.format("AIOKafkaConsumer")],
}
"""Every place that connects without `client_arguments`, by file and function. A second client in such a function, or
one in another function of the file, is none of them. tests/kafka/test_secure.py runs all of them with TLS.
"""


class Finder(ast.NodeVisitor):
    """Collects what in a file makes a client, or names servers, without `client_arguments`, by function."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = defaultdict(list)
        self._within: list[str] = []

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            super().visit(node)
            return
        self._within.append(node.name)
        self.generic_visit(node)
        self._within.pop()

    def visit_Constant(self, node: ast.Constant) -> None:
        if node.value == "bootstrap_servers":
            self._add(NAMES_SERVERS)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "kafka_bootstrap":
            self._add(TAKES_SERVERS)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if any(keyword.arg == "bootstrap_servers" for keyword in node.keywords):
            self._add(NAMES_SERVERS)
        elif name in CLIENTS and "client_arguments(" not in ast.unparse(node):
            self._add(CLIENT.format(name))
        self.generic_visit(node)

    def _add(self, what: str) -> None:
        self.found[".".join(self._within) or "the module"].append(what)


def found(source: str) -> dict[str, list[str]]:
    """Return what in a file makes a client, or names servers, without `client_arguments`, by function."""
    finder = Finder()
    finder.visit(ast.parse(source))
    return {function: sorted(places) for function, places in finder.found.items()}


def test_every_client_is_made_with_the_settings_of_tls_and_sasl() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    without = {
        f"{path.relative_to(ROOT).as_posix()} {function}": places
        for path in files
        for function, places in found(path.read_text()).items()
    }
    assert without == EXCEPTIONS


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
    assert found(source)


def test_each_client_is_found_in_its_own_function() -> None:
    methods = "def start(self): new_consumer(); new_consumer()\n    async def stop(self): new_consumer()"
    made = CLIENT.format("new_consumer")
    assert found(f"class A:\n    {methods}\nnew_consumer()") == {
        "A.start": [made, made],
        "A.stop": [made],
        "the module": [made],
    }


def test_one_with_them_is_not_found() -> None:
    assert not found("new_consumer('topic', **client_arguments(kafka), group_id='g')")
    assert not found("KafkaTransactions('id', client={**client_arguments(kafka), 'max_request_size': 1})")
