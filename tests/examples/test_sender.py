"""The sender of docs/examples on a real Kafka, with a provider on loopback: killed in the middle, and started again."""

import asyncio
import base64
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from docs.examples.request_sends import reminder, request_over_kafka
from schemas.decoding.sends import Dispatch, decode_dispatch, decode_request
from schemas.decoding.times import rfc3339
from schemas.events import SourcePosition
from schemas.providers import sendgrid, twilio
from schemas.records import SendDecision
from tests.application.building import NOW_US, a_message_id, a_send
from tests.engine.processes import ROOT, until
from tests.http_server import serving
from tests.kafka.broker import broker_with_topics

pytestmark = [pytest.mark.kafka, pytest.mark.process]

SENDER: Final = str(ROOT / "docs" / "examples" / "sender.py")
REFUSED: Final = ("blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded")
AT: Final = SourcePosition("webhooks.test", 0, 0, NOW_US)


def decision(number: int, outcome: str = "approved", **said: Any) -> dict[str, Any]:
    """A decision as the gate publishes it, about a request with these fields."""
    request = a_send(message_id=a_message_id(number=number), **said)
    made = {
        "message_id": request["message_id"],
        "account_id": request["account_id"],
        "outcome": outcome,
        "reason": "ok" if outcome == "approved" else outcome,
        "detail": "",
        "evidence": [],
        "decided_at": rfc3339(NOW_US),
        "channel": request["channel"],
        "to": request["to"],
        "request": request,
    }
    SendDecision.model_validate(made)
    return made


SMS: Final = {"channel": "sms", "to": "+447700900123"}
ANSWERED: Final = [decision(1), decision(2, cc=["cc@example.com", "ANN@example.com"]), decision(3, **SMS)]
UNANSWERED: Final = decision(4, to="slow@example.com")
NOT_ACCEPTED: Final = decision(5, channel="sms", to="+10000000000")
TOO_OLD: Final = decision(6) | {"decided_at": rfc3339(NOW_US - 25 * 3_600_000_000)}
ABORTED: Final = decision(7, to="aborted@example.com")
SAME_ID_OF_ANOTHER: Final = decision(1, account_id="globex")
NOT_APPROVED: Final = [decision(10 + n, outcome) for n, outcome in enumerate(REFUSED)]
LATER: Final = decision(20)


@dataclass
class Provider:
    """What both providers got, in order, and when the slow one answers."""

    got: list[dict[str, Any]] = field(default_factory=list)
    answer: Flag = field(default_factory=Flag)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return the handler of an HTTP server that is SendGrid and Twilio."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                said = {"path": self.path, "authorization": self.headers["Authorization"], "body": body}
                if self.path == "/v3/mail/send":
                    mail = orjson.loads(body)
                    provider.got.append(said | {"mail": mail, **mail["personalizations"][0]["custom_args"]})
                    if mail["personalizations"][0]["to"][0]["email"].startswith("slow"):
                        provider.answer.wait(120)
                    self._respond(202, b"", {"X-Message-Id": f"sg-{len(provider.got)}"})
                    return
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                ids = parse_qs(form["StatusCallback"].partition("?")[2].partition("#")[0])
                provider.got.append(said | {"form": form} | {name: values[0] for name, values in ids.items()})
                if form["To"] == NOT_ACCEPTED["to"]:
                    self._respond(400, b'{"code": 21211, "message": "Invalid \'To\' Phone Number"}', {})
                else:
                    self._respond(201, b'{"sid": "SM%032d"}' % len(provider.got), {})

            def _respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        return Handler

    def calls(self) -> Counter[tuple[str, str]]:
        """How often each message was handed over."""
        return Counter((one["sl_account"], one["sl_message"]) for one in self.got)

    def of(self, decision: dict[str, Any]) -> dict[str, Any]:
        """Return what was handed over for a decision."""
        (found,) = [one for one in self.got if (one["sl_account"], one["sl_message"]) == key(decision)]
        return found


def key(decision: dict[str, Any]) -> tuple[str, str]:
    return decision["account_id"], decision["message_id"]


