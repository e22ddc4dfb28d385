"""Send what the gate approved: a complete sender for a booking service, to copy and to change.

In:  `sends.decided`, read by a consumer group.
Out: a call of SendGrid or Twilio for each approved message; a record in `sends.dispatched` for each accepted call.
Promise: whenever it is killed, a message is never sent twice, and a message is skipped only if this program can't know
     whether the provider has it. `--unsure` lists those; a setting says to send them again instead.

    python sender.py                              run until SIGTERM
    python sender.py --unsure                     list the messages that the provider may or may not have
    python sender.py --resend ACCOUNT MESSAGE_ID  send one of them again

It needs the packages aiokafka and httpx, and nothing of sendledger. Exit codes: 0 stopped, 3 wrong settings or keys,
4 Kafka or a provider does not answer.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

log = logging.getLogger("sender")

Decision = Mapping[str, Any]
"""A record of `sends.decided`, as JSON."""
Sleep = Callable[[float], Awaitable[None]]

RECORDS_AT_ONCE: Final = 50
TRIES: Final = 6
"""Calls of one message, with waits of 1, 2, 4 … s between them: less than Kafka's max.poll.interval of 5 minutes."""


# --- Settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What a sender needs to know. `from_environment` reads it, once."""

    kafka_bootstrap: str
    gateway_url: str
    """The public URL of sendledger's gateway, which Twilio calls."""
    sendgrid_api_key: str
    twilio_account_sid: str
    twilio_auth_token: str
    email_from: str
    """The sender of a mail that names none."""
    sms_from: str
    """The sender of an SMS that names none: a number, or the SID of a Messaging Service."""
    store: Path
    resend_when_unsure: bool = False
    """Send a message again that the provider may have: for reminders, twice is better than never."""
    hours_valid: int = 24
    """An older decision is not sent: it matters at the first start, and after days of an outage."""
    sendgrid_url: str = "https://api.sendgrid.com"
    twilio_url: str = "https://api.twilio.com"
    group: str = "sender"
    instance: str | None = None
    """A name that survives a restart: then Kafka returns the partitions at once, without waiting for the dead one."""


def from_environment() -> Settings:
    """Return the settings. Exits with 3, naming every variable that is missing."""
    env = os.environ  # noqa: TID251 - a program of the booking service, not of sendledger
    required = {
        "kafka_bootstrap": "KAFKA_BOOTSTRAP",
        "gateway_url": "GATEWAY_URL",
        "sendgrid_api_key": "SENDGRID_API_KEY",
        "twilio_account_sid": "TWILIO_ACCOUNT_SID",
        "twilio_auth_token": "TWILIO_AUTH_TOKEN",
        "email_from": "EMAIL_FROM",
        "sms_from": "SMS_FROM",
    }
    if missing := sorted(name for name in required.values() if not env.get(name)):
        log.error("these variables are not set: %s", ", ".join(missing))
        sys.exit(3)
    optional = {
        "sendgrid_url": "SENDGRID_URL",
        "twilio_url": "TWILIO_URL",
        "group": "SENDER_GROUP",
        "instance": "SENDER_INSTANCE",
    }
    texts = {name: env[variable] for name, variable in (required | optional).items() if variable in env}
    return Settings(
        **texts,
        store=Path(env.get("SENDER_STORE", "sent.sqlite")),
        resend_when_unsure=env.get("SENDER_WHEN_UNSURE", "hold") == "resend",
        hours_valid=int(env.get("SENDER_HOURS_VALID", "24")),
    )


# --- What a message says: replace this with the templates of your service --------------------------------------------


@dataclass(frozen=True)
class Content:
    """What is sent. An SMS is its `text` alone."""

    text: str
    html: str = ""


def content_of(request: Mapping[str, Any]) -> Content:
    """Render the template that the request names, for its recipient and appointment."""
    name = request["recipient"].get("name") or "customer"
    return Content(text=f"Dear {name}, this is your {request['template']['name'].lower()}.")


# --- Providers --------------------------------------------------------------------------------------------------------


class NotAccepted(Exception):
    """The provider certainly has not taken the message, and will not: the address or the content is at fault."""


class TryAgain(Exception):
    """The provider certainly has not taken the message, and may take it later."""


class Unsure(Exception):
    """The request was sent and not answered as it should be: the provider may have the message or not."""


class KeysRefused(Exception):
    """The provider refuses our key: no message can be sent until a person has acted."""


