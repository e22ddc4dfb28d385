"""Stories: what is asked, what is decided and what SendGrid tells about each of many messages.

In:  a number of messages, a seed, the present, the accounts.
Out: one `Story` for each message: the records of our own topics and the elements of SendGrid's webhook, with times.
Promise: pure; the same input gives the same bytes; no time lies ahead of the present; each story is independent of
how many there are. Among any 1,600 messages every course of `simulator.scripts` is met.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log1p
from random import Random
from typing import Any, Final

import orjson

from schemas.identity import fact_id, uuid7
from schemas.times import DAY_US, rfc3339
from simulator.people import TEMPLATES, Person, Template, client, gone_client, staff
from simulator.scripts import COURSES, HOUR, MS, SECOND, Beat, Script, randomness

__all__ = ["Element", "Fact", "Story", "stories", "story_from_now"]

SPREAD_US: Final = 6 * HOUR
RARE_EVERY: Final = 20

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SERVICES: Final = ("Haircut", "Massage", "Physiotherapy", "Yoga class", "Dentist’s check-up", "Coaching")
_COURSE_WEIGHTS: Final = [course.weight for course in COURSES]
_TEMPLATE_WEIGHTS: Final = [template.weight for template in TEMPLATES]


@dataclass(frozen=True, slots=True)
class Fact:
    """A record of one of our own topics."""

    at_us: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a webhook body."""

    at_us: int
    """When SendGrid knows it: the element's own timestamp, and a part of a second."""
    type: str
    """sendledger's type of it."""
    fact: str
    """Equal for two elements if, and only if, they are the same fact."""
    event_id: str
    """SendGrid's `sg_event_id`."""
    names_message: bool
    """Whether our own ids are in it."""
    value: bytes


@dataclass(frozen=True, slots=True)
class Story:
    """All about one message."""

    account_id: str
    message_id: str
    course: str
    outcome: str
    """What was decided; blank where nothing was."""
    requests: tuple[Fact, ...]
    decision: Fact | None
    elements: tuple[Element, ...]


def stories(
    messages: int,
    seed: int,
    *,
    now_us: int,
    accounts: Sequence[str],
    spread_us: int = SPREAD_US,
    rare_every: int = RARE_EVERY,
) -> Iterator[Story]:
    """Yield the stories of `messages` messages, each ended at some moment within `spread_us` before `now_us`.

    Each `rare_every`-th message takes the next course in turn, so that the rare ones are met, too.
    """
    for index in range(messages):
        rng = randomness(f"{seed}/{index}")
        course = _course(index, rng, rare_every)
        script = _played(course, rng)
        start_us = now_us - script.at_us - 10 * SECOND - int(spread_us * rng.random())
        yield _story(course, index, script, start_us, rng.choice(accounts))


def story_from_now(index: int, seed: int, *, now_us: int, account: str) -> Story:
    """Return a story that begins at `now_us` and goes on in the future, hours pressed into seconds."""
    rng = randomness(f"{seed}/live/{index}")
    course = _course(index, rng, RARE_EVERY)
    script = _played(course, rng)
    script.beats = [beat._replace(after_us=_pressed(beat.after_us)) for beat in script.beats]
    return _story(course, index, script, now_us, account)


def _course(index: int, rng: Random, rare_every: int) -> int:
    if index % rare_every == 0:
        return index // rare_every % len(COURSES)
    return rng.choices(range(len(COURSES)), _COURSE_WEIGHTS)[0]


def _played(course: int, rng: Random) -> Script:
    script = Script(rng)
    COURSES[course].play(script)
    return script


def _pressed(after_us: int) -> int:
    """An hour becomes 18 seconds, three days 30; the order stays."""
    return int(2.5 * SECOND * log1p(after_us / (2.5 * SECOND)))


def _story(course: int, index: int, script: Script, start_us: int, account: str) -> Story:
    rng = script.rng
    message_id = uuid7(start_us, rng.randbytes(10))
    template = _template(script)
    recipient = _recipient(script, template)
    ccs = [client(20_000 + rng.randrange(500)).address for _ in range(script.ccs)]
    requested_us = start_us + rng.randrange(40) * MS
    request = _request(message_id, account, template, recipient, ccs, requested_us, rng)
    requests = []
    for number, content in enumerate(script.requests):
        said = request if content == "same" else request | {"subject": f"{request['subject']} (corrected)"}
        requests.append(Fact(requested_us + number * 150 * MS, _json(said)))
    decision = None
    if script.decided:
        decided_us = requested_us + 20 * MS + int(1_200 * MS * rng.random() ** 3)
        decision = Fact(decided_us, _json(_decision(script, request, decided_us)))
    teller = _Teller(rng, index, account, message_id, template, recipient.address, ccs)
    elements = tuple(teller.element(beat, start_us) for beat in script.beats)
    outcome = script.outcome if script.decided else ""
    return Story(account, message_id, COURSES[course].name, outcome, tuple(requests), decision, elements)


def _template(script: Script) -> Template:
    if not script.kinds:
        return script.rng.choices(TEMPLATES, _TEMPLATE_WEIGHTS)[0]
    return script.rng.choice([template for template in TEMPLATES if template.kind in script.kinds])


def _recipient(script: Script, template: Template) -> Person:
    rng = script.rng
    if script.to == "gone":
        return gone_client(int(300 * rng.random() ** 2))
    person = staff(rng.randrange(40)) if template.id.startswith("staff") else client(int(20_000 * rng.random() ** 1.5))
    if script.to == "invalid":
        return person._replace(address=rng.choice(("none", "ann at example.com", "ann@", "0660 123")))
    return person