async def publish(bootstrap: str, decisions: list[dict[str, Any]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for one in decisions:
            await producer.send_and_wait("sends.decided", orjson.dumps(one), key=one["message_id"].encode())


async def publish_and_abort(bootstrap: str, decision: dict[str, Any]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="gate-that-died") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait("sends.decided", orjson.dumps(decision), key=decision["message_id"].encode())
        await producer.abort_transaction()


async def values(bootstrap: str, topic: str) -> list[tuple[bytes, bytes]]:
    """The keys and values in the one partition of a topic."""
    tp = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        found = []
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.key, record.value) for record in records]
        return found


class Run(NamedTuple):
    """The end of the story: what the provider got, what was dispatched, and what the program said."""

    provider: Provider
    dispatches: list[Dispatch]
    exit_code: int
    unsure: str
    calls_before_resend: Counter[tuple[str, str]]
    dispatches_before_resend: list[Dispatch]
    requests: list[tuple[bytes, bytes]]


def dispatch_of(record: tuple[bytes, bytes]) -> Dispatch:
    """Decode a record of `sends.dispatched` as the ledger does, and compare its key."""
    found = decode_dispatch(record[1], SourcePosition("sends.dispatched", 0, 0, time.time_ns() // 1000))
    assert record[0].decode() == found.message_id
    return found


@pytest.fixture(scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    """Kill the sender while a provider holds one call; start it again; stop it; send again what nobody knows about."""
    folder, provider = tmp_path_factory.mktemp("sender"), Provider()
    async with broker_with_topics(folder, partitions=1) as bootstrap:
        first = [*ANSWERED, ANSWERED[0], UNANSWERED, NOT_ACCEPTED, TOO_OLD, SAME_ID_OF_ANOTHER]
        await publish_and_abort(bootstrap, ABORTED)
        await publish(bootstrap, [*first, *NOT_APPROVED])
        with serving(provider.handler()) as port:
            env = {
                "KAFKA_BOOTSTRAP": bootstrap,
                "GATEWAY_URL": "https://ledger.example",
                "SENDGRID_API_KEY": "SG.key",
                "TWILIO_ACCOUNT_SID": "AC1",
                "TWILIO_AUTH_TOKEN": "secret",
                "EMAIL_FROM": "hello@booking.example",
                "SMS_FROM": "MG1",
                "SENDGRID_URL": f"http://127.0.0.1:{port}",
                "TWILIO_URL": f"http://127.0.0.1:{port}",
                "SENDER_INSTANCE": "sender-0",
                "SENDER_STORE": str(folder / "sent.sqlite"),
            }

            async def start(*arguments: str) -> asyncio.subprocess.Process:
                return await asyncio.create_subprocess_exec(
                    sys.executable, SENDER, *arguments, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE
                )

            killed = await start()
            # The others are answered, and nothing is committed, since one call of the batch is not answered.
            await until(lambda: len(provider.got) == 6, "six calls")
            await until(lambda: _noted(folder) == 5, "notes of five answers")
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
            provider.answer.set()
            again = await start()
            await publish(bootstrap, [LATER])
            await until(lambda: key(LATER) in provider.calls(), "the later message")
            again.send_signal(signal.SIGTERM)
            exit_code = await again.wait()
            unsure, _ = await (await start("--unsure")).communicate()
            calls = provider.calls()
            dispatches = [dispatch_of(one) for one in await values(bootstrap, "sends.dispatched")]
            assert await (await start("--resend", *key(UNANSWERED))).wait() == 0
        after = [dispatch_of(one) for one in await values(bootstrap, "sends.dispatched")]
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            await request_over_kafka(producer, [reminder("acme", "ann@example.com", "c-17")])
        requests = await values(bootstrap, "sends.requested")
        yield Run(provider, after, exit_code, unsure.decode(), calls, dispatches, requests)


def _noted(folder: Path) -> int:
    """The number of calls that the killed sender has finished. Another process may read its file meanwhile."""
    with sqlite3.connect(folder / "sent.sqlite") as db:
        query = "SELECT count(*) FROM sent WHERE state <> 'calling' AND detail <> 'too old'"
        found: int = db.execute(query).fetchone()[0]
    db.close()
    return found


def test_each_approved_message_is_sent_once_although_the_sender_was_killed(run: Run) -> None:
    sent = [*ANSWERED, UNANSWERED, NOT_ACCEPTED, SAME_ID_OF_ANOTHER, LATER]
    assert run.calls_before_resend == dict.fromkeys(map(key, sent), 1)


@pytest.mark.parametrize("refused", NOT_APPROVED, ids=REFUSED)
def test_a_refused_message_is_never_sent(run: Run, refused: dict[str, Any]) -> None:
    assert key(refused) not in run.provider.calls()


def test_a_decision_of_an_aborted_transaction_is_never_sent(run: Run) -> None:
    assert key(ABORTED) not in run.provider.calls()


def test_a_decision_that_is_too_old_is_not_sent(run: Run) -> None:
    assert key(TOO_OLD) not in run.provider.calls()


def test_what_was_accepted_is_dispatched_as_the_ledger_reads_it(run: Run) -> None:
    accepted = [*ANSWERED, SAME_ID_OF_ANOTHER, LATER]
    found = {(one.account_id, one.message_id): one for one in run.dispatches_before_resend}
    assert found.keys() == set(map(key, accepted))
    assert {one.provider for one in found.values()} == {"sendgrid", "twilio"}
    assert found[key(ANSWERED[2])].provider_message_id.startswith("SM0")


def test_a_dispatch_that_is_written_twice_is_the_same_fact(run: Run) -> None:
    assert len({one.dispatch_hash for one in run.dispatches_before_resend}) == 5


def test_a_message_whose_call_was_never_answered_is_listed_and_sent_again_on_request_only(run: Run) -> None:
    assert run.unsure == f"{UNANSWERED['account_id']} {UNANSWERED['message_id']}\n"
    assert run.provider.calls()[key(UNANSWERED)] == 2
    assert [key(UNANSWERED)] == [
        (d.account_id, d.message_id) for d in run.dispatches[len(run.dispatches_before_resend) :]
    ]


def test_it_stops_when_it_is_told_to(run: Run) -> None:
    assert run.exit_code == 0


def test_the_adapter_finds_our_ids_in_an_event_of_a_mail(run: Run) -> None:
    sent = run.provider.of(ANSWERED[1])
    personalization = sent["mail"]["personalizations"][0]
    element = {"event": "delivered", "email": "ann@example.com", "timestamp": NOW_US // 1_000_000}
    (event,) = sendgrid.to_events(orjson.dumps([element | personalization["custom_args"]]), AT).events
    assert (event.account_id, event.message_id) == key(ANSWERED[1])
    assert personalization["cc"] == [{"email": "cc@example.com"}], "SendGrid refuses an address that is named twice"
    assert sent["authorization"] == "Bearer SG.key"


def test_the_adapter_finds_our_ids_in_a_callback_of_an_sms(run: Run) -> None:
    sent = run.provider.of(ANSWERED[2])
    called = sent["form"]["StatusCallback"].partition("#")[0]
    headers = [("request_url", called.encode())]
    (event,) = twilio.to_events(b"MessageStatus=delivered&MessageSid=SM1&To=%2B447700900123", AT, headers).events
    assert (event.account_id, event.message_id) == key(ANSWERED[2])
    assert called.startswith("https://ledger.example/webhooks/twilio?sl_account=")
    assert sent["form"]["MessagingServiceSid"] == "MG1"
    assert sent["path"] == "/2010-04-01/Accounts/AC1/Messages.json"
    assert base64.b64decode(sent["authorization"].removeprefix("Basic ")) == b"AC1:secret"


def test_a_request_over_kafka_is_one_that_the_gate_reads(run: Run) -> None:
    ((record_key, value),) = run.requests
    read = decode_request(value, SourcePosition("sends.requested", 0, 0, time.time_ns() // 1000), decision_days=30)
    assert (read.account_id, read.to_key, read.message_id) == ("acme", "ann@example.com", record_key.decode())