class Provider(Protocol):
    """The port: one call of a provider for one message."""

    name: str

    async def send(self, decision: Decision, content: Content) -> str:
        """Return the provider's id of the message, or blank if it accepted the message and gave none.

        Raises NotAccepted, TryAgain, Unsure and KeysRefused.
        """


class SendGrid:
    """SendGrid's v3 Mail Send. The custom args `sl_account` and `sl_message` come back in every event of a message."""

    name = "sendgrid"

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._http, self._settings = http, settings

    async def send(self, decision: Decision, content: Content) -> str:
        """Return the header `X-Message-Id`, with which every `sg_message_id` of the message begins."""
        response = await posted(
            self._http,
            f"{self._settings.sendgrid_url}/v3/mail/send",
            headers={"Authorization": f"Bearer {self._settings.sendgrid_api_key}"},
            json=sendgrid_mail(decision, content, self._settings.email_from),
        )
        return str(response.headers.get("X-Message-Id", ""))


def sendgrid_mail(decision: Decision, content: Content, default_from: str) -> dict[str, Any]:
    """Return the body of a Mail Send: one personalization, so that all its events have the ids of this message."""
    request = decision["request"]
    to = request["to"]
    personalization: dict[str, Any] = {
        "to": [{"email": to}],
        "custom_args": {"sl_account": decision["account_id"], "sl_message": decision["message_id"]},
    }
    # SendGrid refuses a mail that names an address twice.
    if copies := {cc.lower(): cc for cc in request.get("cc") or () if cc.lower() != to.lower()}:
        personalization["cc"] = [{"email": cc} for cc in copies.values()]
    parts = [("text/plain", content.text), ("text/html", content.html)]
    mail: dict[str, Any] = {
        "personalizations": [personalization],
        "from": {"email": request.get("from") or default_from},
        "subject": request.get("subject") or request["template"]["name"],
        "content": [{"type": kind, "value": value} for kind, value in parts if value],
    }
    group = str(request["template"].get("unsubscribe_group") or "")
    if group.isdecimal():  # SendGrid's groups are numbers
        mail["asm"] = {"group_id": int(group)}
    return mail


class Twilio:
    """Twilio's Messages API. The StatusCallback has our ids in its query, in the order that Twilio signs."""

    name = "twilio"

    def __init__(self, http: httpx.AsyncClient, settings: Settings) -> None:
        self._http, self._settings = http, settings

    async def send(self, decision: Decision, content: Content) -> str:
        """Return the Sid of the message."""
        account = self._settings.twilio_account_sid
        response = await posted(
            self._http,
            f"{self._settings.twilio_url}/2010-04-01/Accounts/{account}/Messages.json",
            auth=(account, self._settings.twilio_auth_token),
            data=twilio_message(decision, content, self._settings),
        )
        try:
            return str(response.json()["sid"])
        except (ValueError, LookupError):  # accepted, whatever its body is
            return ""


def twilio_message(decision: Decision, content: Content, settings: Settings) -> dict[str, str]:
    """Return the form of a new message. The fragment asks Twilio to repeat a callback that fails."""
    ids = urlencode([("sl_account", decision["account_id"]), ("sl_message", decision["message_id"])])
    sender = decision["request"].get("from") or settings.sms_from
    return {
        "To": decision["request"]["to"],
        "MessagingServiceSid" if sender.startswith("MG") else "From": sender,
        "Body": content.text,
        "StatusCallback": f"{settings.gateway_url}/webhooks/twilio?{ids}#rc=5&rp=all",
    }


async def posted(http: httpx.AsyncClient, url: str, **said: Any) -> httpx.Response:
    """Post, and return a response of success. Raises what `Provider.send` raises."""
    try:
        response = await http.post(url, **said)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:  # nothing was sent
        raise TryAgain(repr(error)) from error
    except httpx.HTTPError as error:
        raise Unsure(repr(error)) from error
    why = f"{response.status_code} {response.text[:500]}"
    if response.is_success:
        return response
    if response.status_code in {401, 403}:
        raise KeysRefused(why)
    if response.status_code in {429, 503}:
        raise TryAgain(why)
    if response.is_client_error:
        raise NotAccepted(why)
    raise Unsure(why)


# --- What was sent ----------------------------------------------------------------------------------------------------


