"""Settings: one frozen class for each program, read from the environment once, in its main function.

All variables have the prefix `SENDLEDGER_`; multiple keys are separated by commas. Secrets are `SecretStr`, so that
no log, error or `doctor` output shows them. All problems are reported at once, each with its variable (`read`).
"""

import re
import socket
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from schemas.errors import ConfigError
from schemas.kafka_connection import KafkaConnection, SaslMechanism, SecurityProtocol, SecuritySettings

__all__ = [
    "DEV_ENV",
    "PREFIX",
    "BrokerSettings",
    "CommandSettings",
    "DeadLetterSettings",
    "DecisionSettings",
    "GateSettings",
    "GatewaySettings",
    "GroupSettings",
    "IncidentSettings",
    "LedgerSettings",
    "MigrateSettings",
    "RawEventSettings",
    "ReadersSettings",
    "RebuildSettings",
    "ReplaySettings",
    "RetentionSettings",
    "Settings",
    "SignatureSettings",
    "SimulatorSettings",
    "StoreSettings",
    "SweepSettings",
    "TableRetentionSettings",
    "TokenSettings",
    "TopicSettings",
    "TracingSettings",
    "VerifySettings",
    "WeatherSettings",
    "WorkerSettings",
    "read",
    "set_by_file",
]

PREFIX: Final = "SENDLEDGER_"
DEV_ENV: Final = Path(".data/dev.env")
"""The file to which `sendledger up` writes the settings of its stack, relative to the folder in which it is started."""

_LOOPBACK: Final = "127.0.0.1"
_SECRET_CHARACTERS: Final = 32
_SERVER: Final = re.compile(r"\s*(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+)(:\d{1,5})?\s*")


