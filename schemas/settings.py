"""Settings: one frozen class for each program, read from the environment once, in its main.

Every variable has the prefix `SENDLEDGER_`; several keys are separated by commas. Secrets are `SecretStr`, so that no
log, error or `doctor` shows them. All problems are reported at once, each with its variable (`read`).
"""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from schemas.errors import ConfigError

__all__ = [
    "DEV_ENV",
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
    "filled_by",
    "read",
]

PREFIX: Final = "SENDLEDGER_"
DEV_ENV: Final = Path(".data/dev.env")
"""Where `sendledger up` writes the settings of its stack, seen from the folder that it was started in."""

_LOOPBACK: Final = "127.0.0.1"
_SECRET_CHARACTERS: Final = 32
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
    metadata_seconds: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds after which a worker notices new topics and partitions at the latest"
    )


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


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < _SECRET_CHARACTERS:
        raise ValueError(f"must have at least {_SECRET_CHARACTERS} characters")
    return secret


class TokenSettings(Settings):
    """What tokens are signed with."""

    token_secret: Annotated[SecretStr, AfterValidator(_long_enough)] = Field(
        description="Signs the API's tokens: at least 32 characters"
    )


class SharedSecretSettings(Settings):
    """What we and the providers know, so that either side of a webhook needs it."""

    public_url: str = Field(
        "",
        description="The gateway's address as providers call it: https://host[/path]. Required where Twilio posts to"
        " us, since it signs the URL",
    )
    twilio_auth_tokens: SecretStr = Field(
        SecretStr(""), description="Auth tokens of the Twilio accounts that post to us, for rotation several"
    )
    postmark_basic_auth: SecretStr = Field(
        SecretStr(""), description="Credentials of Postmark's webhook URLs: user:password, for rotation several"
    )


class GatewaySettings(
    TokenSettings, SharedSecretSettings, StoreSettings, BrokerSettings, DecisionSettings, RetentionSettings
):
    """The HTTP edge."""

    host: str = Field(_LOOPBACK, description="Address that the gateway listens on")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8480, description="Port that the gateway listens on")
    sendgrid_public_keys: SecretStr = Field(
        SecretStr(""), description="Public keys of SendGrid's Event Webhooks (base64), for rotation several"
    )
    twilio_shared_keys: SecretStr = Field(
        SecretStr(""), description="Shared keys of Twilio's webhook rules (HMAC-SHA256), for rotation several"
    )
    postmark_header_secrets: SecretStr = Field(
        SecretStr(""),
        description="Headers that Postmark's webhooks are given instead of a password: `Name: value`, for rotation"
        " several",
    )
    insecure_webhooks: bool = Field(False, description="Take webhooks that nobody signed. Never in production")
    max_connections: Annotated[int, Field(ge=1)] = Field(
        900, description="Connections at one time; further ones get 503. Keep it below the process's open files"
    )
    max_header_bytes: Annotated[int, Field(ge=1024)] = Field(
        32_768, description="Bytes of a request line and its headers (at most 100): then 431"
    )
    header_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Seconds in which the headers of a request must come, or its connection is closed"
    )
    body_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Seconds in which the body of a request must come: then 408"
    )
    body_bytes: Annotated[int, Field(ge=16 * 2**20)] = Field(
        256 * 2**20, description="Bytes that the bodies of all requests under way may hold: then 503 with Retry-After"
    )
    writes_per_second: Annotated[int, Field(ge=0)] = Field(
        5_000, description="Requests of one token that write, a second: then 429. 0 for no limit"
    )
    reads_per_second: Annotated[int, Field(ge=0)] = Field(
        500, description="Requests of one token that read, a second: then 429. 0 for no limit"
    )
    failures_per_minute: Annotated[int, Field(ge=0)] = Field(
        1_200,
        description="Bad tokens and signatures of one address, a minute: further ones get 429 instead of 401. Good ones"
        " are never held up. 0 for no limit",
    )
    request_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        7.5, description="Seconds that a request has in all, after its body has come: then 503 with Retry-After"
    )
    reads_at_once: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="Reads of ClickHouse at one time; further ones wait. Sending and webhooks need none of them"
    )
    reads_per_token: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="Reads of one token at one time; further ones wait, and get 429 if none of them ends in time"
    )
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


def read(kind: type[S], *, beside: Path | None = None, **given: Any) -> S:
    """Return the settings of one program: `given`, then the environment, then the file `beside`, if it is there.

    Raises ConfigError naming every variable that is missing or wrong. A program that serves is never given a file: what
    lies in the folder where it happens to start must not decide which servers it writes to.
    """
    file: dict[str, Any] = {"_env_file": beside} if beside is not None and _is_file(beside) else {}
    try:
        return kind(**given, **file)
    except ValidationError as error:
        problems = [
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {_said(e['type'], e['msg'])}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        where, mend = _where_and_mend(beside)
        # From None: the cause would show the values.
        raise ConfigError(f"Settings are missing or wrong: {'; '.join(problems)}", where, mend) from None


def filled_by(kind: type[Settings], path: Path) -> list[str]:
    """Return the variables of `kind` that the file at `path` sets and the environment does not."""
    if not _is_file(path):
        return []
    set_here, set_outside = DotEnvSettingsSource(kind, env_file=path)(), EnvSettingsSource(kind)()
    return [PREFIX + name.upper() for name in kind.model_fields if name in set_here and name not in set_outside]


def _is_file(path: Path) -> bool:
    """Whether there is such a file. Raises ConfigError for one that can't be read."""
    try:
        with path.open("rb"):
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        mend = "Let this user read it, or start the command in another folder"
        raise ConfigError(f"The settings can't be read: {error.strerror}", str(path.absolute()), mend) from error


def _said(kind: str, message: str) -> str:
    return "it is not set" if kind == "missing" else message.removeprefix("Value error, ")


def _where_and_mend(beside: Path | None) -> tuple[str, str]:
    listed = "docs/reference/settings.md lists them all"
    if beside is not None and beside.is_file():
        return f"the environment, and {beside.absolute()}", f"Set them; {listed}"
    if beside is not None:
        return f"the environment; there is no {beside} in {Path.cwd()}", (
            f"Start the command in the folder that has {beside}, which `sendledger up` (`make run`) writes, or set them"
            f" in the environment; {listed}"
        )
    if DEV_ENV.is_file():
        return "the environment", (
            f"Set them there: this program does not read {DEV_ENV} by itself (`set -a; . {DEV_ENV}; set +a` does);"
            f" {listed}"
        )
    return "the environment", f"Set them there; {listed}"