def _request(
    message_id: str,
    account: str,
    template: Template,
    recipient: Person,
    ccs: list[str],
    requested_us: int,
    rng: Random,
) -> dict[str, Any]:
    day = _EPOCH + timedelta(microseconds=requested_us) + timedelta(days=1 + rng.randrange(6))
    subject = template.subject.format(
        day=f"{day:%A %d %B}", hour=f"{9 + rng.randrange(10)}:{rng.choice(('00', '15', '30', '45'))}",
        service=rng.choice(_SERVICES),
    )  # fmt: skip
    request: dict[str, Any] = {
        "message_id": message_id,
        "account_id": account,
        "channel": "email",
        "template": {"id": template.id, "name": template.name, "kind": template.kind},
        "recipient": {"kind": recipient.kind, "id": recipient.id, "name": recipient.name},
        "to": recipient.address,
        "from": f"{account.lower()}@example.com",
        "subject": subject,
        "requested_at": rfc3339(requested_us),
    }
    if template.group:
        request["template"]["unsubscribe_group"] = template.group
    if ccs:
        request["cc"] = ccs
    if template.kind == "transactional":
        request["appointment_id"] = f"apt-{rng.randrange(10**7):07}"
    if rng.random() < 0.3:
        request["metadata"] = {"location": rng.choice(("north", "south")), "source": "scheduler"}
    return request


def _decision(script: Script, request: dict[str, Any], decided_us: int) -> dict[str, Any]:
    rng = script.rng
    updated_at = rfc3339(decided_us - 1 - rng.randrange(30) * DAY_US)
    evidence: list[str] = []
    if script.evidence == "policy":
        evidence = [f"policy:{request['account_id']}@{updated_at}"]
    elif script.evidence == "events":
        evidence = [fact_id([request["to"], n]) for n in range(3 if script.reason == "bounces" else 1)]
    elif script.evidence == "command":
        evidence = [f"cmd-{rng.randrange(10**9):09}"]
    return {
        "message_id": request["message_id"],
        "account_id": request["account_id"],
        "outcome": script.outcome,
        "reason": script.reason,
        "detail": script.detail,
        "evidence": evidence,
        "decided_at": rfc3339(decided_us),
        "channel": "email",
        "to": request["to"],
        "request": request,
    }


class _Teller:
    """SendGrid, as it tells about one message."""

    def __init__(
        self, rng: Random, index: int, account: str, message_id: str, template: Template, to: str, ccs: list[str]
    ) -> None:
        self.rng = rng
        self.index = index
        self.ours = {"sl_account": account, "sl_message": message_id}
        self.template = template
        # SendGrid mostly says an address in lower case, however it was given.
        self.to = to if rng.random() < 0.3 else to.lower()
        self.ccs = ccs
        self.sg_id = _token(rng)
        tail = (
            f"{rng.randrange(16**10):010x}-{rng.randrange(16**5):05x}-1-{rng.randrange(16**8):08X}-{rng.randrange(99)}"
        )
        # The word behind the id changed in January 2024; both are met.
        self.tails = [f"{self.sg_id}.{rng.choice(('recvd', 'recvd', 'filterdrecv'))}-{tail}.{n}" for n in range(3)]
        self.smtp_id = f"<{self.sg_id}@geopod-ismtpd-{rng.randrange(40)}>"
        self.told: set[tuple[str, str, int]] = set()

    def element(self, beat: Beat, start_us: int) -> Element:
        """Return the element of one beat."""
        email = self.ccs[beat.cc - 1] if beat.cc else self.to
        at_us = start_us + beat.after_us
        while (key := (beat.word, email, at_us // SECOND)) in self.told:
            at_us += SECOND  # SendGrid counts in seconds: two opens within one would be one fact
        self.told.add(key)
        event_id = _token(self.rng)
        said: dict[str, Any] = {
            "email": email,
            "timestamp": at_us // SECOND,
            "smtp-id": self.smtp_id,
            "event": beat.word,
            "category": ["sendledger", self.template.id],
            "sg_event_id": event_id,
            "sg_message_id": self.tails[beat.cc],
            **self.ours,
            **beat.said,
        }
        if beat.type in ("delivered", "deferred", "bounced", "blocked"):
            said["ip"] = f"198.51.100.{self.index % 4 + 10}"  # the sending IP
        if said.pop("timestamp_as_text", False):
            said["timestamp"] = str(said["timestamp"])
        fact = f"{self.index}.{len(self.told)}"
        if "email" in beat.lacks:
            fact = f"{beat.word}.{said['type']}.{said['timestamp']}"  # nothing else is in it
            del said["category"]
        names_message = "ours" not in beat.lacks
        for name in (*beat.lacks, *(() if names_message else self.ours)):
            said.pop(name, None)
        return Element(at_us, beat.type, fact, event_id, names_message, _json(said))


def _token(rng: Random) -> str:
    """22 letters, like SendGrid's ids."""
    return urlsafe_b64encode(rng.randbytes(16))[:22].decode()


def _json(value: dict[str, Any]) -> bytes:
    """JSON in memory of its own size: what orjson returns keeps a buffer of kilobytes for as long as it lives."""
    return bytes(memoryview(orjson.dumps(value)))
