"""`sendledger up`: which settings of its environment were set by hand, which come from another stack's `dev.env`."""

from pathlib import Path
from typing import Any

import pytest

from cli.up import stack_settings, without_stack_addresses
from deploy.local.stack import Ports
from schemas.errors import ConfigError
from schemas.settings import PREFIX, Settings

OWN = {
    "SENDLEDGER_KAFKA_BOOTSTRAP": "127.0.0.1:9002",
    "SENDLEDGER_CLICKHOUSE_URL": "http://sendledger:pw@127.0.0.1:9001",
    "SENDLEDGER_PORT": "9000",
    "SENDLEDGER_PUBLIC_URL": "http://127.0.0.1:9000",
    "SENDLEDGER_METRICS_PORT": "9004",
    "SENDLEDGER_WORKER_DIR": "/data/worker",
    "SENDLEDGER_DEV_CLICKHOUSE_PASSWORD": "pw",
    "SENDLEDGER_DEV_PORT_BASE": "9000",
}
"""The addresses of its own servers in the dev.env of a stack at port 9000."""


def test_the_addresses_of_a_loaded_dev_env_are_removed() -> None:
    secret = {"SENDLEDGER_TOKEN_SECRET": "kept", "SENDLEDGER_SUPPRESS_BOUNCES": "5"}
    for ports in (Ports(9000), Ports(9100)):
        assert without_stack_addresses(OWN | secret, ports) == secret


def test_settings_that_were_set_by_hand_stay() -> None:
    said = {
        "SENDLEDGER_KAFKA_BOOTSTRAP": "kafka.example:9092",
        "SENDLEDGER_CLICKHOUSE_URL": "http://me:pw@clickhouse.example:8123",
        "SENDLEDGER_PORT": "9999",
        "SENDLEDGER_PUBLIC_URL": "https://mail.example",
        "SENDLEDGER_METRICS_PORT": "0",
        "SENDLEDGER_WORKER_DIR": "/var/lib/sendledger",
    }
    assert without_stack_addresses(said, Ports(9000)) == said
    assert without_stack_addresses(OWN | said, Ports(9000)) == said


def every_kind(kind: type[Settings] = Settings) -> set[type[Settings]]:
    return {kind}.union(*(every_kind(below) for below in kind.__subclasses__()))


def test_a_stack_says_every_setting_that_there_is(tmp_path: Path) -> None:
    found = stack_settings(tmp_path, Ports(9000), {})
    every = {PREFIX + name.upper() for kind in every_kind() for name in kind.model_fields}
    assert every - found.keys() == set()
    assert found["SENDLEDGER_DECISION_DAYS"] == "30"
    assert found["SENDLEDGER_INSECURE_WEBHOOKS"] == "false"
    assert found["SENDLEDGER_INSTANCE"] == "ledger-0"
    assert found["SENDLEDGER_METRICS_PORT"] == "9004"
    for kind in every_kind():
        given: dict[str, Any] = {name: found[PREFIX + name.upper()] for name in kind.model_fields}
        kind(**given)


def test_the_environment_overrides_and_of_a_dev_env_only_secrets_are_kept(tmp_path: Path) -> None:
    secret = "s" * 48
    stale = f"SENDLEDGER_DECISION_DAYS=7\nSENDLEDGER_GATE_GROUP=old\nSENDLEDGER_TOKEN_SECRET={secret}\n"
    (tmp_path / "dev.env").write_text(stale)
    found = stack_settings(tmp_path, Ports(9000), {"SENDLEDGER_SUPPRESS_BOUNCES": "5"})
    assert found["SENDLEDGER_SUPPRESS_BOUNCES"] == "5"
    assert (found["SENDLEDGER_DECISION_DAYS"], found["SENDLEDGER_GATE_GROUP"]) == ("30", "gate")
    assert found["SENDLEDGER_TOKEN_SECRET"] == secret


def test_a_wrong_setting_of_any_program_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SENDLEDGER_GROUP_RECORDS"):
        stack_settings(tmp_path, Ports(9000), {"SENDLEDGER_GROUP_RECORDS": "0"})


def test_tls_and_passwords_for_the_local_kafka_are_refused_since_it_has_neither(tmp_path: Path) -> None:
    secure = {"SENDLEDGER_KAFKA_SECURITY_PROTOCOL": "SSL"}
    with pytest.raises(ConfigError, match=r"The local Kafka has no TLS.*KAFKA_SECURITY_PROTOCOL is set"):
        stack_settings(tmp_path, Ports(9000), secure)
    elsewhere = secure | {"SENDLEDGER_KAFKA_BOOTSTRAP": "kafka.example:9093"}
    assert stack_settings(tmp_path, Ports(9000), elsewhere)["SENDLEDGER_KAFKA_SECURITY_PROTOCOL"] == "SSL"
