"""TLS and SASL in settings: what does not fit together is refused by name, and no text shows a secret."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from cli.errors import exit_code
from processors.worker import faust_credentials
from schemas.errors import ConfigError
from schemas.kafka_connection import KafkaConnection, client_arguments
from schemas.settings import BrokerSettings, read
from tests.kafka.certificates import CertificateAuthority, Pair

SECRET = "kept-secret-password"
SCRAM = {"kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_sasl_username": "ledger", "kafka_sasl_password": SECRET}
Given = dict[str, Any]


def settings(**given: Any) -> BrokerSettings:
    return read(BrokerSettings, kafka_bootstrap="kafka:9093", **given)


def complaint(**given: Any) -> str:
    """What the refusal of these settings says."""
    with pytest.raises(ConfigError) as raised:
        settings(**given)
    assert exit_code(raised.value) == 3
    assert raised.value.mend
    said = str(raised.value)
    assert SECRET not in said
    return said


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def pair(ca: CertificateAuthority) -> Pair:
    return ca.issue("client", password=SECRET)


def own_certificate(pair: Pair, **other: Any) -> Given:
    files = {"kafka_cert_file": str(pair.certificate), "kafka_key_file": str(pair.key), "kafka_key_password": SECRET}
    return {"kafka_security_protocol": "SSL"} | files | other


@pytest.mark.parametrize(
    ("given", "named"),
    [
        pytest.param({"kafka_security_protocol": "SASL_SSL"}, "SASL_USERNAME", id="SASL without a user"),
        pytest.param({"kafka_security_protocol": "SASL_SSL"}, "SASL_MECHANISM", id="SASL without a mechanism"),
        pytest.param(
            {"kafka_security_protocol": "SASL_PLAINTEXT", **SCRAM, "kafka_sasl_password": ""},
            "SASL_PASSWORD",
            id="SASL without a password",
        ),
        pytest.param(SCRAM, "SASL_PASSWORD", id="a password with PLAINTEXT"),
        pytest.param({"kafka_security_protocol": "SSL", **SCRAM}, "SASL_PASSWORD", id="a password with SSL"),
        pytest.param({"kafka_sasl_mechanism": "GSSAPI"}, "SASL_MECHANISM", id="a mechanism that Faust can't use"),
        pytest.param({"kafka_security_protocol": "TLS"}, "SECURITY_PROTOCOL", id="an unknown protocol"),
        pytest.param({"kafka_ca_file": __file__}, "CA_FILE", id="a CA with PLAINTEXT"),
        pytest.param({"kafka_key_password": SECRET}, "KEY_PASSWORD", id="a password of a key with PLAINTEXT"),
        pytest.param(
            {"kafka_security_protocol": "SSL", "kafka_key_password": SECRET}, "KEY_PASSWORD", id="one without its key"
        ),
        pytest.param({"kafka_security_protocol": "SSL", "kafka_cert_file": __file__}, "KEY_FILE", id="no key"),
        pytest.param({"kafka_security_protocol": "SSL", "kafka_key_file": __file__}, "CERT_FILE", id="no certificate"),
        pytest.param({"kafka_security_protocol": "SSL", "kafka_ca_file": "/no/ca"}, "CA_FILE", id="a missing file"),
        pytest.param({"kafka_security_protocol": "SSL", "kafka_ca_file": "/"}, "CA_FILE", id="a folder"),
        pytest.param({"kafka_security_protocol": "SSL", "kafka_ca_file": __file__}, "CA_FILE", id="no PEM file"),
        pytest.param(
            {"kafka_security_protocol": "SSL", "kafka_key_file": f"-----BEGIN PRIVATE KEY-----\n{SECRET}"},
            "KEY_FILE",
            id="a key instead of its path",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(given: Given, named: str) -> None:
    assert f"SENDLEDGER_KAFKA_{named}: " in complaint(**given)


@pytest.mark.parametrize(
    "given",
    [
        SCRAM,
        {"kafka_security_protocol": "SASL_SSL"},
        {"kafka_ca_file": __file__},
        {"kafka_security_protocol": "SSL", "kafka_cert_file": __file__},
        {"kafka_security_protocol": "SSL", "kafka_key_file": __file__},
        {"kafka_security_protocol": "SSL", "kafka_key_password": SECRET},
    ],
    ids=["no SASL", "no login", "no TLS", "no key", "no certificate", "a password without a key"],
)
def test_every_setting_that_is_named_has_its_whole_name(given: Given) -> None:
    said = complaint(**given)
    assert said.count("SENDLEDGER_KAFKA_") == said.count("KAFKA_") > 1


def test_several_problems_are_named_at_once() -> None:
    said = complaint(kafka_security_protocol="SASL_SSL", kafka_ca_file="/no/ca")
    assert all(name in said for name in ("SASL_MECHANISM", "SASL_USERNAME", "SASL_PASSWORD", "CA_FILE"))


def test_a_key_that_can_not_be_used_is_refused_and_nobody_is_asked(pair: Pair, ca: CertificateAuthority) -> None:
    """Without a password OpenSSL would ask for one at the terminal."""
    assert "KAFKA_KEY_PASSWORD" in complaint(**own_certificate(pair, kafka_key_password=""))
    assert "KAFKA_KEY_PASSWORD" in complaint(**own_certificate(pair, kafka_key_password="wrong"))
    other = ca.issue("other")
    assert "not the key of" in complaint(**own_certificate(pair, kafka_key_file=str(other.key), kafka_key_password=""))
    assert "KAFKA_CERT_FILE" in complaint(**own_certificate(pair, kafka_cert_file=__file__))


def test_certificate_and_host_name_are_always_verified(pair: Pair, ca: CertificateAuthority) -> None:
    every = [
        settings(**own_certificate(pair, kafka_ca_file=str(ca.file))),
        settings(kafka_security_protocol="SASL_SSL", **SCRAM),
    ]
    for one in every:
        tls = one.kafka.tls
        assert tls is not None
        assert (tls.check_hostname, tls.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_no_text_of_a_connection_has_the_password() -> None:
    made = settings(kafka_security_protocol="SASL_SSL", **SCRAM)
    for text in (str(made), repr(made), str(made.kafka), repr(made.kafka), repr(made.kafka.sasl)):
        assert SECRET not in text
    assert str(made.kafka) == "kafka:9093"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kafka_security_protocol": "SSL"},
        {"kafka_security_protocol": "SASL_SSL", **SCRAM},
        {"kafka_security_protocol": "SASL_PLAINTEXT", **SCRAM, "kafka_sasl_mechanism": "SCRAM-SHA-256"},
        {"kafka_security_protocol": "SASL_SSL", **SCRAM, "kafka_sasl_mechanism": "PLAIN"},
    ],
    ids=["PLAINTEXT", "SSL", "SCRAM over TLS", "SCRAM without TLS", "PLAIN over TLS"],
)
def test_the_clients_of_faust_connect_as_all_others_do(given: Given) -> None:
    kafka = settings(**given).kafka
    own = {name: value for name, value in client_arguments(kafka).items() if value is not None}
    of_faust = {n: v for n, v in credentials_to_aiokafka_auth(faust_credentials(kafka)).items() if v is not None}
    assert of_faust == {name: value for name, value in own.items() if name != "bootstrap_servers"}


def test_an_address_alone_is_one_without_tls_and_sasl() -> None:
    assert client_arguments("a:1,b:2") == client_arguments(KafkaConnection("a:1,b:2"))
    assert client_arguments("a:1,b:2")["security_protocol"] == "PLAINTEXT"
