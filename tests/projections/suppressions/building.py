"""Evidence, policies and snapshots for the gate's tests, and Hypothesis strategies for the evidence of an address.

Times are days after NOW_US and come from a small pool, so that they collide: two bounces at the ends of a window, an
opt-out and what lifts it at the same time.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from projections.suppressions.evidence import LIFTING_KINDS, Evidence, Kind
from projections.suppressions.opt_outs import ActiveOptOut
from projections.suppressions.rules import GateRules
from projections.suppressions.state import AddressSnapshot, AddressState, ScopeSnapshot, apply_evidence, merge, snapshot
from schemas.decoding.gate_inputs import Policy, Preference
from schemas.decoding.times import DAY_US
from tests.building import ACCOUNT, NOW_US

RULES = GateRules(suppress_bounces=3, suppress_window_days=5)


def day(number: float) -> int:
    """The time of a day number, in microseconds."""
    return NOW_US + round(number * DAY_US)


def an_item(kind: Kind, at: float, **overrides: Any) -> Evidence:
    """An item of evidence at a day; its id describes it."""
    name = overrides.pop("id", f"{kind}@{at}/{overrides.get('message', '')}")
    return Evidence(kind, name, day(at), overrides.pop("received_us", day(at)), **overrides)


def bounce(at: float, message: str, **overrides: Any) -> Evidence:
    return an_item(Kind.BOUNCE, at, message=message, **overrides)


def a_release(at: float, scope: str = "*", **overrides: Any) -> Evidence:
    return an_item(Kind.RELEASE, at, scope=scope, actor="support", **overrides)


def state_after(*evidence: Evidence, rules: GateRules = RULES) -> AddressState:
    """The state of an address after applying the evidence item by item."""
    state = AddressState()
    for e in evidence:
        state = apply_evidence(state, e, rules).state
    return state


def snapshot_after(*evidence: Evidence, rules: GateRules = RULES) -> AddressSnapshot:
    """The snapshot after the evidence, without what was published on the way."""
    return snapshot(AddressState(state_after(*evidence, rules=rules).evidence), rules)


def merged(evidence: Sequence[Evidence], rules: GateRules = RULES) -> AddressState:
    """The state as a merge of many states, each with one item."""
    state = AddressState()
    for e in evidence:
        state = merge(AddressState({e.key: e}), state, rules)
    return state


def a_policy(**overrides: Any) -> Policy:
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
    return Policy(**(fields | overrides))


def a_preference(**overrides: Any) -> Preference:
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
    return Preference(**(fields | overrides))


def suppressed(reason: str, scope: str = "*") -> AddressSnapshot:
    """The snapshot of a suppressed address."""
    return AddressSnapshot((ScopeSnapshot(scope, True, reason, NOW_US, (f"{reason}-event",)),), ())


def opted_out(reason: str, *, scope: str = ACCOUNT, group: str = "", sender: str = "") -> AddressSnapshot:
    """The snapshot of an address with an opt-out."""
    return AddressSnapshot((), (ActiveOptOut(scope, group, sender, reason, NOW_US, f"{reason}-event"),))


_DAYS = st.integers(0, 24).map(lambda n: n / 2)
_SCOPES = st.sampled_from(["*", "acme", "bold"])
_GROUPS = st.sampled_from(["", "12", "broadcast"])
_SENDERS = st.sampled_from([(), ("+1555",), ("+1555", "MG1"), ("MG1",), ("mg1",), ("+1 555", "+1666")])
_LISTS = st.sampled_from(["1/outbound", "1/broadcast", "2/broadcast"])
_FIELDS: dict[Kind, dict[str, st.SearchStrategy[Any]]] = {
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


def items(kinds: Sequence[Kind] = tuple(Kind), days: st.SearchStrategy[float] = _DAYS) -> st.SearchStrategy[Evidence]:
    """One item of evidence of these kinds."""

    @st.composite
    def one(draw: st.DrawFn) -> Evidence:
        kind = draw(st.sampled_from([*kinds, *(often for often in _OFTEN if often in kinds)]))
        at = draw(days)
        overrides: dict[str, Any] = {name: draw(values) for name, values in _FIELDS[kind].items()}
        return an_item(kind, at, id=f"{kind}{draw(st.integers(0, 99_999))}", **overrides)

    return one()


def evidence_sets(
    kinds: Sequence[Kind] = tuple(Kind),
    *,
    min_size: int = 0,
    max_size: int = 14,
    days: st.SearchStrategy[float] = _DAYS,
) -> st.SearchStrategy[list[Evidence]]:
    """Different items of evidence of one address."""
    return st.lists(items(kinds, days), min_size=min_size, max_size=max_size, unique_by=lambda e: e.key)


@st.composite
def with_copies(draw: st.DrawFn, evidence: Sequence[Evidence], *, unalike: bool = False) -> list[Evidence]:
    """The same evidence shuffled, with later copies of some. A copy of an event without its own time has a later time.

    `unalike`: a copy may also name another account or message, or have the same time and other content.
    """
    copies = []
    for e in draw(st.lists(st.sampled_from(evidence), max_size=6)) if evidence else []:
        late = draw(st.integers(0, 9)) * DAY_US
        untimed = e.kind not in LIFTING_KINDS and draw(st.booleans())
        overrides: dict[str, Any] = {
            name: draw(st.sampled_from(["*", "a", "b"])) for name in ("scope", "message", "group") if unalike
        }
        at_us = e.at_us + late if untimed else e.at_us
        copies.append(e._replace(received_us=e.received_us + late, at_us=at_us, **overrides))
    return draw(st.permutations([*evidence, *copies]))
