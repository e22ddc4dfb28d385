"""The plot of several messages: what billing, settings and support say, what is asked for, and what comes of it.

In:  a plot (`simulator.plots`), which writes into a `Plot`.
Out: the plot's parts, in chapters. The gate has read all of one before the next begins: so what is said in one holds
     for whatever is asked later, and within one nothing may depend on what else is said in it.

Times count from the beginning of the plot, in microseconds; when that was is known only once its length is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, NamedTuple

from schemas.times import rfc3339
from simulator import people
from simulator.closing import EVERYWHERE, Word
from simulator.durations import MINUTE, SECOND
from simulator.people import Person
from simulator.script import Script

__all__ = ["Ask", "Plot", "Quota", "Said"]

_PAUSE_US: Final = 65 * MINUTE
"""Longer than a provider keeps anything: of two texts the one of the earlier chapter comes first, by its time, too."""
_Times = Mapping[str, int]


class Said(NamedTuple):
    """A record by which the gate decides."""

    kind: Literal["policy", "preference", "command"]
    at_us: int
    chapter: int
    key: str
    write: Callable[[int], dict[str, Any]]
    """Writes it, given when the plot begins."""
    name: Callable[[int], str]
    """How evidence names it, given the same."""
    word: Word | None = None
    """What a command says of an address, …"""
    person: Person | None = None
    """… and whose that is."""


class Quota(NamedTuple):
    """Of several messages that are asked for at once so many are approved, whichever they are."""

    name: str
    approved: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A message that is asked for."""

    account: str
    provider: str
    to: Person
    template: str
    outcome: str
    reason: str
    because: tuple[Said, ...] | int | None
    """The evidence: what was said, or how many events it must be; None: whatever it is."""
    script: Script
    at_us: int
    chapter: int
    """In which it is asked for; what comes of it is told in the next one."""
    sender: str
    quota: Quota | None
    again: list[tuple[int, int]] = field(default_factory=list)
    """When, and in which chapters, it is asked for once more."""


@dataclass
class Plot:
    """What is written of it so far. `mark` is in the name of everybody who plays in it."""

    rng: Random
    mark: str
    account: str
    """One that pays, and has switched nothing off; `other` is another such."""
    other: str
    refuses_unknown: bool = False
    """Whether an account without a policy may send nothing."""
    parts: list[Said | Ask] = field(default_factory=list)
    at_us: int = 0
    chapter: int = 1
    _people: int = 0
    _until: int = 1

    @property
    def messages(self) -> int:
        """How many are asked for."""
        return sum(isinstance(part, Ask) for part in self.parts)

    def own_account(self) -> str:
        """Return an account that is nobody else's."""
        return f"sim-{self.mark}"

    def person(self, channel: str = "email") -> Person:
        """Return somebody who is nobody else."""
        self._people += 1
        return people.own(channel, f"{self.mark}p{self._people}")

    def heard(self, after_us: int = _PAUSE_US) -> None:
        """Turn to a new chapter: the gate has read all that was said and told."""
        self.chapter = self._until = self._until + 1
        self.at_us += after_us

    def policy(self, account: str, times: _Times | None = None, *, updated_us: int | None = None, **said: Any) -> Said:
        """Say what an account may do. `times`: of its trial's begin, of entering billing, of `blocked_since`."""
        at_us = self._tick()
        updated_us = at_us if updated_us is None else updated_us

        def write(start_us: int) -> dict[str, Any]:
            record: dict[str, Any] = {"account_id": account, "updated_at": rfc3339(start_us + updated_us)} | said
            record |= {name: rfc3339(start_us + us) for name, us in (times or {}).items()}
            if "blocked_since" in record:
                record["blocked"] = {"reason": "unpaid invoices", "since": record.pop("blocked_since")}
            return record

        return self._say(
            Said(
                "policy", at_us, self.chapter, account, write,
                lambda start_us: f"policy:{account}@{rfc3339(start_us + updated_us)}",
            )
        )  # fmt: skip

    def preference(self, account: str, whose: Person, **said: Any) -> Said:
        """Say what a recipient wishes."""
        at_us = self._tick()
        who = f"{account}/{whose.kind}/{whose.id}"

        def write(start_us: int) -> dict[str, Any]:
            ids = {"account_id": account, "recipient_kind": whose.kind, "recipient_id": whose.id}
            return ids | {"updated_at": rfc3339(start_us + at_us)} | said

        return self._say(
            Said(
                "preference", at_us, self.chapter, who, write,
                lambda start_us: f"preference:{who}@{rfc3339(start_us + at_us)}",
            )
        )  # fmt: skip

    def command(
        self, action: str, whose: Person, *, scope: str = EVERYWHERE, dated_us: int | None = None, **said: str
    ) -> Said:
        """Have somebody suppress, release or opt in an address; `dated_us` is another time than that of now."""
        at_us = self._tick() if dated_us is None else dated_us
        channel = "email" if "@" in whose.key else "sms"
        command_id = f"cmd-{self.mark}-{len(self.parts)}"
        actor = f"support-{self.mark}"

        def write(start_us: int) -> dict[str, Any]:
            return {
                "command_id": command_id,
                "action": action,
                "channel": channel,
                "address": whose.address,
                "scope": scope,
                "reason": "asked on the phone",
                "actor": actor,
                "at": rfc3339(start_us + at_us),
            } | said

        senders = (said["sender"],) if "sender" in said else ()
        word = Word(
            action, at_us, scope, group=said.get("group", ""), senders=senders, actor=actor, chapter=self.chapter
        )
        key = f"{channel}:{whose.key}"
        return self._say(Said("command", at_us, self.chapter, key, write, lambda _: command_id, word, whose))

    def ask(
        self,
        provider: str,
        to: Person,
        outcome: str = "approved",
        reason: str = "ok",
        *,
        account: str = "",
        template: str = "reminder-24h",
        because: tuple[Said, ...] | int | None = None,
        play: Callable[[Script], None] | None = None,
        sender: str = "",
        quota: Quota | None = None,
    ) -> Ask:
        """Ask for a message; `play` says what becomes of it. What is refused is sent only if it is played."""
        script = Script(self.rng)
        script.leave_to_gate()
        if play is not None:
            play(script)
        elif outcome != "approved" or quota:
            script.dispatched = ""
        else:
            script.arrives()
        at_us = self._tick()
        asked = Ask(
            account or self.account, provider, to, template, outcome, reason, because, script, at_us, self.chapter,
            sender, quota,
        )  # fmt: skip
        self.at_us = max(self.at_us, at_us + script.at_us)
        self._until = max(self._until, self.chapter + bool(script.beats))
        self.parts.append(asked)
        return asked

    def ask_again(self, asked: Ask) -> None:
        """Ask for the same message once more: the decision must be the first one."""
        asked.again.append((self._tick(), self.chapter))
        self._until = max(self._until, self.chapter)

    def _say(self, said: Said) -> Said:
        self._until = max(self._until, self.chapter)
        self.parts.append(said)
        return said

    def _tick(self) -> int:
        """Return a time that nothing else has."""
        self.at_us += SECOND + self.rng.randrange(20 * SECOND)
        return self.at_us
