"""A stack whose parts may be stopped, frozen, limited and filled, with a Prometheus that reads it and has our alerts.

Kafka, ClickHouse, the gateway and both workers are processes of ours, and nothing starts them again: who is on call
does. Kafka's and ClickHouse's data are on small disks of their own, if we may mount one.
"""

import asyncio
import shlex
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
from aiokafka import AIOKafkaProducer

from cli.up import stack_settings
from deploy.local.stack import Ports
from deploy.prometheus.rules import rules_text
from processors.kafka.lag import wait_until_caught_up
from processors.kafka.topics import create_topics
from projections.store import migrate
from projections.store.generations import ShownStore
from schemas.consumer_groups import consumer_groups
from schemas.settings import PREFIX, TopicSettings, read
from schemas.topics import MAX_MESSAGE_BYTES
from simulator.signing import sign_sendgrid
from tests.deploy.prometheus import Prometheus, running_prometheus
from tests.engine.broker import PrivateBroker
from tests.local.endpoints import EndpointProcess
from tests.local.ports import free_port_base
from tests.local.waiting import PATIENCE_SECONDS, until
from tests.stack.firing.clickhouse_exporter import clickhouse_exporter
from tests.stack.firing.disks import Disk, small_disk
from tests.stack.firing.durations import shortened_groups
from tests.stack.firing.runbooks import Shell
from tests.stack.programs import SENDLEDGER, Program, answering

__all__ = ["BAD_RELEASE", "Stand", "a_stand"]

BAD_RELEASE: Final = Path(__file__).with_name("bad_release.py")
_DISK_MIB: Final = 512
_WORDS: Final = {"gateway": ["gateway"], "ledger": ["worker", "ledger"], "gate": ["worker", "gate"]}
"""The command of each program, by its name."""


