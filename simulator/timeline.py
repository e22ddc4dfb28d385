"""The timeline of one message: its requests, its decisions, and the steps of its delivery.

In:  a scenario (`simulator.scenarios`), which writes into a `Timeline`.
Out: the timeline, in terms of no particular provider ("delivered", "bounced: hard"). A provider's emitter
     (`simulator.providers`) turns steps into that provider's events, so several providers can use one timeline.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from simulator.durations import HOUR, MINUTE, SECOND
from simulator.randomness import ip

__all__ = ["PlannedDecision", "Redelivery", "Step", "Timeline"]

_USER_AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Thunderbird/128.4.0",
)
_SUPPRESSION_STEPS: Final = frozenset(
    {"bounced", "complained", "unsubscribed", "resubscribed", "listed", "unlisted", "text_received"}
)
_LINKS: Final = ("appointment?utm_source=mail", "reschedule", "cancel?sure=1", "directions#map")


class Redelivery(NamedTuple):
    """One more delivery of a step: the same content, except for what it omits."""

    after_us: int
    omits: tuple[str, ...]


class Step(NamedTuple):
    """One thing that happens to a message, and that its provider may report."""

    after_us: int
    """Microseconds after the message's Date Sent."""
    kind: str
    variant: str = ""
    """Which form it takes, for example the kind of bounce; blank: the usual one."""
    cc: int = 0
    """0: about the To; n: about the n-th CC."""
    omits: tuple[str, ...] = ()
    """What the provider leaves out: `our_ids`; `our_ids_invalid` (present, but wrong); `one_of_our_ids` (only one is
    present); `provider_id` (its main id of the message); `all_provider_ids`; `address`."""
    fields: Mapping[str, Any] = {}
    """Details: `agent`, `ip`, `url`, `place` (the index of the link), `attempt`."""
    again: tuple[Redelivery, ...] = ()


class PlannedDecision(NamedTuple):
    """The decision about a request, where the plan makes it."""

    outcome: str = "approved"
    reason: str = "ok"
    detail: str = ""
    evidence: str = ""
    """The type of evidence: `policy`, `events`, `command` or blank."""
    after_us: int = 0
    """Delay on top of the usual one."""
    about: int = 0
    """The request content it is about: 0 the first, 1 the changed one."""


@dataclass(slots=True)
class Timeline:
    """What happens to one message. `at_us` is the current position: microseconds after the message's Date Sent."""

    rng: Random
    requests: tuple[str, ...] = ("same",)
    """One entry per record of `sends.requested`: `same`; `reserialized`, the same content in other bytes; `changed`
    content; `uppercase_id`, the same with the message id in upper case."""
    decisions: tuple[PlannedDecision, ...] = (PlannedDecision(),)
    gate_decides: bool = False
    """Whether a gate decides; then `decisions` is empty."""
    dispatched: str = "yes"
    """The provider message id in the dispatch: `yes`, as it compares; `full`, with the suffix that its events have;
    `smtp-id`, as in the mail's header; `other`, a different one than in its events; blank: no dispatch."""
    late: tuple[str, ...] = ()
    """Which of our own records come after all provider events: `request`, `decision`, `dispatch`."""
    kinds: tuple[str, ...] = ()
    """Allowed template kinds; empty: any."""
    to: str = ""
    """`invalid`: not an address; `whatsapp`: a WhatsApp number; `other`: a client of its own range; blank: any."""
    ccs: int = 0
    shared_call: bool = False
    """Whether one API call sent this message and another one, so that both have one provider message id."""
    steps: list[Step] = field(default_factory=list)
    at_us: int = 0

    @property
    def changes_suppression(self) -> bool:
        """Whether a step may suppress an address or release it."""
        return any(step.kind in _SUPPRESSION_STEPS for step in self.steps)

    def leave_to_gate(self) -> None:
        """Leave the decision to the gate."""
        self.decisions, self.gate_decides = (), True

    def refuse(self, outcome: str, reason: str, detail: str, evidence: str = "") -> None:
        """Refuse the request. The message is not dispatched."""
        self.decisions, self.dispatched = (PlannedDecision(outcome, reason, detail, evidence),), ""

    def wait(self, least_us: int, most_us: int) -> None:
        """Advance the time; short waits are more likely than long ones."""
        self.at_us += least_us + int((most_us - least_us) * self.rng.random() ** 2)

    def add(self, kind: str, variant: str = "", *, cc: int = 0, omits: str = "", **fields: Any) -> None:
        """Add a step at the current time."""
        self.steps.append(Step(self.at_us, kind, variant, cc, tuple(omits.split()), fields))

    def redeliver(self, *, back: int = 1, omits: str = "") -> None:
        """Deliver the `back`-th last step once more, at the current time."""
        step = self.steps[-back]
        again = Redelivery(self.at_us, tuple(omits.split()))
        self.steps[-back] = step._replace(again=(*step.again, again))

    def processed(self, variant: str = "", *, omits: str = "") -> None:
        """The provider accepted the message."""
        self.wait(3 * SECOND, 7 * SECOND)
        self.add("processed", variant, omits=omits)

    def deferred(self, times: int, variant: str = "") -> None:
        """The receiving server deferred the message, `times` times."""
        for attempt in range(1, times + 1):
            self.wait(attempt * MINUTE, attempt * 10 * MINUTE)
            self.add("deferred", variant, attempt=attempt)

    def sent(self, *, omits: str = "") -> None:
        """The provider handed it to the carrier."""
        self.wait(1 * SECOND, 3 * SECOND)
        self.add("sent", omits=omits)

    def delivered(self, variant: str = "", *, omits: str = "") -> None:
        """The receiving server, or the phone, accepted it."""
        self.wait(1 * SECOND, 8 * SECOND)
        self.add("delivered", variant, omits=omits)

    def delivered_normally(self, *, omits: str = "") -> None:
        """Processed, sent and delivered, sometimes deferred. A provider reports the steps that it has events for."""
        self.processed(omits=omits)
        self.sent(omits=omits)
        if not omits and self.rng.random() < 0.04:
            self.deferred(1 + (self.rng.random() < 0.3))
        self.delivered(omits=omits)

    def bounced(self, variant: str = "hard", *, cc: int = 0, omits: str = "") -> None:
        """The receiving side rejected it."""
        self.wait(1 * SECOND, 20 * SECOND)
        self.add("bounced", variant, cc=cc, omits=omits)

    def opened(self, *, machine: bool = False, cc: int = 0, omits: str = "") -> None:
        """A person, or a privacy proxy (`machine`), opened it."""
        if machine:
            self.wait(2 * SECOND, 2 * MINUTE)
            self.add("opened", "machine", cc=cc, omits=omits, agent="Mozilla/5.0", ip=ip(self.rng))
            return
        self.wait(20 * SECOND, 4 * HOUR)
        self.add("opened", cc=cc, omits=omits, agent=self.rng.choice(_USER_AGENTS), ip=ip(self.rng))

    def clicked(self) -> None:
        """A person clicked a link."""
        self.wait(3 * SECOND, 4 * MINUTE)
        place = self.rng.randrange(len(_LINKS))
        url = f"https://booking.example.com/{_LINKS[place]}"
        self.add("clicked", url=url, place=place, agent=self.rng.choice(_USER_AGENTS), ip=ip(self.rng))
