"""How to connect to Kafka: the servers, TLS and SASL, as every client of ours needs them.

In:  the settings of `BrokerSettings`.
Out: a `KafkaConnection`, and from it the arguments of aiokafka's clients (`client_arguments`). No client is made
     without them: tests/kafka/test_every_client.py reads the source for it.

With TLS, the broker's certificate and its host name are always verified: no setting turns that off.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr

__all__ = ["KafkaAddress", "KafkaConnection", "SaslLogin", "SaslMechanism", "SecurityProtocol", "client_arguments"]

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
"""Those that both aiokafka and Faust support with a user and a password; none without SASL."""

_TLS: Final = ("SSL", "SASL_SSL")
_SASL: Final = ("SASL_PLAINTEXT", "SASL_SSL")
_PROTOCOL: Final = "SENDLEDGER_KAFKA_SECURITY_PROTOCOL"


@dataclass(frozen=True, slots=True)
class SaslLogin:
    """A user of Kafka, and how the password is proved."""

    mechanism: SaslMechanism
    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Servers, and how to connect to them. Its text is that of the servers, without any secret."""

    servers: str
    """`host:port`, several separated by commas."""
    protocol: SecurityProtocol = "PLAINTEXT"
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    sasl: SaslLogin | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.servers


KafkaAddress = KafkaConnection | str
"""A connection; or the servers alone, for a Kafka without TLS and SASL such as the local stack's."""


def client_arguments(kafka: KafkaAddress) -> dict[str, Any]:
    """Return the arguments with which aiokafka's consumer, producer or admin connects. They contain the password."""
    connection = kafka if isinstance(kafka, KafkaConnection) else KafkaConnection(kafka)
    arguments: dict[str, Any] = {
        "bootstrap_servers": connection.servers,
        "security_protocol": connection.protocol,
        "ssl_context": connection.tls,
    }
    if connection.sasl is not None:
        arguments["sasl_mechanism"] = connection.sasl.mechanism
        arguments["sasl_plain_username"] = connection.sasl.username
        arguments["sasl_plain_password"] = connection.sasl.password.get_secret_value()
    return arguments


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """The settings of TLS and SASL as they were read; an empty text is one that is not set."""

    protocol: SecurityProtocol
    ca_file: str
    cert_file: str
    key_file: str
    key_password: SecretStr
    mechanism: SaslMechanism
    username: str
    password: SecretStr

    def problems(self) -> list[tuple[str, str]]:
        """Return the settings that don't fit the others or name an unreadable file, with what is wrong and the mend."""
        return [*self._problems_of_sasl(), *self._problems_of_tls()]

    def connect_to(self, servers: str) -> KafkaConnection:
        """Return the connection. Raises ValueError, which names no secret, for files that are no certificate or key."""
        tls = self._tls_context() if self.protocol in _TLS else None
        login = SaslLogin(self.mechanism, self.username, self.password) if self.protocol in _SASL else None
        return KafkaConnection(servers, self.protocol, tls, login)

    def _problems_of_sasl(self) -> list[tuple[str, str]]:
        given = {
            "KAFKA_SASL_MECHANISM": bool(self.mechanism),
            "KAFKA_SASL_USERNAME": bool(self.username),
            "KAFKA_SASL_PASSWORD": bool(self.password.get_secret_value()),
        }
        if self.protocol in _SASL:
            return [
                (name, f"it is not set, but {_PROTOCOL} is {self.protocol}: set it")
                for name, is_given in given.items()
                if not is_given
            ]
        mend = f"set {_PROTOCOL} to SASL_SSL, or unset this"
        what = f"it is set, but {_PROTOCOL} is {self.protocol}, which uses no password: {mend}"
        return [(name, what) for name, is_given in given.items() if is_given]

    def _problems_of_tls(self) -> list[tuple[str, str]]:
        files = {"KAFKA_CA_FILE": self.ca_file, "KAFKA_CERT_FILE": self.cert_file, "KAFKA_KEY_FILE": self.key_file}
        has_key_password = bool(self.key_password.get_secret_value())
        if self.protocol not in _TLS:
            given = [name for name, path in files.items() if path] + ["KAFKA_KEY_PASSWORD"] * has_key_password
            mend = f"set {_PROTOCOL} to SSL or SASL_SSL, or unset this"
            return [
                (name, f"it is set, but {_PROTOCOL} is {self.protocol}, which uses no TLS: {mend}") for name in given
            ]
        problems = [(name, why) for name, path in files.items() if path and (why := _unreadable(path))]
        if self.cert_file and not self.key_file:
            mend = "set it to the private key of that certificate"
            problems.append(("KAFKA_KEY_FILE", f"it is not set, but SENDLEDGER_KAFKA_CERT_FILE is: {mend}"))
        if self.key_file and not self.cert_file:
            mend = "set it to the certificate of that key"
            problems.append(("KAFKA_CERT_FILE", f"it is not set, but SENDLEDGER_KAFKA_KEY_FILE is: {mend}"))
        if has_key_password and not self.key_file:
            what = "it is set, but SENDLEDGER_KAFKA_KEY_FILE is not: set that one, or unset this"
            problems.append(("KAFKA_KEY_PASSWORD", what))
        return problems

    def _tls_context(self) -> ssl.SSLContext:
        try:
            # The defaults of this function verify certificate and host name.
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (ssl.SSLError, OSError):
            raise ValueError(
                f"SENDLEDGER_KAFKA_CA_FILE: {self.ca_file} has no certificate: give a file of PEM certificates"
            ) from None
        if self.cert_file:
            self._load_certificate(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        asked = False

        def password() -> str:
            # A function, since without a password OpenSSL would ask for one at the terminal.
            nonlocal asked
            asked = True
            return self.key_password.get_secret_value()

        try:
            context.load_cert_chain(self.cert_file, self.key_file, password)
        except (ssl.SSLError, OSError, ValueError) as error:
            if asked:
                name, what = "KAFKA_KEY_PASSWORD", f"it does not decrypt {self.key_file}: set the password of that key"
            elif getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                name, what = (
                    "KAFKA_KEY_FILE",
                    f"it is not the key of {self.cert_file}: give the two that belong together",
                )
            else:
                name = "KAFKA_CERT_FILE"
                what = f"{self.cert_file} and {self.key_file} are not a certificate and its key: give two PEM files"
            raise ValueError(f"SENDLEDGER_{name}: {what}") from None


def _unreadable(path: str) -> str | None:
    """Return why a file can't be read, and the mend; None if it can."""
    if "\n" in path or "-----BEGIN" in path:  # it may be a private key: not shown
        return "it has the contents of a file: give the path of a file with them"
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or "no valid path"
        return f"{path[:300]} can't be read ({reason}): give a file that this user may read"
    return None
