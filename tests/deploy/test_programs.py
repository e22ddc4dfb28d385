"""Every container that runs our image is given a command that exists and settings that it can start with.

Kafka and ClickHouse are away here, so a program that got through its settings ends because of that: exit code 4, not 3.
"""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from schemas.settings import PREFIX, GateSettings, GatewaySettings, LedgerSettings, Settings, read
from tests.deploy.launches import Launch, compose_secrets, launches
from tests.docs.commands import commands, readers
from tests.docs.test_reference import all_settings
from tests.local.ports import free_port_base
from tests.operating.commands import in_process, sendledger

AWAY: Final = "127.0.0.1:1"
COMMANDS: Final[dict[str, Any]] = dict(commands())
SERVING: Final = ("gateway", "worker ledger", "worker gate")
ALL: Final = [pytest.param(launch, id=launch.where) for launch in launches()]
KNOWN: Final = {PREFIX + name.upper(): field for kind in all_settings() for name, field in kind.model_fields.items()}


def command_of(launch: Launch) -> str:
    return " ".join(launch.words[: 1 if launch.words[0] in COMMANDS else 2])


READERS: Final = readers()


def settings_of(launch: Launch) -> dict[str, FieldInfo]:
    """The settings that the command reads, by variable."""
    return {PREFIX + name.upper(): field for name, field in READERS[command_of(launch)].items()}


def is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr


def test_every_program_is_launched_by_compose_and_by_both_overlays() -> None:
    found = {(launch.where.split(":")[0].split("/")[0], command_of(launch)) for launch in launches()}
    wanted = {"topics", "migrate", *SERVING}
    assert found >= {(where, command) for where in ("compose", "staging", "production") for command in wanted}
    assert found >= {("staging", "rebuild"), ("production", "rebuild"), ("Dockerfile", "gateway")}


@pytest.mark.parametrize("launch", ALL)
def test_its_command_exists_with_its_options(launch: Launch) -> None:
    name = command_of(launch)
    COMMANDS[name].make_context(name, launch.words[len(name.split()) :])  # raises UsageError


@pytest.mark.parametrize("launch", ALL)
def test_it_is_given_known_settings_and_all_that_it_needs(launch: Launch) -> None:
    read = settings_of(launch)
    ours = {name for name in launch.env if name.startswith(PREFIX)}
    assert ours - KNOWN.keys() == set()
    also_words = {"SENDLEDGER_WORKER_DIR"} if launch.where == "Dockerfile" else set()
    assert {name for name in launch.own if name.startswith(PREFIX)} - read.keys() - also_words == set(), (
        "not read by it"
    )
    assert {name for name, field in read.items() if field.is_required()} - ours == set(), "required, and not given"


@pytest.mark.parametrize("launch", ALL)
def test_it_is_given_nothing_that_is_for_development(launch: Launch) -> None:
    assert [name for name in launch.env if name.startswith(f"{PREFIX}DEV_") or name.endswith("INSECURE_WEBHOOKS")] == []


@pytest.mark.parametrize("launch", ALL)
def test_a_secret_is_never_among_the_settings_for_all(launch: Launch) -> None:
    if launch.where == "Dockerfile":  # the test gives it all that it needs
        return
    assert [name for name in launch.env.keys() - launch.own if name in KNOWN and is_secret(KNOWN[name])] == []


@pytest.mark.parametrize("launch", ALL)
def test_a_program_that_serves_listens_to_more_than_its_own_container(launch: Launch) -> None:
    """The default is loopback, where no probe, no proxy and no Prometheus gets an answer."""
    if launch.where == "Dockerfile" or command_of(launch) not in SERVING:
        return
    host, port = ("HOST", "PORT") if command_of(launch) == "gateway" else ("METRICS_HOST", "METRICS_PORT")
    assert launch.env[PREFIX + host] == "0.0.0.0"
    assert int(launch.env[PREFIX + port]) > 0


def test_programs_agree_about_the_groups_and_the_database() -> None:
    shared = ("CONSUMER_GROUP", "GATE_GROUP", "CLICKHOUSE_DATABASE", "KAFKA_BOOTSTRAP", "DECISION_DAYS")
    for where in ("compose", "staging", "production"):
        of = [launch for launch in launches() if re.split("[:/]", launch.where)[0] == where]
        for name in shared:
            given = {launch.env.get(PREFIX + name) for launch in of if PREFIX + name in settings_of(launch)}
            assert len(given) == 1, f"{where}: {name}"


def unreachable(launch: Launch, folder: Path) -> dict[str, str]:
    """The settings of a launch with servers that are away, folders that exist and ports that are free."""
    env, port = dict(launch.env), free_port_base()
    for name, value in launch.env.items():
        if name == "SENDLEDGER_KAFKA_BOOTSTRAP":
            env[name] = AWAY
        elif name == "SENDLEDGER_CLICKHOUSE_URL":
            url = urlsplit(value)
            env[name] = f"{url.scheme}://{url.username}:{url.password}@{AWAY}"
        elif name == "SENDLEDGER_WORKER_DIR":
            env[name] = str(folder / "worker")
        elif name.endswith("PORT") and name.startswith(PREFIX):
            env[name] = str(port)
    return env


def params(*where: str, serving: bool) -> list[Any]:
    found = [one for one in launches() if one.where.startswith(where) and (command_of(one) in SERVING) == serving]
    return [pytest.param(one, id=one.where) for one in found]


@pytest.mark.process
@pytest.mark.parametrize("launch", params("production", serving=True))
async def test_a_program_starts_with_exactly_its_settings(launch: Launch, tmp_path: Path) -> None:
    ended = await sendledger(*launch.words, env=unreachable(launch, tmp_path), folder=tmp_path)
    assert (ended.code, "Traceback" in ended.err) == (4, False), ended.err
    assert AWAY in ended.err


@pytest.mark.parametrize("launch", params("compose", "staging", serving=True))
def test_the_settings_of_the_others_are_accepted(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """They start the same programs as production does, and a start takes seconds."""
    kinds: dict[str, type[Settings]] = {
        "gateway": GatewaySettings, "worker ledger": LedgerSettings, "worker gate": GateSettings,
    }  # fmt: skip
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    for name, value in launch.env.items():
        monkeypatch.setenv(name, value)
    read(kinds[command_of(launch)])  # raises ConfigError


@pytest.mark.process
@pytest.mark.parametrize("launch", params("compose", "production", serving=False))
async def test_a_job_starts_with_exactly_its_settings(launch: Launch, tmp_path: Path) -> None:
    ended = await in_process(*launch.words, env=unreachable(launch, tmp_path), folder=tmp_path)
    assert (ended.code, "Traceback" in ended.err) == (4, False), ended.err
    assert AWAY in ended.err


@pytest.mark.parametrize("name", ["SENDLEDGER_KAFKA_BOOTSTRAP", "SENDLEDGER_TOKEN_SECRET"])
async def test_without_a_setting_a_program_does_not_start(name: str, tmp_path: Path) -> None:
    """So the tests above do see a setting that is missing."""
    (gateway,) = [launch for launch in launches() if launch.where == "compose: gateway"]
    env = {key: value for key, value in unreachable(gateway, tmp_path).items() if key != name}
    ended = await in_process(*gateway.words, env=env, folder=tmp_path)
    assert (ended.code, f"{name}: it is not set" in ended.err) == (3, True)


def test_the_secrets_of_compose_are_made_anew_each_time() -> None:
    first = dict(compose_secrets())
    compose_secrets.cache_clear()
    second = compose_secrets()
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] and len(second[name]) >= 32 for name in second)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", value) for value in second.values()), "they stand in URLs"