class Settings(BaseSettings):
    """The base class of all settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")


class StoreSettings(Settings):
    """The connection to ClickHouse."""

    clickhouse_url: SecretStr = Field(
        description="ClickHouse over HTTP with its credentials: http://user:password@host:8123"
    )
    clickhouse_database: str = Field(
        "sendledger", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="The ClickHouse database"
    )
    clickhouse_cluster: str = Field(
        "",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,63})?$",
        description="The name of the cluster in ClickHouse's configuration (`remote_servers`), on which tables are"
        " sharded and replicated; empty for one server",
    )


def _servers(text: str) -> str:
    if not all(_SERVER.fullmatch(server) for server in text.split(",")):
        raise ValueError("must be host:port, several separated by commas")
    return text


class BrokerSettings(Settings):
    """The connection to Kafka. Clients are made with `kafka`, never with `kafka_bootstrap` alone."""

    kafka_bootstrap: Annotated[str, AfterValidator(_servers)] = Field(
        description="Kafka's bootstrap servers: host:port, several separated by commas"
    )
    kafka_security_protocol: SecurityProtocol = Field(
        "PLAINTEXT",
        description="How the listener of Kafka is secured: `PLAINTEXT` (not at all), `SSL` (TLS), `SASL_SSL` (TLS, and"
        " a user with a password), or `SASL_PLAINTEXT` (a user with a password, without encryption)",
    )
    kafka_ca_file: str = Field(
        "",
        description="File of the CA certificates (PEM) that are trusted to sign the brokers' certificates; if empty,"
        " those of the system. Certificate and host name of a broker are always verified",
    )
    kafka_cert_file: str = Field(
        "", description="File of our own certificate and its chain (PEM), for brokers that require one"
    )
    kafka_key_file: str = Field(
        "", description="File of the private key (PEM) of the certificate in `SENDLEDGER_KAFKA_CERT_FILE`"
    )
    kafka_key_password: SecretStr = Field(
        SecretStr(""), description="Password of the key in `SENDLEDGER_KAFKA_KEY_FILE`, if it is encrypted"
    )
    kafka_sasl_mechanism: SaslMechanism = Field(
        "",
        description="How the password is checked: `SCRAM-SHA-512`, `SCRAM-SHA-256`, or `PLAIN`, which sends the"
        " password itself",
    )
    kafka_sasl_username: str = Field("", description="The user that we log in to Kafka with")
    kafka_sasl_password: SecretStr = Field(
        SecretStr(""), description="Password of the user in `SENDLEDGER_KAFKA_SASL_USERNAME`"
    )

    @cached_property
    def kafka(self) -> KafkaConnection:
        """Servers, TLS and SASL: what each client of Kafka is made with."""
        return self._security().connect_to(self.kafka_bootstrap)

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        """Raise ValueError for TLS and SASL settings that don't fit together, and for files that can't be used."""
        if problems := self._security().problems():
            raise ValueError("; ".join(f"{PREFIX}{name}: {what}" for name, what in problems))
        _ = self.kafka  # reads the certificates
        return self

    def _security(self) -> SecuritySettings:
        return SecuritySettings(
            protocol=self.kafka_security_protocol,
            ca_file=self.kafka_ca_file,
            cert_file=self.kafka_cert_file,
            key_file=self.kafka_key_file,
            key_password=self.kafka_key_password,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=self.kafka_sasl_password,
        )


class RetentionSettings(Settings):
    """How long the contents of messages are kept, in Kafka and in ClickHouse."""

    content_retention_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        30,
        description="Days for which the contents of messages are kept: in the topic `sends.content`, when it is"
        " created, and in ClickHouse, at each `sendledger migrate`",
    )


class TableRetentionSettings(RetentionSettings):
    """How long ClickHouse keeps messages and contents."""

    retention_days: Annotated[int, Field(ge=0, le=36_500)] = Field(
        0,
        description="Days after Date Sent for which messages and their events are shown; ClickHouse deletes them after"
        " that. 0: for ever. `sendledger migrate` applies it. Suppressions stay, and Kafka's topics are not affected",
    )


class TopicSettings(BrokerSettings, RetentionSettings):
    """How `sendledger topics` creates topics."""

    partitions: Annotated[int, Field(ge=1, le=4096)] = Field(4, description="Partitions of a new topic")
    replication: Annotated[int, Field(ge=1, le=10)] = Field(
        1, description="Replication factor of a new topic. With 3 or more, the topic gets `min.insync.replicas=2`"
    )


class MigrateSettings(StoreSettings, TableRetentionSettings):
    """`sendledger migrate`."""


class GroupSettings(BrokerSettings):
    """The consumer group of the ledger."""

    consumer_group: str = Field("ledger", description="The consumer group of the ledger workers")


class GateGroupSettings(BrokerSettings):
    """The consumer group of the gate."""

    gate_group: str = Field("gate", description="The consumer group of the gate workers")


class ReadersSettings(GroupSettings, GateGroupSettings):
    """The consumer groups of the ledger and the gate."""


class SweepSettings(Settings):
    """How often events that are not matched to a message are tried again."""

    sweep_seconds: Annotated[float, Field(gt=0)] = Field(
        15.0, description="Seconds between attempts to match recent events that have not found their message"
    )


class VerifySettings(StoreSettings, ReadersSettings, SweepSettings):
    """`sendledger verify`."""


class DecisionSettings(Settings):
    """How long decisions are remembered."""

    decision_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        30,
        description="Days for which decisions are remembered. A request whose message_id is older is invalid",
    )


class TracingSettings(Settings):
    """Traces of webhooks."""

    traces_url: str = Field(
        "",
        pattern=r"^(https?://[^\s@]+)?$",  # a password would be in the log: see docs/how-to/trace-a-webhook.md
        description="URL of a collector that takes traces by OTLP over HTTP, usually http://host:4318/v1/traces,"
        " without a password; empty for no traces",
    )
    traces_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="The fraction of webhooks that is traced, chosen at random"
    )


class WorkerSettings(BrokerSettings):
    """The settings of every worker."""

    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-0",
        description="A unique name of this worker that stays the same when it restarts",
    )
    worker_dir: Path = Field(Path(".data/worker"), description="The folder for files of the worker library")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port on which a worker serves its metrics; 0 for none"
    )
    metrics_host: str = Field(_LOOPBACK, description="Address on which metrics are served")
    metadata_seconds: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Maximum seconds until a worker notices new topics and partitions"
    )


class DeadLetterSettings(BrokerSettings, DecisionSettings):
    """`sendledger dead-letters`."""


class ReplaySettings(StoreSettings, BrokerSettings, DecisionSettings):
    """`sendledger replay`."""


class LedgerSettings(StoreSettings, GroupSettings, SweepSettings, DecisionSettings, TracingSettings, WorkerSettings):
    """The ledger worker."""

    group_records: Annotated[int, Field(ge=1)] = Field(20_000, description="Maximum records of one write")
    group_bytes: Annotated[int, Field(ge=1)] = Field(
        20 * 2**20,
        description="Bytes after which a write takes no further batch (of up to 8 MiB). The first write ends at a"
        " quarter of this, and writes grow while records wait: small ones start sooner, large ones cost less",
    )
    group_seconds: Annotated[float, Field(gt=0)] = Field(
        0.25, description="Seconds that a write waits for more records"
    )


class RebuildSettings(LedgerSettings, TableRetentionSettings):
    """`sendledger rebuild`."""


class DefaultPolicySettings(Settings):
    """The policy of accounts that have none."""

    default_policy: Literal["approve", "refuse"] = Field(
        "approve", description="What an account without a policy may send: everything (`approve`) or nothing (`refuse`)"
    )


class SuppressionSettings(Settings):
    """When bounces suppress an address."""

    suppress_bounces: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="Number of bounced messages within the window that suppress an address"
    )
    suppress_window_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        30, description="Days within which bounces suppress an address, both ends included"
    )


class GateSettings(GateGroupSettings, DefaultPolicySettings, DecisionSettings, SuppressionSettings, WorkerSettings):
    """The gate worker."""


class GateRulesSettings(GateGroupSettings, DecisionSettings, SuppressionSettings):
    """`sendledger rebuild --diff`: the gate's group and the rules of suppressions."""


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < _SECRET_CHARACTERS:
        raise ValueError(f"must have at least {_SECRET_CHARACTERS} characters")
    return secret