class SentStore:
    """What this sender did with each message, in SQLite: written before a call and after it.

    A message is named by its account and its id, since ids are separate for each account. A file is enough for senders
    on one machine. Senders on several machines need one table for all of them, in the database of your service.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)  # every statement is committed, and on the disk
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS sent (account_id TEXT, message_id TEXT, state TEXT, decision TEXT,"
            " dispatch TEXT, detail TEXT, PRIMARY KEY (account_id, message_id))"
        )

    def claim(self, decision: Decision) -> bool:
        """Note that the provider is about to be called. Returns False if this was noted before."""
        added = self._db.execute(
            "INSERT OR IGNORE INTO sent VALUES (?, ?, 'calling', ?, NULL, '')",
            (*key_of(decision), json.dumps(decision)),
        )
        return added.rowcount == 1

    def release(self, decision: Decision) -> None:
        """Forget a message that the provider certainly does not have."""
        self._db.execute("DELETE FROM sent WHERE account_id = ? AND message_id = ?", key_of(decision))

    def note_sent(self, decision: Decision, dispatch: Mapping[str, str] | None) -> None:
        """Note that the provider has the message, with its record of `sends.dispatched`, if there is one."""
        self._note(decision, "sent", json.dumps(dispatch) if dispatch else None, "")

    def note_refused(self, decision: Decision, why: str) -> None:
        """Note that the provider does not want the message."""
        self._note(decision, "refused", None, why)

    def _note(self, decision: Decision, state: str, dispatch: str | None, detail: str) -> None:
        self._db.execute(
            "UPDATE sent SET state = ?, dispatch = ?, detail = ? WHERE account_id = ? AND message_id = ?",
            (state, dispatch, detail, *key_of(decision)),
        )

    def state(self, decision: Decision) -> tuple[str, dict[str, str] | None]:
        """Return the state of a message, and its record of `sends.dispatched` if it was sent."""
        state, dispatch = self._db.execute(
            "SELECT state, dispatch FROM sent WHERE account_id = ? AND message_id = ?", key_of(decision)
        ).fetchone()
        return state, json.loads(dispatch) if dispatch else None

    def unsure(self) -> list[Decision]:
        """Return the decisions whose call was begun and never finished, the oldest first."""
        rows = self._db.execute("SELECT decision FROM sent WHERE state = 'calling' ORDER BY rowid").fetchall()
        return [json.loads(row[0]) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def key_of(decision: Decision) -> tuple[str, str]:
    """Return what names a message. An account id may be a number in JSON."""
    return str(decision["account_id"]), decision["message_id"]


# --- The sender -------------------------------------------------------------------------------------------------------


class Sender:
    """Decides what to do with each decision, and does it at most once."""

    def __init__(
        self, settings: Settings, store: SentStore, email: Provider, sms: Provider, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._settings, self._store, self._sleep = settings, store, sleep
        self._providers = {"email": email, "sms": sms}

    async def handle(self, decision: Decision) -> dict[str, str] | None:
        """Send one decision if that is right; return its record of `sends.dispatched`, or None.

        Raises TryAgain and KeysRefused: then the message is as if it had never been read.
        """
        if decision["outcome"] != "approved":
            return None
        content = content_of(decision["request"])  # before anything is noted: if this fails, nothing was begun
        if self._store.claim(decision):
            return await self._first_call(decision, content)
        state, dispatch = self._store.state(decision)
        if state == "calling" and self._settings.resend_when_unsure:
            log.warning("sent again, maybe for the second time: %s", decision["message_id"])
            return await self.call(decision, content)
        if state == "calling":
            log.error("not sent again, since the provider may have it: %s; see --unsure", decision["message_id"])
        return dispatch

    async def _first_call(self, decision: Decision, content: Content) -> dict[str, str] | None:
        if _age(decision) > timedelta(hours=self._settings.hours_valid):
            self._store.note_refused(decision, "too old")
            log.warning("too old, not sent: %s", decision["message_id"])
            return None
        try:
            return await self.call(decision, content)
        except (TryAgain, KeysRefused):
            self._store.release(decision)
            raise

    async def call(self, decision: Decision, content: Content) -> dict[str, str] | None:
        """Call the provider of a message that is noted as begun. Returns and raises as `handle` does."""
        provider = self._providers[decision["channel"]]
        try:
            provider_message_id = await self._patiently(provider, decision, content)
        except NotAccepted as error:
            self._store.note_refused(decision, str(error))
            log.warning("%s does not accept %s: %s", provider.name, decision["message_id"], error)
            return None
        except Unsure as error:
            log.error("%s may have %s or not: %s; see --unsure", provider.name, decision["message_id"], error)  # noqa: TRY400
            return None
        dispatch = {
            "message_id": decision["message_id"],
            "account_id": decision["account_id"],
            "provider": provider.name,
            "provider_message_id": provider_message_id,
            "dispatched_at": datetime.now(UTC).isoformat(),
        }
        known = dispatch if provider_message_id else None  # without an id, events still name the message by our ids
        self._store.note_sent(decision, known)
        return known

    async def _patiently(self, provider: Provider, decision: Decision, content: Content) -> str:
        """Call until the provider takes the message, for about a minute. Raises what the last call raised."""
        repeatable = (TryAgain, Unsure) if self._settings.resend_when_unsure else TryAgain
        for wait_seconds in (2**n for n in range(TRIES - 1)):
            try:
                return await provider.send(decision, content)
            except repeatable as error:
                log.warning("%s, again in %d s: %r", provider.name, wait_seconds, error)
                await self._sleep(wait_seconds)
        return await provider.send(decision, content)


def _age(decision: Decision) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(decision["decided_at"])


async def run(settings: Settings, sender: Sender, stop: asyncio.Event) -> None:
    """Read, send, write what was sent, commit: until `stop` is set. Raises what ends the program."""
    async with AsyncExitStack() as opened:
        producer = await _producer(settings, opened)
        consumer = AIOKafkaConsumer(
            "sends.decided",
            bootstrap_servers=settings.kafka_bootstrap,
            group_id=settings.group,
            group_instance_id=settings.instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # "latest" would skip what is decided before the group's first commit
            isolation_level="read_committed",  # the gate writes in transactions, and an aborted one decided nothing
        )
        await consumer.start()
        opened.push_async_callback(consumer.stop)
        while not stop.is_set():
            batches = await consumer.getmany(timeout_ms=500, max_records=RECORDS_AT_ONCE)
            decisions = [json.loads(record.value) for records in batches.values() for record in records]
            if not decisions:
                continue
            # The gate may publish a decision twice, each time identical: once in a batch is enough.
            different = {key_of(decision): decision for decision in decisions}
            handled = await asyncio.gather(*map(sender.handle, different.values()), return_exceptions=True)
            for dispatch in handled:
                if dispatch is not None and not isinstance(dispatch, BaseException):
                    await write_dispatch(producer, dispatch)
            if failed := [one for one in handled if isinstance(one, BaseException)]:
                raise failed[0]  # nothing is committed: after a restart, all are read again, and none is sent again
            await consumer.commit()


async def write_dispatch(producer: AIOKafkaProducer, dispatch: Mapping[str, str]) -> None:
    """Write a record of `sends.dispatched`, under its message id. Written twice, an identical one counts once."""
    await producer.send_and_wait("sends.dispatched", json.dumps(dispatch).encode(), key=dispatch["message_id"].encode())


async def _producer(settings: Settings, opened: AsyncExitStack) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    opened.push_async_callback(producer.stop)
    return producer


async def resend(settings: Settings, sender: Sender, decision: Decision) -> None:
    """Send one message again that the provider may have, because a person has found that it does not."""
    async with AsyncExitStack() as opened:
        producer = await _producer(settings, opened)
        if dispatch := await sender.call(decision, content_of(decision["request"])):
            await write_dispatch(producer, dispatch)


async def main() -> int:
    """Run the program, and return its exit code."""
    parser = argparse.ArgumentParser(description="Send what the gate approved.")
    parser.add_argument("--unsure", action="store_true", help="list the messages that the provider may or may not have")
    parser.add_argument("--resend", nargs=2, metavar=("ACCOUNT", "MESSAGE_ID"), help="send one of them again")
    given = parser.parse_args()
    settings = from_environment()
    async with AsyncExitStack() as opened:
        store = SentStore(settings.store)
        opened.callback(store.close)
        http = await opened.enter_async_context(httpx.AsyncClient(timeout=httpx.Timeout(20, connect=5)))
        sender = Sender(settings, store, SendGrid(http, settings), Twilio(http, settings))
        unsure = {key_of(decision): decision for decision in store.unsure()}
        if given.unsure:
            sys.stdout.writelines(f"{account} {message_id}\n" for account, message_id in unsure)
            return 0
        if given.resend and tuple(given.resend) not in unsure:
            log.error("not among the messages of --unsure")
            return 3
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            if given.resend:
                await resend(settings, sender, unsure[tuple(given.resend)])
            else:
                await run(settings, sender, stop)
        except KeysRefused as error:
            log.error("a provider refuses our key: %s", error)  # noqa: TRY400 - the traceback says nothing more
            return 3
        except (TryAgain, KafkaError) as error:
            log.error("stopped, start me again: %r", error)  # noqa: TRY400
            return 4
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.exit(asyncio.run(main()))
