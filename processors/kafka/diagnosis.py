"""Find out why Kafka can't be reached: a wrong password, an unknown CA, a wrong host name, or a server that is down.

In:  an address, and the error of a client: aiokafka logs why a connection failed, and raises only that it did.
Out: a `BrokerSettingsError` if a setting is to blame, with the mend; else a `BrokerError`.

For it, each server is connected to once more, and so is each broker that they name: a certificate may lack the names
under which the brokers advertise themselves. Neither what a broker says about an error nor any secret is shown.
"""

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from processors.engine.families import ErrorFamily, error_family
from schemas.errors import BrokerDenied, BrokerError, BrokerSettingsError
from schemas.kafka_connection import KafkaAddress, KafkaConnection, client_arguments

__all__ = ["connection_error"]

_WITHIN_SECONDS: Final = 10.0
_MOST_SERVERS: Final = 12
_CA_ERRORS: Final = frozenset({2, 18, 19, 20, 21})  # X509_V_ERR_…: no issuer found, or one that is not trusted
_NAME_ERRORS: Final = frozenset({62, 63, 64})  # host name, email, IP address
_TIME_ERRORS: Final = frozenset({9, 10})  # not yet valid, expired
_ALERTS_ABOUT_US: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
_CONNECTION_ERRORS: Final = (OSError, TimeoutError, errors.KafkaError)

Server = tuple[str, int]


class _Finding(NamedTuple):
    """What is wrong with our settings, and how to mend it."""

    what: str
    mend: str


async def connection_error(what: str, kafka: KafkaAddress, mend: str, error: Exception) -> BrokerError:
    """Return the error to raise for `error`: that of a setting if one is to blame, else `what` and `mend` as given."""
    if isinstance(error, BrokerError):
        return error
    connection = kafka if isinstance(kafka, KafkaConnection) else KafkaConnection(kafka)
    server, finding = await _first_finding(connection)
    if finding is not None:
        return BrokerSettingsError(finding.what, server, finding.mend)
    kind = BrokerDenied if error_family(error) is ErrorFamily.DENIED else BrokerError
    return kind(what, connection.servers, mend)


async def _first_finding(connection: KafkaConnection) -> tuple[str, _Finding | None]:
    """Return the server that a finding is about, and the finding, if there is one."""
    configured: set[Server] = {(host, port) for host, port, _family in collect_hosts(connection.servers)}
    named: set[Server] = set()
    for servers in (configured, named):
        probes = sorted(servers)[:_MOST_SERVERS]
        answers = await asyncio.gather(*(_probe(connection, *server) for server in probes))
        for (host, port), answer in zip(probes, answers, strict=True):
            if isinstance(answer, _Finding):
                return f"{host}:{port}", answer
            named |= set(answer) - configured
    return "", None


async def _probe(connection: KafkaConnection, host: str, port: int) -> _Finding | Iterable[Server]:
    """Connect to a server. Return what is wrong with our settings, or the brokers that it names."""
    arguments = {key: value for key, value in client_arguments(connection).items() if key != "bootstrap_servers"}
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await _brokers(host, port, arguments)
    except TimeoutError:
        return ()  # a server that does not answer says nothing about our settings
    except (*_CONNECTION_ERRORS, ValueError) as error:  # ValueError: an answer to SCRAM that does not fit
        # TLS first: an SSLCertVerificationError is a ValueError as well.
        return _of_tls(error) or _of_login(connection, error) or await _of_protocol(connection, host, port)


async def _brokers(host: str, port: int, arguments: dict[str, Any]) -> Iterable[Server]:
    client = await create_conn(host, port, request_timeout_ms=int(_WITHIN_SECONDS * 1000), **arguments)
    try:
        answer = await client.send(MetadataRequest([]))
        return [(named, at) for _id, named, at, *_ in answer.brokers]
    finally:
        client.close()