class TokenSettings(Settings):
    """The key that signs tokens."""

    token_secret: Annotated[SecretStr, AfterValidator(_long_enough)] = Field(
        description="Signs the API's tokens: at least 32 characters"
    )


class TwilioTokenSettings(Settings):
    """The keys with which Twilio signs."""

    twilio_auth_tokens: SecretStr = Field(
        SecretStr(""), description="Auth tokens of the Twilio accounts that post to us; several during rotation"
    )


class SharedSecretSettings(TwilioTokenSettings):
    """Secrets that we share with the providers: both the gateway and the simulator need them."""

    public_url: str = Field(
        "",
        description="The gateway's URL as providers call it: https://host[/path]. Required for webhooks of Twilio,"
        " which signs the URL",
    )
    postmark_basic_auth: SecretStr = Field(
        SecretStr(""), description="Credentials of Postmark's webhook URLs: user:password; several during rotation"
    )


class SignatureSettings(TwilioTokenSettings):
    """The keys that verify the providers' signatures."""

    sendgrid_public_keys: SecretStr = Field(
        SecretStr(""), description="Public keys of SendGrid's Event Webhooks (base64); several during rotation"
    )
    twilio_shared_keys: SecretStr = Field(
        SecretStr(""), description="Shared keys of Twilio's webhook rules (HMAC-SHA256); several during rotation"
    )


class RawEventSettings(StoreSettings, BrokerSettings, SignatureSettings):
    """`sendledger explain --raw`."""


class GatewayMetricsSettings(Settings):
    """Where the metrics of the gateways are."""

    gateway_metrics: str = Field(
        "",
        description="URLs of the gateways' metrics, several separated by commas: `sendledger weather` and the page"
        " Weather count refused signatures with them. Without it, a gateway counts its own, and `sendledger weather`"
        " shows them as unknown",
    )


class WeatherSettings(StoreSettings, GroupSettings, GatewayMetricsSettings):
    """`sendledger weather`."""


class GatewaySettings(
    TokenSettings,
    SharedSecretSettings,
    SignatureSettings,
    StoreSettings,
    ReadersSettings,
    DecisionSettings,
    SuppressionSettings,
    RetentionSettings,
    GatewayMetricsSettings,
    TracingSettings,
):
    """The gateway (HTTP)."""

    host: str = Field(_LOOPBACK, description="Address that the gateway listens on")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8480, description="Port that the gateway listens on")
    postmark_header_secrets: SecretStr = Field(
        SecretStr(""),
        description="Headers that Postmark's webhooks send instead of a password: `Name: value`; several during"
        " rotation",
    )
    insecure_webhooks: bool = Field(False, description="Accept unsigned webhooks. Never in production")
    max_connections: Annotated[int, Field(ge=1)] = Field(
        900, description="Maximum connections; further ones get 503. Keep it below the process's limit of open files"
    )
    max_header_bytes: Annotated[int, Field(ge=1024)] = Field(
        32_768, description="Maximum bytes of a request line and its headers (at most 100); otherwise 431"
    )
    header_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Seconds within which the headers of a request must arrive, or its connection is closed"
    )
    body_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Seconds within which the body of a request must arrive; otherwise 408"
    )
    body_bytes: Annotated[int, Field(ge=16 * 2**20)] = Field(
        256 * 2**20,
        description="Maximum bytes of the bodies of all open requests; further ones get 503 with Retry-After",
    )
    writes_per_second: Annotated[int, Field(ge=0)] = Field(
        5_000, description="Write requests of one token per second; further ones get 429. 0 for no limit"
    )
    reads_per_second: Annotated[int, Field(ge=0)] = Field(
        500, description="Read requests of one token per second; further ones get 429. 0 for no limit"
    )
    failures_per_minute: Annotated[int, Field(ge=0)] = Field(
        1_200,
        description="Invalid tokens and signatures from one IP address per minute; further ones get 429 instead of 401."
        " Valid ones are never delayed. 0 for no limit",
    )
    request_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        7.5, description="Seconds for a request after its body has arrived; then 503 with Retry-After"
    )
    reads_at_once: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="Concurrent reads of ClickHouse; further ones wait. Sending and webhooks need none"
    )
    reads_per_token: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="Concurrent reads of one token; further ones wait, and get 429 if no read ends in time"
    )
    client_url: str = Field("", description="Link to a client, with {account_id} and {client_id}")
    appointment_url: str = Field("", description="Link to an appointment, with {account_id} and {appointment_id}")
    console: bool = Field(True, description="Whether the gateway serves the console: `on` or `off`")
    dev_sign_in_dir: str = Field(
        "",
        description="Folder of the codes that sign in to the console once, from this machine. Never in production",
    )
    worker_metrics: str = Field(
        "",
        description="URLs of the workers' metrics, several separated by commas: the page Health shows delays, retries,"
        " duplicates, unknown events and events out of order from them",
    )
    session_hours: Annotated[float, Field(gt=0, le=24 * 31)] = Field(
        12.0, description="Hours after which a session of the console ends; it ends earlier if its token expires"
    )


