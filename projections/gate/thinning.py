"""How the memory of one address stays small, whoever bounces at it and however often.

Up to `Rules.kept` pieces of evidence nothing is dropped, and copies take no room: that is all that any honest address
has. Beyond, of evidence that says the same (of one kind, scope, group, list or sender) within one spell, between two
things that lift it, only both ends are kept:

- of bounces the first and last of each message, the first window that closes the address, and then both ends;
- of the rest the first and the last ones, since only the first tells `since`, and any of them tells that it holds;
- of what lifts the last ones: an older release voids nothing that a newer one does not.

So what holds does not change by it (tests/projections/gate/test_thinning.py). What can become less exact is `since`,
where a release or a bounce arrives later than more newer evidence than is kept.

All that is left may still be much, where it says many different things: thousands of groups, accounts or lists. What
does not fit into a record of Kafka is forgotten, the oldest first: so nothing that a release voids outlives it. Only
then does what is kept depend on the order of arrival.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import orjson

from projections.gate.addressing import sender_key
from projections.gate.evidence import LIFTS, Evidence, Kind
from projections.gate.rules import PER_MESSAGE, Rules
from projections.gate.spells import first_window
from projections.gate.texts import MAX_CHARACTERS

__all__ = ["MAX_ROW_BYTES", "thinned"]

MAX_ROW_BYTES: Final = 7 * 2**20
"""How large a row, or a record of `suppressions.changed`, may become at most; a record of Kafka has up to 8 MiB."""
_NAMES_BYTES: Final = 200
"""What is published of a piece beside its texts: names of fields, times, a reason; for each sender of an opt-out."""
_RELEASED_BYTES: Final = 6 * MAX_CHARACTERS
"""What a scope says of who released it; the release of the whole platform says it of every scope."""
_FEW: Final = 600
"""Pieces that fit whatever they say: each has four texts of up to 320 characters, of up to 6 bytes in JSON."""


def thinned(evidence: Mapping[str, Evidence], rules: Rules) -> Mapping[str, Evidence]:
    """Return the part of the evidence of one address that has to be remembered."""
    if len(evidence) <= rules.kept:
        return evidence
    return _fitting(_without_repeats(evidence, rules))


def _fitting(evidence: Mapping[str, Evidence]) -> Mapping[str, Evidence]:
    """The newest of it that fit into a row."""
    if len(evidence) <= _FEW:
        return evidence
    newest_first = sorted(evidence.values(), key=lambda e: (e.at_us, e.key), reverse=True)
    filled = accumulate(map(_most_bytes, newest_first))
    return {e.key: e for e, total in zip(newest_first, filled, strict=True) if total <= MAX_ROW_BYTES}


def _most_bytes(e: Evidence) -> int:
    """How many bytes a piece takes at most, in a row together with what was published, or in a published record."""
    released = _RELEASED_BYTES if e.kind == Kind.SUPPRESS else 0
    return len(orjson.dumps(tuple(e))) + _NAMES_BYTES * max(1, len(e.senders)) + released


def _without_repeats(evidence: Mapping[str, Evidence], rules: Rules) -> Mapping[str, Evidence]:
    ordered = sorted(evidence.values(), key=lambda e: (e.at_us, e.id))
    lifts = [e for e in ordered if e.kind in LIFTS]
    kept = [e for alike in _alike(lifts, ()) for e in alike[-rules.kept :]]
    borders = sorted(e.at_us for e in kept)
    for alike in _alike((e for e in ordered if e.kind not in LIFTS), borders):
        kept += _ends(alike, rules.kept) if alike[0].kind != Kind.BOUNCE else _of_bounces(alike, rules)
    return {e.key: e for e in kept}


def _alike(ordered: Iterable[Evidence], borders: Sequence[int]) -> Iterable[list[Evidence]]:
    """The evidence in lists of what says the same between the same borders."""
    lists: dict[tuple[object, ...], list[Evidence]] = defaultdict(list)
    for e in ordered:
        spell = bisect_left(borders, e.at_us)
        senders = tuple(map(sender_key, e.senders))
        lists[spell, e.kind, e.scope, e.group, senders, e.list].append(e)
    return lists.values()


def _of_bounces(bounces: Sequence[Evidence], rules: Rules) -> list[Evidence]:
    of_messages: dict[str, list[Evidence]] = defaultdict(list)
    for bounce in bounces:
        of_messages[bounce.message or bounce.id].append(bounce)
    few = [bounce for of_message in of_messages.values() for bounce in _ends(of_message, PER_MESSAGE)]
    few.sort(key=lambda e: (e.at_us, e.id))
    return [*first_window(bounces, rules), *_ends(few, rules.kept)]


def _ends(ordered: Sequence[Evidence], count: int) -> Sequence[Evidence]:
    return ordered if len(ordered) <= 2 * count else [*ordered[:count], *ordered[-count:]]
