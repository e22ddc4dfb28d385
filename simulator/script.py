"""The script of one message: what is asked and decided, and what happens to it, beat by beat.

In:  a course (`simulator.courses`), which writes into a `Script`.
Out: the script, in words of the world ("delivered", "bounced: hard") and not of any provider's. What a provider makes
     of a beat is its teller's matter (`simulator.providers`): the same script may be played by several.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from simulator.chance import ip
from simulator.durations import HOUR, MINUTE, SECOND

__all__ = ["Again", "Beat", "Script", "Verdict"]

_AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Thunderbird/128.4.0",
)
_CLOSING: Final = frozenset({"bounced", "complained", "unsubscribed", "resubscribed", "listed", "unlisted", "texted"})
_LINKS: Final = ("appointment?utm_source=mail", "reschedule", "cancel?sure=1", "directions#map")


class Again(NamedTuple):
    """One more delivery of a beat, in the same words but for what it lacks."""

    after_us: int
    lacks: tuple[str, ...]


class Beat(NamedTuple):
    """One thing that happens to a message, and that its provider may tell."""

    after_us: int
    """Counted from the message's Date Sent."""
    what: str
    how: str = ""
    """Which of the ways that it can go, or in which words it is told; blank: the usual one."""
    cc: int = 0
    """0: it is about the To; n: about the n-th CC."""
    lacks: tuple[str, ...] = ()
    """What the provider leaves out: `ours` (our ids), `valid_ours` (they are there and wrong), `half_of_ours` (one is
    missing), `id` (its main id of the message), `ids` (every id of its own), `address`."""
    said: Mapping[str, Any] = {}
    """What belongs to it: `agent`, `ip`, `url`, `place` (the number of the link), `attempt`."""
    again: tuple[Again, ...] = ()


class Verdict(NamedTuple):
    """What is decided about a request."""

    outcome: str = "approved"
    reason: str = "ok"
    detail: str = ""
    evidence: str = ""
    """What the evidence is: `policy`, `events`, `command` or blank."""
    after_us: int = 0
    """How long after it would be usual."""
    about: int = 0
    """Which of the contents it decided: 0 the first, 1 the other."""


@dataclass(slots=True)
class Script:
    """One message's course. `at_us` is the time reached so far, counted from the message's Date Sent."""

    rng: Random
    requests: tuple[str, ...] = ("same",)
    """One entry for each record of `sends.requested`: `same`; `respelled`, the same content in other bytes; `other`
    content; `shouted`, the same with the message id in capitals."""
    verdicts: tuple[Verdict, ...] = (Verdict(),)
    by_gate: bool = False
    """Whether a gate decides; then there are no verdicts."""
    dispatched: str = "yes"
    """How the sender tells the provider's id: `yes`; `whole`, with the tail that its events have, too; `smtp-id`, as it
    stands in the mail; `other` than the one in its events; blank: it never tells."""
    late: tuple[str, ...] = ()
    """Which of our own records come after all that the provider tells: `request`, `decision`, `dispatch`."""
    kinds: tuple[str, ...] = ()
    """The template kinds that fit; empty: any."""
    to: str = ""
    """`invalid`: no address; `whatsapp`: a number there; `other`: a client whom nobody else writes to; blank: any."""
    ccs: int = 0
    twin: bool = False
    """Whether one call sent this message and another one, under one id of the provider's."""
    beats: list[Beat] = field(default_factory=list)
    at_us: int = 0

    @property
    def closes(self) -> bool:
        """Whether something is told that may close an address, or open it again."""
        return any(beat.what in _CLOSING for beat in self.beats)

    def leave_to_gate(self) -> None:
        """Decide nothing."""
        self.verdicts, self.by_gate = (), True

    def refuse(self, outcome: str, reason: str, detail: str, evidence: str = "") -> None:
        """Decide that it may not be sent; so nobody sends it."""
        self.verdicts, self.dispatched = (Verdict(outcome, reason, detail, evidence),), ""

    def wait(self, least_us: int, most_us: int) -> None:
        """Let time pass, short waits being more likely than long ones."""
        self.at_us += least_us + int((most_us - least_us) * self.rng.random() ** 2)

    def tell(self, what: str, how: str = "", *, cc: int = 0, lacks: str = "", **said: Any) -> None:
        """Add a beat now."""
        self.beats.append(Beat(self.at_us, what, how, cc, tuple(lacks.split()), said))

    def tell_again(self, *, back: int = 1, lacks: str = "") -> None:
        """Let the `back`-th last beat be told once more, now."""
        beat = self.beats[-back]
        again = Again(self.at_us, tuple(lacks.split()))
        self.beats[-back] = beat._replace(again=(*beat.again, again))

    def processed(self, how: str = "", *, lacks: str = "") -> None:
        """The provider took the message."""
        self.wait(3 * SECOND, 7 * SECOND)
        self.tell("processed", how, lacks=lacks)

    def deferred(self, times: int, how: str = "") -> None:
        """The receiving server asked for patience, `times` times."""
        for attempt in range(1, times + 1):
            self.wait(attempt * MINUTE, attempt * 10 * MINUTE)
            self.tell("deferred", how, attempt=attempt)

    def sent(self, *, lacks: str = "") -> None:
        """The provider handed it on."""
        self.wait(1 * SECOND, 3 * SECOND)
        self.tell("sent", lacks=lacks)

    def delivered(self, how: str = "", *, lacks: str = "") -> None:
        """The receiving server, or the phone, took it."""
        self.wait(1 * SECOND, 8 * SECOND)
        self.tell("delivered", how, lacks=lacks)

    def arrives(self, *, lacks: str = "") -> None:
        """All goes well, sometimes after a deferral. Each provider tells what it tells of that."""
        self.processed(lacks=lacks)
        self.sent(lacks=lacks)
        if not lacks and self.rng.random() < 0.04:
            self.deferred(1 + (self.rng.random() < 0.3))
        self.delivered(lacks=lacks)

    def fails(self, how: str = "hard", *, cc: int = 0, lacks: str = "") -> None:
        """The receiving side refused it."""
        self.wait(1 * SECOND, 20 * SECOND)
        self.tell("bounced", how, cc=cc, lacks=lacks)

    def opened(self, *, machine: bool = False, cc: int = 0, lacks: str = "") -> None:
        """Somebody, or a privacy proxy, looked at it."""
        if machine:
            self.wait(2 * SECOND, 2 * MINUTE)
            self.tell("opened", "machine", cc=cc, lacks=lacks, agent="Mozilla/5.0", ip=ip(self.rng))
            return
        self.wait(20 * SECOND, 4 * HOUR)
        self.tell("opened", cc=cc, lacks=lacks, agent=self.rng.choice(_AGENTS), ip=ip(self.rng))

    def clicked(self) -> None:
        """Somebody followed a link."""
        self.wait(3 * SECOND, 4 * MINUTE)
        place = self.rng.randrange(len(_LINKS))
        url = f"https://booking.example.com/{_LINKS[place]}"
        self.tell("clicked", url=url, place=place, agent=self.rng.choice(_AGENTS), ip=ip(self.rng))
