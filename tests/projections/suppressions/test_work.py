"""The work for an address is linear in its evidence, not quadratic.

The tests count the calls and lines that Python runs in `projections/suppressions` and `projections/decisions`, since
times depend on the machine.
"""

import re
import sys
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any

import pytest
from hypothesis import given

from projections.suppressions.addressing import sender_key
from projections.suppressions.evidence import Evidence, Kind
from projections.suppressions.opt_outs import ActiveOptOut, active_opt_outs
from projections.suppressions.state import AddressState, apply_evidence
from tests.projections.suppressions.building import RULES, a_release, an_item, bounce, evidence_sets


def work(run: Callable[[], object]) -> int:
    """Return how many calls and lines of these a function takes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if not re.search("projections/(decisions|suppressions)/", frame.f_code.co_filename):
            return None
        count += 1
        return trace

    earlier = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(earlier)
    return count


def texts(count: int) -> list[Evidence]:
    """STOP and START messages to half as many numbers."""
    kinds = (Kind.OPTED_OUT, Kind.OPTED_IN)
    return [an_item(kinds[n % 2], n, senders=(f"+1555{n // 2}",), id=f"e{n}") for n in range(count)]


def groups(count: int) -> list[Evidence]:
    kinds = (Kind.UNSUBSCRIBED, Kind.RESUBSCRIBED, Kind.OPT_IN)
    return [an_item(kinds[n % 3], n, scope="acme", group=f"{n}", id=f"e{n}") for n in range(count)]


def accounts(count: int) -> list[Evidence]:
    return [an_item(Kind.SUPPRESS, n, scope=f"a{n}", id=f"e{n}") for n in range(count)]


def periods(count: int) -> list[Evidence]:
    return [bounce(n, f"m{n}", id=f"e{n}") if n % 20 else a_release(n, id=f"e{n}") for n in range(count)]


@pytest.mark.parametrize("of", [texts, groups, accounts, periods], ids=lambda of: str(of.__name__))
def test_twice_the_evidence_takes_about_twice_the_work(of: Callable[[int], list[Evidence]]) -> None:
    def step_over(count: int) -> int:
        state = AddressState({e.key: e for e in of(count)})
        return work(lambda: apply_evidence(state, an_item(Kind.COMPLAINT, 9, id="new"), RULES))

    few, many = step_over(500), step_over(1000)
    assert many < 2.5 * few


@given(evidence_sets(max_size=25))
def test_opt_outs_equal_those_of_a_plain_implementation(evidence: list[Evidence]) -> None:
    assert active_opt_outs(evidence) == active_opt_outs(evidence[::-1]) == plainly(evidence)


def plainly(evidence: Collection[Evidence]) -> tuple[ActiveOptOut, ...]:
    """The same rules, comparing each opt-out with each item of evidence that may lift it."""
    found: dict[tuple[str, str, str], ActiveOptOut] = {}
    for e in evidence:
        for out in _opted_out(e):
            if any(_lifts(lift, e, out) for lift in evidence):
                continue
            of = (out.scope, out.group, sender_key(out.sender))
            began = (out.since_us, out.evidence, out.sender)
            if of not in found or began < (found[of].since_us, found[of].evidence, found[of].sender):
                found[of] = out
    return tuple(out for _, out in sorted(found.items()))


def _opted_out(e: Evidence) -> list[ActiveOptOut]:
    if e.kind == Kind.UNSUBSCRIBED:
        return [ActiveOptOut(e.scope, e.group, "", "group_unsubscribed" if e.group else "unsubscribed", e.at_us, e.id)]
    if e.kind == Kind.OPTED_OUT:
        return [ActiveOptOut(e.scope, "", sender, "sms_opt_out", e.at_us, e.id) for sender in e.senders or ("",)]
    return []


def _lifts(lift: Evidence, e: Evidence, out: ActiveOptOut) -> bool:
    senders = [sender_key(sender) for sender in lift.senders]
    if lift.kind == Kind.OPT_IN:
        names_none = not lift.group and not senders
        named = (lift.group and lift.group == out.group) or (out.sender and sender_key(out.sender) in senders)
        return bool(lift.scope == out.scope and lift.at_us >= e.at_us and (names_none or named))
    if lift.at_us <= e.at_us:
        return False
    if lift.kind == Kind.RESUBSCRIBED:
        return e.kind == Kind.UNSUBSCRIBED and (lift.scope, lift.group) == (e.scope, e.group)
    if lift.kind == Kind.OPTED_IN:
        return e.kind == Kind.OPTED_OUT and (not out.sender or sender_key(out.sender) in senders)
    return lift.kind == Kind.UNLISTED and bool(e.list) and lift.list == e.list
