"""Evidence, policies and views for the gate's tests, and Hypothesis strategies of what may be known of an address.

Times are days after NOW_US and come from a small pool, so that they collide: two bounces at the ends of a window, an
opt-out and what lifts it at one moment.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from projections.gate.evidence import LIFTS, Evidence, Kind
from projections.gate.opt_outs import OptOut
from projections.gate.rules import Rules
from projections.gate.suppression import AddressState, ScopeView, SuppressionView, join, step, view
from schemas.gate_facts import Policy, Preference
from schemas.times import DAY_US
from tests.building import ACCOUNT, NOW_US

RULES = Rules(suppress_bounces=3, suppress_window_days=5)


def day(number: float) -> int:
    """The time of a day, in microseconds."""
    return NOW_US + round(number * DAY_US)


def seen(kind: Kind, at: float, **said: Any) -> Evidence:
    """Evidence of a day; its id says what it is."""
    name = said.pop("id", f"{kind}@{at}/{said.get('message', '')}")
    return Evidence(kind, name, day(at), said.pop("received_us", day(at)), **said)


def bounce(at: float, message: str, **said: Any) -> Evidence:
    return seen(Kind.BOUNCE, at, message=message, **said)


def a_release(at: float, scope: str = "*", **said: Any) -> Evidence:
    return seen(Kind.RELEASE, at, scope=scope, actor="support", **said)


def known(*evidence: Evidence, rules: Rules = RULES) -> AddressState:
    """The state of an address after all of it, one by one."""
    state = AddressState()
    for e in evidence:
        state = step(state, e, rules).state
    return state


def seen_as(*evidence: Evidence, rules: Rules = RULES) -> SuppressionView:
    """What holds after all of it, whatever was published on the way."""
    return view(AddressState(known(*evidence, rules=rules).evidence), rules)


def at_once(evidence: Sequence[Evidence], rules: Rules = RULES) -> AddressState:
    """The same as one join of many states, each of which knows one piece."""
    state = AddressState()
    for e in evidence:
        state = join(AddressState({e.key: e}), state, rules)
    return state


def a_policy(**said: Any) -> Policy:
    """The policy of a paying account."""
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "trial_started_us": None,
        "billing_entered_us": None,
        "trial_days": 14,
        "trial_email_limit": 100,
        "sms_enabled": False,
        "disabled_templates": (),
        "invitation_opt_in_enabled": False,
        "blocked_since_us": None,
        "blocked_reason": "",
        "updated_us": NOW_US,
        "updated_at": "2026-05-28T20:26:40Z",
    }
    return Policy(**(fields | said))


def a_preference(**said: Any) -> Preference:
    """The preference of a client who declines nothing."""
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "recipient_kind": "client",
        "recipient_id": "c1",
        "declined_templates": (),
        "invitation_opted_in": False,
        "updated_us": NOW_US,
        "updated_at": "2026-05-28T20:26:40Z",
    }
    return Preference(**(fields | said))


def closed(reason: str, scope: str = "*") -> SuppressionView:
    """An address that is suppressed."""
    return SuppressionView((ScopeView(scope, True, reason, NOW_US, (f"{reason}-event",)),), ())


def wished(reason: str, *, scope: str = ACCOUNT, group: str = "", sender: str = "") -> SuppressionView:
    """An address whose owner wants less."""
    return SuppressionView((), (OptOut(scope, group, sender, reason, NOW_US, f"{reason}-event"),))


_DAYS = st.integers(0, 24).map(lambda n: n / 2)
_SCOPES = st.sampled_from(["*", "acme", "bold"])
_GROUPS = st.sampled_from(["", "12", "broadcast"])
_SENDERS = st.sampled_from([(), ("+1555",), ("+1555", "MG1"), ("MG1",), ("mg1",), ("+1 555", "+1666")])
_LISTS = st.sampled_from(["1/outbound", "1/broadcast", "2/broadcast"])
_SAID: dict[Kind, dict[str, st.SearchStrategy[Any]]] = {
    Kind.BOUNCE: {"message": st.sampled_from(["", "m1", "m2", "m3", "m4"])},
    Kind.COMPLAINT: {},
    Kind.LISTED: {"list": _LISTS},
    Kind.UNLISTED: {"list": _LISTS},
    Kind.UNSUBSCRIBED: {"scope": _SCOPES, "group": _GROUPS, "list": st.one_of(st.just(""), _LISTS)},
    Kind.RESUBSCRIBED: {"scope": _SCOPES, "group": _GROUPS.filter(bool)},
    Kind.OPTED_OUT: {"senders": _SENDERS},
    Kind.OPTED_IN: {"senders": _SENDERS},
    Kind.SUPPRESS: {"scope": _SCOPES},
    Kind.RELEASE: {"scope": _SCOPES, "actor": st.sampled_from(["ann", "bob"])},
    Kind.OPT_IN: {"scope": _SCOPES, "group": _GROUPS, "senders": _SENDERS},
}
_OFTEN = [Kind.BOUNCE] * 6 + [Kind.LISTED] * 2 + [Kind.RELEASE] * 2


def pieces(kinds: Sequence[Kind] = tuple(Kind), days: st.SearchStrategy[float] = _DAYS) -> st.SearchStrategy[Evidence]:
    """One piece of evidence of these kinds."""

    @st.composite
    def one(draw: st.DrawFn) -> Evidence:
        kind = draw(st.sampled_from([*kinds, *(often for often in _OFTEN if often in kinds)]))
        at = draw(days)
        said: dict[str, Any] = {name: draw(values) for name, values in _SAID[kind].items()}
        return seen(kind, at, id=f"{kind}{draw(st.integers(0, 99_999))}", **said)

    return one()


def evidence_sets(
    kinds: Sequence[Kind] = tuple(Kind),
    *,
    min_size: int = 0,
    max_size: int = 14,
    days: st.SearchStrategy[float] = _DAYS,
) -> st.SearchStrategy[list[Evidence]]:
    """Different pieces of evidence of one address."""
    return st.lists(pieces(kinds, days), min_size=min_size, max_size=max_size, unique_by=lambda e: e.key)


@st.composite
def with_copies(draw: st.DrawFn, evidence: Sequence[Evidence], *, unalike: bool = False) -> list[Evidence]:
    """The same evidence shuffled, with later copies of some: of an event without a time of its own they are later, too.

    `unalike`: a copy may also name another account or message, or come at the same moment and say something else.
    """
    copies = []
    for e in draw(st.lists(st.sampled_from(evidence), max_size=6)) if evidence else []:
        late = draw(st.integers(0, 9)) * DAY_US
        untimed = e.kind not in LIFTS and draw(st.booleans())
        said: dict[str, Any] = {
            name: draw(st.sampled_from(["*", "a", "b"])) for name in ("scope", "message", "group") if unalike
        }
        at_us = e.at_us + late if untimed else e.at_us
        copies.append(e._replace(received_us=e.received_us + late, at_us=at_us, **said))
    return draw(st.permutations([*evidence, *copies]))
