"""Exercises with what providers post: refused, silent, late, unknown, and what became of the messages."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from schemas.decoding.times import rfc3339
from schemas.settings import PREFIX
from schemas.topics import SENDS_DISPATCHED
from simulator.signing import new_key_pair
from tests.gate.building import now_us
from tests.stack.firing.acts import deliveries, looks
from tests.stack.firing.exercise import Act, Exercise
from tests.stack.firing.runbooks import page
from tests.stack.firing.stand import Stand
from tests.stack.firing.traffic import delivered, event, events, usual

__all__ = ["PROVIDERS"]

_BOUNCES: Final = ("5.1.1", "5.2.1", "5.4.4", "5.0.0")
_REFUSALS: Final = ("5.7.1", "5.5.0", "4.7.0")
_WAVE: Final = ("ann@example.com", *(f"wave{n}@example.com" for n in range(119)))
_ASK_WHO_IS_SILENT: Final = looks("when-a-provider-is-silent", 0, 1, 2)
_REASON: Final = "550 5.1.1 User unknown"
_PUBLIC, _PRIVATE = f"{PREFIX}SENDGRID_PUBLIC_KEYS", f"{PREFIX}DEV_SENDGRID_PRIVATE_KEY"


def _posts(*groups: tuple[int, str, dict[str, Any]]) -> Act:
    """Post so many events of each kind, with these fields, as one webhook."""

    async def post(stand: Stand) -> None:
        assert await stand.webhook([one for count, kind, more in groups for one in events(count, kind, **more)]) == 204

    return post


# -- signatures


class _Rotation:
    """SendGrid has a new key, and the gateway does not know it yet."""

    def __init__(self, *, with_old: int) -> None:
        self._private, self._public = new_key_pair()
        self._with_old = with_old
        """How many posts are still signed with the old key, for each with the new one."""

    async def posts(self, stand: Stand) -> None:
        for _ in range(4):
            assert await stand.webhook(delivered(1), self._private) == 401
            for _ in range(self._with_old):
                assert await stand.webhook(delivered(1)) == 204

    async def add_the_key(self, stand: Stand) -> None:
        """docs/how-to/rotate-a-key.md: set the variable to `old,new`, and restart the gateway."""
        await stand.restart("gateway", sendgrid_public_keys=f"{stand.env[_PUBLIC]},{self._public}")

    async def accepted(self, stand: Stand) -> None:
        assert await stand.webhook(delivered(1), self._private) == 204

    async def back(self, stand: Stand) -> None:
        """The other exercises have the old key."""
        await stand.restart("gateway")


_PARTLY, _WHOLLY = _Rotation(with_old=2), _Rotation(with_old=0)

# -- silence


async def _dispatches(stand: Stand) -> None:
    await stand.publish(SENDS_DISPATCHED.name, *(orjson.dumps(_dispatched()) for _ in range(10)))


def _dispatched() -> dict[str, str]:
    ids = event("processed")
    return {
        "message_id": str(ids["sl_message"]),
        "account_id": "demo",
        "provider": "sendgrid",
        "provider_message_id": str(ids["sg_message_id"]),
        "dispatched_at": rfc3339(now_us()),
    }


# -- what a provider sent


async def _see_what_was_sent(stand: Stand) -> None:
    await stand.caught_up()
    await _run_sql(stand, "see-what-a-provider-sent")
    (look, *_) = page("see-what-a-provider-sent")
    await stand.shell.run(look.replace("EMAIL_ID", _a_message(stand)))


async def _run_sql(stand: Stand, name: str) -> None:
    found = [stand.store.tuples(sql) for sql in page(name, "sql")]
    assert any(found)


def _a_message(stand: Stand) -> str:
    return str(stand.store.tuples("SELECT email_id FROM messages WHERE account_id = 'demo' LIMIT 1")[0][0])


# -- what became of the messages


async def _see_why_they_bounce(stand: Stand) -> None:
    await stand.caught_up()
    await _run_sql(stand, "when-bounces-rise")
    read, _act = page("when-bounces-rise")
    await stand.shell.run(read.replace("EMAIL_ID", _a_message(stand)))


async def _complaints(stand: Stand) -> None:
    await deliveries(1000)(stand)
    await stand.caught_up()
    (reading,) = await stand.prometheus.query('sum(sendledger_events_total{type="delivered"})')
    count = max(5, int(float(reading["value"][1]) * 0.004))
    assert await stand.webhook(events(count, "spamreport")) == 204


async def _wave(stand: Stand) -> None:
    """A receiver has an outage: three bounces of each address, which suppress it."""
    assert await stand.webhook(delivered(200)) == 204
    for _ in range(3):
        bounces = [event("bounce", address, reason=_REASON, status="5.1.1") for address in _WAVE]
        assert await stand.webhook(bounces) == 204


async def _release_the_wave(stand: Stand) -> None:
    """docs/how-to/release-a-suppression-wave.md, with the times of now in place of the page's."""
    await stand.caught_up()
    look, preview, release, wait, refused, _undo = page("release-a-suppression-wave")
    await stand.shell.run(look)
    preview = _of_today(preview)
    printed = (await stand.shell.run(preview)).out
    found = dict(line.split("\t", 1) for line in printed.splitlines() if "\t" in line)
    assert found["addresses"] == str(len(_WAVE)), printed
    release = re.sub(r"^ID=\S+.*$", f"ID={found['id']}", release, flags=re.M)
    given = _assignments(preview, release)
    await stand.shell.run(f"{given}\n{release}")
    await stand.caught_up()
    await stand.shell.run(f"{given}\n{wait}")
    await stand.shell.run(f"{given}\n{refused}")


