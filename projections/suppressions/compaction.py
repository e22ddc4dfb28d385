"""Evidence compaction: how the state of one address stays small, however often it bounces.

In and out: the evidence of one address, by key.

Up to `GateRules.kept_at_each_end` items nothing is dropped, and copies take no room; a usual address has fewer. Above
that, items are grouped that say the same (kind, scope, group, list, senders) within one suppression period, the time
between two items that lift it. Of each group only the oldest and the newest items are kept:

- of bounces the oldest and newest of each message, the first window that suppresses the address, and then both ends;
- of other evidence the oldest and newest: the oldest tells `since`, and any of them tells that the reason is active;
- of evidence that lifts something the newest: an older release cancels nothing that a newer one does not.

So compaction does not change the snapshot (tests/projections/suppressions/test_compaction.py). Only `since` can become
less exact, where a release or a bounce arrives later than more newer evidence than is kept.

What is left may still be large if it says many different things: thousands of groups, accounts or lists. What does not
fit into a Kafka record is dropped, the oldest first, so that nothing outlives the release that cancels it. Only then
does what is kept depend on the order of arrival.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import orjson

from projections.suppressions.addressing import sender_key
from projections.suppressions.evidence import LIFTING_KINDS, Evidence, Kind
from projections.suppressions.periods import first_window
from projections.suppressions.rules import BOUNCES_PER_MESSAGE, GateRules
from projections.suppressions.texts import MAX_CHARACTERS

__all__ = ["MAX_ROW_BYTES", "compacted"]

MAX_ROW_BYTES: Final = 7 * 2**20
"""The maximum size of a row and of a `suppressions.changed` record. A Kafka record has up to 8 MiB."""
_NAMES_BYTES: Final = 200
"""What is published of an item beside its texts: field names, times, a reason; once for each sender of an opt-out."""
_RELEASED_BYTES: Final = 6 * MAX_CHARACTERS
"""The maximum size of the actor of a release. A platform-wide release repeats it in every scope."""
_FEW: Final = 600
"""So many items always fit: each has four texts of up to 320 characters, each of up to 6 bytes in JSON."""


def compacted(evidence: Mapping[str, Evidence], rules: GateRules) -> Mapping[str, Evidence]:
    """Return the evidence of one address that has to be kept."""
    if len(evidence) <= rules.kept_at_each_end:
        return evidence
    return _fitting(_without_repeats(evidence, rules))


def _fitting(evidence: Mapping[str, Evidence]) -> Mapping[str, Evidence]:
    """The newest evidence that fits into a row."""
    if len(evidence) <= _FEW:
        return evidence
    newest_first = sorted(evidence.values(), key=lambda e: (e.at_us, e.key), reverse=True)
    filled = accumulate(map(_most_bytes, newest_first))
    return {e.key: e for e, total in zip(newest_first, filled, strict=True) if total <= MAX_ROW_BYTES}


def _most_bytes(e: Evidence) -> int:
    """The maximum size of an item, in a row together with what was published, or in a published record."""
    released = _RELEASED_BYTES if e.kind == Kind.SUPPRESS else 0
    return len(orjson.dumps(tuple(e))) + _NAMES_BYTES * max(1, len(e.senders)) + released


def _without_repeats(evidence: Mapping[str, Evidence], rules: GateRules) -> Mapping[str, Evidence]:
    ordered = sorted(evidence.values(), key=lambda e: (e.at_us, e.id))
    lifts = [e for e in ordered if e.kind in LIFTING_KINDS]
    kept = [e for group in _groups(lifts, ()) for e in group[-rules.kept_at_each_end :]]
    period_ends = sorted(e.at_us for e in kept)
    for group in _groups((e for e in ordered if e.kind not in LIFTING_KINDS), period_ends):
        kept += _ends(group, rules.kept_at_each_end) if group[0].kind != Kind.BOUNCE else _of_bounces(group, rules)
    return {e.key: e for e in kept}


def _groups(ordered: Iterable[Evidence], period_ends: Sequence[int]) -> Iterable[list[Evidence]]:
    """The evidence in groups of alike items within one period."""
    groups: dict[tuple[object, ...], list[Evidence]] = defaultdict(list)
    for e in ordered:
        period = bisect_left(period_ends, e.at_us)
        senders = tuple(map(sender_key, e.senders))
        groups[period, e.kind, e.scope, e.group, senders, e.list].append(e)
    return groups.values()


def _of_bounces(bounces: Sequence[Evidence], rules: GateRules) -> list[Evidence]:
    of_messages: dict[str, list[Evidence]] = defaultdict(list)
    for bounce in bounces:
        of_messages[bounce.message or bounce.id].append(bounce)
    few = [bounce for of_message in of_messages.values() for bounce in _ends(of_message, BOUNCES_PER_MESSAGE)]
    few.sort(key=lambda e: (e.at_us, e.id))
    return [*first_window(bounces, rules), *_ends(few, rules.kept_at_each_end)]


def _ends(ordered: Sequence[Evidence], count: int) -> Sequence[Evidence]:
    return ordered if len(ordered) <= 2 * count else [*ordered[:count], *ordered[-count:]]