@dataclass
class Stand:
    """The stack, and what a cause or an operator does with it."""

    folder: Path
    env: dict[str, str]
    kafka: PrivateBroker
    clickhouse: EndpointProcess
    kafka_disk: Disk
    clickhouse_disk: Disk
    prometheus: Prometheus
    shell: Shell
    client: httpx.AsyncClient
    store: ShownStore
    exporter_port: int
    programs: dict[str, Program] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.env[f"{PREFIX}PUBLIC_URL"]

    # -- programs

    async def start(self, name: str, script: Path = SENDLEDGER, **settings: str) -> None:
        """Start a program, in place of one that has ended, and wait until it is ready. `settings` differ from usual."""
        program = _WORDS[name.partition("-")[0]]
        env = self.env | {PREFIX + setting.upper(): value for setting, value in settings.items()}
        log = self.folder / f"{name}.log"
        self.programs[name] = Program(program, self._env_of(name, env), log, script)
        await self.programs[name].start()
        await until(lambda: self._is_ready(name), f"{name} to be ready: see {log}")

    async def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a program with a signal, if it runs."""
        program = self.programs[name]
        if program.process is not None and program.process.returncode is None:
            await program.end(number)

    async def restart(self, name: str, script: Path = SENDLEDGER, **settings: str) -> None:
        """Deploy: stop a program, and start it as another release or with other settings."""
        await self.end(name)
        await self.start(name, script, **settings)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a program."""
        process = self.programs[name].process
        assert process is not None
        process.send_signal(number)

    def pid(self, name: str) -> int:
        """The process id of a program."""
        process = self.programs[name].process
        assert process is not None
        return process.pid

    def log_of(self, name: str) -> str:
        return self.programs[name].log.read_text()

    def _env_of(self, name: str, env: dict[str, str]) -> dict[str, str]:
        port = str(self.ports[name])
        if name.startswith("gateway"):
            return env | {f"{PREFIX}PORT": port}
        return env | {f"{PREFIX}METRICS_PORT": port, f"{PREFIX}INSTANCE": f"{name}-0"}

    async def _is_ready(self, name: str) -> bool:
        process = self.programs[name].process
        assert process is not None
        assert process.returncode is None, f"{name} has ended: {self.log_of(name)[-2000:]}"
        if name.startswith("gateway"):
            return await answering(f"http://127.0.0.1:{self.ports[name]}/healthz")
        try:
            metrics = await self.client.get(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=2)
        except httpx.HTTPError:
            return False
        return f'sendledger_up{{program="{name}"}} 1.0' in metrics.text

    async def revive(self) -> list[str]:
        """Start the programs that have ended, as their supervisor does; return their names."""
        ended = [name for name, one in self.programs.items() if one.process and one.process.returncode is not None]
        for name in ended:
            await self.start(name)
        return ended

    # -- Prometheus

    async def watch(self, factor: int, more: Sequence[str] = ()) -> None:
        """Have Prometheus read the programs, also those in `more`, with all durations of the alerts divided."""
        (self.folder / "rules.yml").write_text(rules_text(groups=shortened_groups(factor)), encoding="utf-8")
        configuration = _prometheus(self.folder, self._targets(more))
        (self.folder / "prometheus.yml").write_bytes(orjson.dumps(configuration))
        await self.prometheus.reload()

    def _targets(self, more: Sequence[str]) -> Mapping[str, Sequence[int]]:
        jobs: dict[str, list[int]] = {"clickhouse": [self.exporter_port]}
        for name in (*_WORDS, *more):
            jobs.setdefault(f"sendledger-{name.partition('-')[0]}", []).append(self.ports[name])
        return jobs

    async def alerts(self, *states: str) -> set[str]:
        """The names of the alerts in one of these states."""
        return {one["labels"]["alertname"] for one in await self.prometheus.alerts() if one["state"] in states}

    # -- traffic

    async def webhook(self, events: Sequence[Mapping[str, Any]], key: str = "") -> int:
        """Post events as SendGrid does, signed with `key`; return the status."""
        body, signed_at = orjson.dumps(events), str(int(time.time()))
        signature = sign_sendgrid(key or self.env[f"{PREFIX}DEV_SENDGRID_PRIVATE_KEY"], signed_at, body)
        headers = {
            "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
            "X-Twilio-Email-Event-Webhook-Signature": signature,
        }
        answer = await self.client.post(f"{self.url}/webhooks/sendgrid", content=body, headers=headers)
        return answer.status_code

    async def ask(self, requests: Sequence[Mapping[str, Any]]) -> int:
        """Request messages of the account `demo`; return the status."""
        headers = {"Authorization": f"Bearer {self.env[f'{PREFIX}DEV_TOKEN_PUBLISHER']}"}
        return (await self.client.post(f"{self.url}/v1/sends", json=list(requests), headers=headers)).status_code

    async def read(self, path: str, role: str = "VIEWER") -> int:
        """Read something over HTTP; return the status."""
        headers = {"Authorization": f"Bearer {self.env[f'{PREFIX}DEV_TOKEN_{role}']}"}
        return (await self.client.get(f"{self.url}{path}", headers=headers)).status_code

    async def publish(self, topic: str, *records: bytes) -> None:
        """Write records to Kafka, as another system does."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.kafka.bootstrap, acks="all", max_request_size=MAX_MESSAGE_BYTES, linger_ms=20
        ) as producer:
            waiting = [await producer.send(topic, record, key=b"%d" % n) for n, record in enumerate(records)]
            await asyncio.gather(*waiting)

    async def caught_up(self) -> None:
        """Wait until both workers have read everything."""
        groups = consumer_groups("ledger", "gate")
        behind = await wait_until_caught_up(self.kafka.bootstrap, groups, within_seconds=PATIENCE_SECONDS)
        assert behind == 0


@asynccontextmanager
async def a_stand(folder: Path) -> AsyncIterator[Stand]:
    """Start everything; end all of it with the block."""
    port, base = free_port_base(), free_port_base()
    async with AsyncExitStack() as parts:
        kafka_disk = parts.enter_context(small_disk(folder / "kafka", _DISK_MIB))
        clickhouse_disk = parts.enter_context(small_disk(folder / "clickhouse", _DISK_MIB))
        kafka = PrivateBroker(kafka_disk.folder / "data", port, port + 1)
        clickhouse = EndpointProcess(clickhouse_disk.folder / "data")
        parts.push_async_callback(_end_of, kafka, clickhouse)
        await asyncio.gather(kafka.start(), clickhouse.start())
        env = _settings(folder, base, kafka, clickhouse)
        await create_topics(read(TopicSettings, kafka_bootstrap=kafka.bootstrap))
        store = ShownStore(clickhouse.url)
        parts.callback(store.close)
        await asyncio.to_thread(migrate.apply, store)
        exporter_port = parts.enter_context(clickhouse_exporter(clickhouse.url))
        prometheus = await parts.enter_async_context(
            running_prometheus(folder, _prometheus(folder, {}), "--web.enable-lifecycle")
        )
        client = await parts.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30, limits=_MANY))
        stand = Stand(
            folder,
            env,
            kafka,
            clickhouse,
            kafka_disk,
            clickhouse_disk,
            prometheus,
            Shell(folder),
            client,
            store,
            exporter_port,
        )
        stand.ports = {"gateway": base, "ledger": base + 4, "gate": base + 5, "gateway-2": base + 6}
        parts.push_async_callback(_end_of_programs, stand)
        await asyncio.gather(*map(stand.start, _WORDS))
        yield stand


_MANY: Final = httpx.Limits(max_connections=400, max_keepalive_connections=50)


async def _end_of(kafka: PrivateBroker, clickhouse: EndpointProcess) -> None:
    await kafka.kill()
    await clickhouse.end(signal.SIGKILL)


async def _end_of_programs(stand: Stand) -> None:
    for name in stand.programs:
        await stand.end(name, signal.SIGKILL)


def _settings(folder: Path, base: int, kafka: PrivateBroker, clickhouse: EndpointProcess) -> dict[str, str]:
    """All settings, as `sendledger up` makes them; they are in the folder's `.data/dev.env`, too."""
    given = {"KAFKA_BOOTSTRAP": kafka.bootstrap, "CLICKHOUSE_URL": clickhouse.url, "GROUP_SECONDS": "0.1"}
    data = folder / ".data"
    data.mkdir()
    env = stack_settings(data, Ports(base), {PREFIX + name: value for name, value in given.items()})
    (data / "dev.env").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items()))
    return env


def _prometheus(folder: Path, targets: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The configuration of Prometheus: the ports to read, by job."""
    (folder / "rules.yml").touch()
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
            for job, ports in targets.items()
        ],
    }