def _of_today(script: str) -> str:
    now = datetime.now(UTC)
    script = re.sub(r"--from \S+", f"--from {now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}", script)
    return re.sub(r"--to \S+", f"--to {now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}", script)


def _assignments(*scripts: str) -> str:
    return "\n".join(line for script in scripts for line in re.findall(r"^[A-Z]+=.*$", script, re.M))


async def _wave_is_released(stand: Stand) -> None:
    (look, *_) = page("release-a-suppression-wave")
    printed = (await stand.shell.run(look.splitlines()[0])).out
    assert not [address for address in _WAVE if address in printed], printed


def _failures(count: int, kind: str, codes: Sequence[str], **more: Any) -> tuple[tuple[int, str, dict[str, Any]], ...]:
    """So many failures with each of these codes."""
    return tuple((count, kind, {"status": code, "reason": f"550 {code} refused", **more}) for code in codes)


PROVIDERS: Final = (
    Exercise(
        alerts=("SignatureFailures",),
        cause="SendGrid signs a third of its posts with a new key",
        begin=_PARTLY.posts,
        goes_on=_PARTLY.posts,
        ended_by="the key is added, and the gateway restarted",
        mend=_PARTLY.add_the_key,
        usual=_PARTLY.accepted,
        over=_PARTLY.back,
        also=frozenset({"TargetDown", "GatewayDown"}),
    ),
    Exercise(
        alerts=("SignaturesAllRefused", "SignatureFailures"),
        cause="SendGrid signs all posts with a new key",
        begin=_WHOLLY.posts,
        goes_on=_WHOLLY.posts,
        ended_by="the key is added, and the gateway restarted",
        mend=_WHOLLY.add_the_key,
        usual=_WHOLLY.accepted,
        over=_WHOLLY.back,
        also=frozenset({"TargetDown", "GatewayDown"}),
    ),
    Exercise(
        alerts=("ComplaintRate",),
        cause="0.4 % of the recipients complain",
        begin=_complaints,
        ended_by="usual traffic, without complaints",
        mend=_see_why_they_bounce,
        usual=deliveries(1000),
    ),
    Exercise(
        alerts=("ProviderSilent",),
        cause="messages are handed over to SendGrid, and it posts nothing",
        begin=deliveries(50),
        goes_on=_dispatches,
        ended_by="it posts again",
        mend=_ASK_WHO_IS_SILENT,
        usual=usual,
    ),
    Exercise(
        alerts=("DeliveredSilent",),
        cause="SendGrid posts that messages are processed, and none is delivered",
        begin=_posts((25, "processed", {})),
        goes_on=_posts((5, "processed", {})),
        ended_by="it delivers again",
        mend=_ASK_WHO_IS_SILENT,
        usual=usual,
    ),
    Exercise(
        alerts=("EventsLate",),
        cause="SendGrid posts deliveries an hour late",
        begin=usual,
        goes_on=_posts((50, "delivered", {"seconds_ago": 3600})),
        ended_by="it posts in time",
        mend=_ASK_WHO_IS_SILENT,
        usual=usual,
    ),
    Exercise(
        alerts=("UnknownEvents",),
        cause="SendGrid posts 15 events of an unknown type",
        begin=_posts((15, "brand_new", {}), (5, "delivered", {})),
        ended_by="no more of them come",
        mend=_see_what_was_sent,
        usual=usual,
    ),
    Exercise(
        alerts=("OrphansMany",),
        cause="a sender leaves out our ids",
        begin=_posts((100, "delivered", {})),
        goes_on=_posts((50, "delivered", {"is_ours": False}), (10, "delivered", {})),
        ended_by="the sender is corrected",
        mend=_see_what_was_sent,
        usual=deliveries(300),
    ),
    Exercise(
        alerts=("BounceRate",),
        cause="100 messages bounce, with four codes",
        begin=_posts((100, "delivered", {}), *_failures(25, "bounce", _BOUNCES)),
        ended_by="usual traffic",
        mend=_see_why_they_bounce,
        usual=deliveries(200),
    ),
    Exercise(
        alerts=("SenderRefused",),
        cause="receivers refuse 120 messages for our reputation",
        begin=_posts(
            (100, "delivered", {}),
            *_failures(40, "bounce", _REFUSALS, type="blocked", bounce_classification="Reputation"),
        ),
        ended_by="usual traffic",
        mend=_see_why_they_bounce,
        usual=deliveries(200),
    ),
    Exercise(
        alerts=("ErrorCodeRate",),
        cause="100 messages fail with one code",
        begin=_posts(
            (100, "delivered", {}),
            *_failures(100, "bounce", ("4.2.2",), type="blocked", bounce_classification="Mailbox Unavailable"),
        ),
        ended_by="usual traffic",
        mend=_see_why_they_bounce,
        usual=deliveries(500),
    ),
    Exercise(
        alerts=("SuppressionWave",),
        cause="a receiver's outage: 3 bounces of each of 120 addresses",
        begin=_wave,
        ended_by="the outage is over; the addresses are released",
        mend=_release_the_wave,
        usual=deliveries(200),
        over=_wave_is_released,
        also=frozenset({"BounceRate", "ErrorCodeRate"}),
    ),
)
