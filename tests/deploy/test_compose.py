"""compose.yaml: valid, without secrets, closed by default, and the same Kafka as that of one machine."""

import re
import subprocess
import sys
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from deploy.local.kafka import CHECKSUMS, PROPERTIES
from schemas.topics import MAX_MESSAGE_BYTES
from tests.deploy.dockerfile import ROOT
from tests.deploy.kustomize import load_all
from tests.deploy.launches import COMPOSE, compose_secrets, compose_service

FILE: Final = COMPOSE / "compose.yaml"
DOCUMENT: Final[dict[str, Any]] = load_all(FILE)[0]
SERVICES: Final[dict[str, Any]] = DOCUMENT["services"]
_REQUIRED: Final = re.compile(r"\$\{(\w+):\?")
_OPTIONAL: Final = re.compile(r"\$\{(\w+):-([^}]*)\}")


def test_it_is_valid() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", sorted(COMPOSE.rglob("*.y*ml")), ids=lambda path: path.name)
def test_a_file_is_yaml(path: Any) -> None:
    assert load_all(path)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    tag = image.rpartition(":")[2] if not image.startswith("sendledger:") else _OPTIONAL.findall(image)[0][1]
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag)


def test_kafka_is_the_version_that_the_tests_run() -> None:
    assert f"kafka-{SERVICES['kafka']['image'].partition(':')[2]}" == CHECKSUMS.stem


def test_kafka_is_configured_as_on_one_machine() -> None:
    """But for addresses, folders, and what only makes tests quicker."""
    lines = PROPERTIES.replace("{max_message_bytes}", str(MAX_MESSAGE_BYTES)).splitlines()
    local = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    here = {
        name.removeprefix("KAFKA_").replace("_", ".").lower(): value
        for name, value in SERVICES["kafka"]["environment"].items()
        if name.startswith("KAFKA_")
    }
    addresses = {name for name in local if "listener" in name or name in ("controller.quorum.voters", "log.dirs")}
    quicker = {
        "num.partitions", "log.segment.bytes", "log.cleaner.dedupe.buffer.size", "offsets.topic.num.partitions",
        "transaction.state.log.num.partitions", "share.coordinator.state.topic.num.partitions",
        "broker.session.timeout.ms", "broker.heartbeat.interval.ms", "group.initial.rebalance.delay.ms",
    }  # fmt: skip
    assert {name: here.get(name) for name in local.keys() - addresses - quicker} == {
        name: local[name] for name in local.keys() - addresses - quicker
    }


def test_it_refuses_to_start_without_secrets() -> None:
    required = set(_REQUIRED.findall(FILE.read_text(encoding="utf-8")))
    assert required == compose_secrets().keys()
    optional = {name for name, _ in _OPTIONAL.findall(FILE.read_text(encoding="utf-8"))}
    example = dict(
        line.split("=", 1)
        for line in (COMPOSE / ".env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert set(example.values()) == {""}, "an example has no secret"
    assert required <= example.keys() <= required | optional


def test_no_secret_is_known_to_git_or_gets_into_an_image() -> None:
    listed = subprocess.run(["git", "check-ignore", "deploy/compose/.env"], cwd=ROOT, capture_output=True, check=False)
    assert listed.returncode == 0
    assert "**/.env" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_kafka_clickhouse_and_the_workers_have_no_way_out() -> None:
    assert DOCUMENT["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert outside == {"gateway", "prometheus", "grafana"}


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_a_program_of_ours_may_do_nothing_but_run(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "user", "volumes", "network_mode", "pid"}
    assert (COMPOSE / service["build"]["context"]).resolve() == ROOT


def test_workers_wait_for_what_ends_before_them() -> None:
    for name in ("ledger", "gateway"):
        waits = {of: one["condition"] for of, one in SERVICES[name]["depends_on"].items()}
        assert waits == dict.fromkeys(("topics", "migrate"), "service_completed_successfully")
    assert SERVICES["gate"]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["depends_on"] == {"clickhouse": {"condition": "service_healthy"}}
    assert {SERVICES[name]["restart"] for name in ("topics", "migrate")} == {"on-failure"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_exists(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        assert (COMPOSE / source).exists() if source.startswith(".") else source in DOCUMENT["volumes"], mount


def test_prometheus_scrapes_every_program_that_runs_all_the_time() -> None:
    (configuration,) = load_all(COMPOSE / "prometheus.yml")
    targets = {
        target
        for job in configuration["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    assert all(job["job_name"].startswith(("sendledger-", "clickhouse")) for job in configuration["scrape_configs"])
    serving = {name: compose_service(name)["environment"] for name in ("gateway", "ledger", "gate")}
    ports = {name: env.get("SENDLEDGER_METRICS_PORT") or env["SENDLEDGER_PORT"] for name, env in serving.items()}
    exporter = ET.parse(COMPOSE / "clickhouse-metrics.xml").getroot().findtext("prometheus/port")
    assert targets == {f"{name}:{port}" for name, port in (ports | {"clickhouse": exporter}).items()}
    asked = compose_service("gateway")["environment"]["SENDLEDGER_WORKER_METRICS"].split(",")
    assert asked == [f"http://{name}:{ports[name]}/metrics" for name in ("ledger", "gate")]


def test_grafana_may_only_read() -> None:
    users = ET.parse(COMPOSE / "clickhouse-dashboards.xml").getroot()
    assert users.findtext("profiles/dashboards/readonly") == "2"
    assert [one.text for one in users.iterfind("users/dashboards/grants/query")] == [
        "GRANT SELECT ON sendledger*.*",
        "GRANT SELECT ON system.parts",
    ]
    password = users.find("users/dashboards/password")
    assert password is not None
    assert password.attrib == {"from_env": "DASHBOARDS_PASSWORD"}
    assert "DASHBOARDS_PASSWORD" in SERVICES["clickhouse"]["environment"]
    grafana = compose_service("grafana")["environment"]
    assert grafana["CLICKHOUSE_USER"] == "dashboards"
    assert grafana["CLICKHOUSE_PASSWORD"] == compose_secrets()["DASHBOARDS_PASSWORD"]