class CommandSettings(StoreSettings, BrokerSettings):
    """`sendledger suppress`, `release` and `opt-in`: Kafka, and the table with the state before the command."""


class IncidentSettings(CommandSettings, DecisionSettings):
    """`sendledger incident`."""


class SimulatorSettings(SharedSecretSettings, GateGroupSettings, DefaultPolicySettings):
    """The simulator, which signs its posts as the providers do, with the first of several keys."""

    dev_sendgrid_private_key: SecretStr = Field(
        SecretStr(""),
        description="Private key that signs simulated SendGrid posts (base64 PKCS#8 DER), for the public key in use",
    )


S = TypeVar("S", bound=Settings)


def read(kind: type[S], *, env_file: Path | None = None, **given: Any) -> S:
    """Return the settings of one program: `given`, then the environment, then the file `env_file`, if it exists.

    Raises ConfigError naming every variable that is missing or wrong. Servers and workers are never given a file: a
    file in the folder in which they start must not decide which servers they write to.
    """
    file: dict[str, Any] = {"_env_file": env_file} if env_file is not None and _is_file(env_file) else {}
    try:
        return kind(**given, **file)
    except ValidationError as error:
        problems = [_problem(kind, one) for one in error.errors(include_input=False, include_url=False)]
        where, mend = _where_and_mend(env_file)
        # From None, because the cause would show the values.
        raise ConfigError(f"Settings are missing or wrong: {'; '.join(problems)}", where, mend) from None


def set_by_file(kind: type[Settings], path: Path) -> list[str]:
    """Return the variables of `kind` that are set in the file at `path` and not in the environment."""
    if not _is_file(path):
        return []
    set_here, set_outside = DotEnvSettingsSource(kind, env_file=path)(), EnvSettingsSource(kind)()
    return [PREFIX + name.upper() for name in kind.model_fields if name in set_here and name not in set_outside]


def _is_file(path: Path) -> bool:
    """Whether the file exists. Raises ConfigError for a file that can't be read."""
    try:
        with path.open("rb"):
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        mend = "Give this user the permission to read it, or start the command in another folder"
        raise ConfigError(f"The settings file can't be read: {error.strerror}", str(path.absolute()), mend) from error


def _problem(kind: type[Settings], error: ErrorDetails) -> str:
    """Return what is wrong, without the value. What concerns several settings names them itself."""
    if not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    name = "_".join(map(str, error["loc"]))
    match error["type"]:
        case "missing":
            problem = "it is not set"
        case "string_pattern_mismatch":
            problem = f"it is not of the form {error['ctx']['pattern']}: {kind.model_fields[name].description}"
        case _:
            problem = error["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{name.upper()}: {problem}"


def _where_and_mend(env_file: Path | None) -> tuple[str, str]:
    listed = "docs/reference/settings.md lists them all"
    if env_file is not None and env_file.is_file():
        return f"the environment, and {env_file.absolute()}", f"Set them; {listed}"
    if env_file is not None:
        return f"the environment; there is no {env_file} in {Path.cwd()}", (
            f"Start the command in the folder that has {env_file}, which `sendledger up` (`make run`) writes, or set"
            f" them in the environment; {listed}"
        )
    if DEV_ENV.is_file():
        return "the environment", (
            f"Set them there: this program does not read {DEV_ENV} by itself (`set -a; . {DEV_ENV}; set +a` does);"
            f" {listed}"
        )
    return "the environment", f"Set them there; {listed}"
