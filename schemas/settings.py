"""Settings: one frozen class for each program, read from the environment once, in its main.

Every variable has the prefix `SENDLEDGER_`; several keys are separated by commas. Secrets are `SecretStr`, so that no
log, error or `doctor` shows them. All problems are reported at once, each with its variable (`read`).
"""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import ConfigError

__all__ = [
    "PREFIX",
    "BrokerSettings",
    "CommandSettings",
    "DecisionSettings",
    "GateSettings",
    "GatewaySettings",
    "GroupSettings",
    "LedgerSettings",
    "MigrateSettings",
    "RetentionSettings",
    "Settings",
    "SimulatorSettings",
    "StoreSettings",
    "SweepSettings",
    "TokenSettings",
    "TopicSettings",
    "VerifySettings",
    "WorkerSettings",
    "read",
]

PREFIX: Final = "SENDLEDGER_"
_LOOPBACK: Final = "127.0.0.1"
_SERVER: Final = re.compile(r"\s*(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+)(:\d{1,5})?\s*")


class Settings(BaseSettings):
    """What every program may read."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")


class StoreSettings(Settings):
    """Where ClickHouse is."""

    clickhouse_url: SecretStr = Field(
        description="ClickHouse over HTTP with its credentials: http://user:password@host:8123"
    )
    clickhouse_database: str = Field("sendledger", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="The database")


def _servers(text: str) -> str:
    if not all(_SERVER.fullmatch(server) for server in text.split(",")):
        raise ValueError("must be host:port, several separated by commas")
    return text


class BrokerSettings(Settings):
    """Where Kafka is."""

    kafka_bootstrap: Annotated[str, AfterValidator(_servers)] = Field(
        description="Kafka's bootstrap servers: host:port, several separated by commas"
    )


class RetentionSettings(Settings):
    """How long what was sent is kept, in Kafka and in ClickHouse."""

    content_retention_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        30, description="Days after which what was sent (`sends.content`) is deleted"
    )


class TopicSettings(BrokerSettings, RetentionSettings):
    """How topics are made by `sendledger topics`."""

    partitions: Annotated[int, Field(ge=1, le=4096)] = Field(4, description="Partitions of a topic that is made")
    replication: Annotated[int, Field(ge=1, le=10)] = Field(1, description="Copies of each partition")


class MigrateSettings(StoreSettings, RetentionSettings):
    """`sendledger migrate`."""


class GroupSettings(BrokerSettings):
    """Who reads the log."""

    consumer_group: str = Field("ledger", description="The consumer group of the ledger workers")


class GateGroupSettings(BrokerSettings):
    """Who decides."""

    gate_group: str = Field("gate", description="The consumer group of the gate workers")


class ReadersSettings(GroupSettings, GateGroupSettings):
    """Who reads the log: the ledger and the gate."""


class SweepSettings(Settings):
    """How soon an event is looked at once more that has not found its message."""

    sweep_seconds: Annotated[float, Field(gt=0)] = Field(
        15.0, description="Seconds between looks at young events that have not found their message"
    )


class VerifySettings(StoreSettings, ReadersSettings, SweepSettings):
    """`sendledger verify`."""


class DecisionSettings(Settings):
    """How long a decision is remembered."""

    decision_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        30, description="A request whose message_id is older is invalid; decisions are remembered as long"
    )


class WorkerSettings(Settings):
    """What every worker has."""

    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-0",
        description="A name of this worker that stays the same over its restarts and that no other has",
    )
    worker_dir: Path = Field(Path(".data/worker"), description="A folder for what the worker library writes")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port on which a worker shows its metrics; 0 for none"
    )
    metrics_host: str = Field(_LOOPBACK, description="Address on which metrics are shown")


class LedgerSettings(StoreSettings, GroupSettings, SweepSettings, DecisionSettings, WorkerSettings):
    """The ledger worker."""

    group_records: Annotated[int, Field(ge=1)] = Field(20_000, description="Records of one write at the most")
    group_bytes: Annotated[int, Field(ge=1)] = Field(
        20 * 2**20,
        description="Bytes after which a write takes no further batch (of up to 8 MiB). The first ends at a quarter of"
        " it, and they grow while records wait: small ones start sooner, large ones cost the server less",
    )
    group_seconds: Annotated[float, Field(gt=0)] = Field(
        0.25, description="Seconds that a write waits for more records"
    )


class DefaultPolicySettings(Settings):
    """What becomes of an account that nobody has told us of."""

    default_policy: Literal["approve", "refuse"] = Field(
        "approve", description="What an account without a policy may send: everything, or (refuse) nothing"
    )


class GateSettings(GateGroupSettings, DefaultPolicySettings, DecisionSettings, WorkerSettings):
    """The gate worker."""

    suppress_bounces: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="Bounced messages that close an address, within the window"
    )
    suppress_window_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        30, description="Days within which bounces close an address, both ends included"
    )


class TokenSettings(Settings):
    """What tokens are signed with."""

    token_secret: SecretStr = Field(min_length=32, description="Signs the API's tokens: at least 32 characters")


class SharedSecretSettings(Settings):
    """What we and the providers know, so that either side of a webhook needs it."""

    public_url: str = Field("", description="The gateway's address as providers call it: https://host[/path]")
    twilio_auth_tokens: SecretStr = Field(
        SecretStr(""), description="Auth tokens of the Twilio accounts that post to us, for rotation several"
    )
    postmark_basic_auth: SecretStr = Field(
        SecretStr(""), description="Credentials of Postmark's webhook URLs: user:password, for rotation several"
    )


class GatewaySettings(TokenSettings, SharedSecretSettings, StoreSettings, BrokerSettings, DecisionSettings):
    """The HTTP edge."""

    host: str = Field(_LOOPBACK, description="Address that the gateway listens on")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8480, description="Port that the gateway listens on")
    sendgrid_public_keys: SecretStr = Field(
        SecretStr(""), description="Public keys of SendGrid's Event Webhooks (base64), for rotation several"
    )
    insecure_webhooks: bool = Field(False, description="Take webhooks that nobody signed. Never in production")
    client_url: str = Field("", description="Link to a client, with {account_id} and {client_id}")
    appointment_url: str = Field("", description="Link to an appointment, with {account_id} and {appointment_id}")


class CommandSettings(StoreSettings, BrokerSettings):
    """`sendledger suppress`, `release` and `opt-in`: the log, and the table that says what was so before."""


class SimulatorSettings(SharedSecretSettings, GateGroupSettings, DefaultPolicySettings):
    """The simulator, which posts as the providers do: with the first of several keys."""

    dev_sendgrid_private_key: SecretStr = Field(
        SecretStr(""),
        description="Signs simulated SendGrid posts (base64 PKCS#8 DER): the pair of the public key in force",
    )


S = TypeVar("S", bound=Settings)


def read(kind: type[S], **given: Any) -> S:
    """Return the settings of one program. Raises ConfigError naming every variable that is missing or wrong."""
    try:
        return kind(**given)
    except ValidationError as error:
        problems = [
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError(
            "Settings are missing or wrong: " + "; ".join(problems),
            "the environment",
            "Set them; docs/reference/settings.md lists them all",
        ) from None  # the cause would show the values