def _of_login(connection: KafkaConnection, error: Exception) -> _Finding | None:
    if connection.sasl is None:
        return None
    mechanism = connection.sasl.mechanism
    if isinstance(error, errors.SaslAuthenticationFailed | errors.AuthenticationFailedError | ValueError):
        return _Finding(
            f"Kafka rejects our user or password ({mechanism})",
            "Set SENDLEDGER_KAFKA_SASL_USERNAME and SENDLEDGER_KAFKA_SASL_PASSWORD to those that Kafka knows for this"
            " mechanism",
        )
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return _Finding(
            f"This listener of Kafka does not accept the mechanism {mechanism}",
            "Set SENDLEDGER_KAFKA_SASL_MECHANISM to one that it accepts (sasl.enabled.mechanisms of the broker)",
        )
    if isinstance(error, errors.IllegalSaslStateError):
        return _Finding(
            "This listener of Kafka takes no password",
            "Set SENDLEDGER_KAFKA_SECURITY_PROTOCOL to the protocol of the listener, or SENDLEDGER_KAFKA_BOOTSTRAP to"
            " a listener with SASL",
        )
    return None


def _of_tls(error: Exception) -> _Finding | None:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _of_their_certificate(cause)
        if isinstance(cause, ssl.SSLError) and _is_alert_about_us(cause):
            return _of_our_certificate()
    return None


def _of_their_certificate(error: ssl.SSLCertVerificationError) -> _Finding:
    if error.verify_code in _CA_ERRORS:
        return _Finding(
            "Kafka's certificate is signed by a CA that we don't trust",
            "Set SENDLEDGER_KAFKA_CA_FILE to the CA certificates (PEM) that signed it",
        )
    if error.verify_code in _NAME_ERRORS:
        return _Finding(
            "Kafka's certificate is for another host name",
            "Set SENDLEDGER_KAFKA_BOOTSTRAP, and advertised.listeners of the broker, to a name in its certificate; or"
            " give the broker a certificate with this name",
        )
    if error.verify_code in _TIME_ERRORS:
        return _Finding("Kafka's certificate has expired or is not yet valid", "Give the broker a new certificate")
    return _Finding(
        f"Kafka's certificate is not valid (OpenSSL's error {error.verify_code})",
        "Give the broker a certificate that its clients can verify",
    )


def _is_alert_about_us(error: ssl.SSLError) -> bool:
    reason = error.reason or ""
    return "ALERT" in reason and any(word in reason for word in _ALERTS_ABOUT_US)


def _of_our_certificate() -> _Finding:
    return _Finding(
        "Kafka rejects our certificate, or requires one",
        "Set SENDLEDGER_KAFKA_CERT_FILE and SENDLEDGER_KAFKA_KEY_FILE to a certificate that is valid now and signed by"
        " a CA of the broker's truststore",
    )


async def _of_protocol(connection: KafkaConnection, host: str, port: int) -> _Finding | Iterable[Server]:
    """Return whether the listener speaks another protocol than we do. A server that is down or busy is no finding."""
    with_tls = connection.tls is not None
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            if with_tls and await _answers(host, port, "PLAINTEXT"):
                return _Finding("This listener of Kafka speaks no TLS", _PROTOCOL_MEND)
            if not with_tls and await _speaks_tls(host, port):
                return _Finding("This listener of Kafka requires TLS", _PROTOCOL_MEND)
            if connection.sasl is None and await _requires_login(connection, host, port):
                return _Finding("This listener of Kafka requires a user and a password", _PROTOCOL_MEND)
    except _CONNECTION_ERRORS:
        return ()
    return ()


_PROTOCOL_MEND: Final = (
    "Set SENDLEDGER_KAFKA_SECURITY_PROTOCOL to the protocol of the listener, with the settings that belong to it, or"
    " SENDLEDGER_KAFKA_BOOTSTRAP to another listener"
)


async def _answers(host: str, port: int, protocol: str) -> bool:
    """Whether a server answers Kafka's first request over `protocol`, which has no secret."""
    try:
        (await create_conn(host, port, security_protocol=protocol)).close()
    except _CONNECTION_ERRORS:
        return False
    return True


async def _speaks_tls(host: str, port: int) -> bool:
    """Whether a server answers a TLS handshake. A certificate that we don't trust is an answer as well."""
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    writer.close()
    return True


async def _requires_login(connection: KafkaConnection, host: str, port: int) -> bool:
    """Whether a listener expects SASL: one without it answers the handshake with an illegal state."""
    client: AIOKafkaConnection = await create_conn(
        host, port, security_protocol=connection.protocol, ssl_context=connection.tls
    )
    try:
        answer = await client.send(SaslHandShakeRequest("PLAIN"))
    finally:
        client.close()
    return answer.error_code in (errors.NoError.errno, errors.UnsupportedSaslMechanismError.errno)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
