"""What must hold for an address: whether it is closed, and what its owner does not want.

In:  `Word`s about one address: what providers tell of it, what people command.
Out: a `Closed`: for each scope whether it is suppressed, why and since when; the opt-outs in force.
Promise: follows docs/explanation/gate.md as it is written, and shares no code with what it judges. It looks at all
words at once, in order of time: slow and plain, for addresses of which little is said.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from schemas.times import rfc3339
from simulator.durations import DAY

__all__ = ["EVERYWHERE", "Word", "closed"]

EVERYWHERE: Final = "*"
_ENOUGH: Final = 3
_WINDOW_US: Final = 30 * DAY
_OPT_OUTS: Final = ("unsubscribed", "opted_out")


class Word(NamedTuple):
    """One thing that is said of an address."""

    what: str
    """`bounce`, `complaint`, `listed`, `unlisted`, `unsubscribed`, `resubscribed`, `opted_out`, `opted_in`; or of the
    commands: `suppress`, `release`, `opt_in`."""
    at_us: int | None = None
    """None: only the gateway knows when it came."""
    scope: str = EVERYWHERE
    message: str = ""
    """What a bounced message is told from others by."""
    group: str = ""
    senders: tuple[str, ...] = ()
    list: str = ""
    actor: str = ""
    chapter: int = 0
    """That of the plan in which it is told: what is told in a later one comes later."""


def closed(words: Sequence[Word]) -> dict[str, Any]:
    """Return what must hold, as the oracle says it. Opt-outs are left out where the order of what came is not known."""
    ordered = sorted(words, key=lambda word: (word.at_us or 0, word.chapter))
    scopes = {EVERYWHERE, *(word.scope for word in ordered if word.what == "suppress")}
    said: dict[str, Any] = {"scopes": {scope: _scope(scope, ordered) for scope in sorted(scopes)}}
    return said if _unordered(words) else said | {"opt_outs": sorted(_opt_outs(ordered))}


def _scope(scope: str, ordered: Sequence[Word]) -> dict[str, Any]:
    releases = [word for word in ordered if word.what == "release" and word.scope in (EVERYWHERE, scope)]
    left = _not_void(ordered, releases)
    for reason, since in _reasons(scope, left):
        return {"suppressed": True, "reason": reason, "since": since}
    said: dict[str, Any] = {"suppressed": False}
    void = [word for word in ordered if word not in left]
    if releases and (any(True for _ in _reasons(scope, void)) or _was_suppressed(scope, ordered)):
        said["actor"] = releases[-1].actor
    return said


def _not_void(ordered: Sequence[Word], releases: Sequence[Word]) -> list[Word]:
    """What no release voids: what is later, and a suppression of the same moment."""
    if not releases:
        return list(ordered)
    voided_us = releases[-1].at_us or 0
    return [
        word
        for word in ordered
        if word.at_us is None or word.at_us > voided_us or (word.what == "suppress" and word.at_us == voided_us)
    ]


def _was_suppressed(scope: str, ordered: Sequence[Word]) -> bool:
    """Return whether the scope was suppressed once a chapter had been read: then it was stated, and stays stated."""
    for chapter in sorted({word.chapter for word in ordered}):
        read = [word for word in ordered if word.chapter <= chapter]
        releases = [word for word in read if word.what == "release" and word.scope in (EVERYWHERE, scope)]
        if any(True for _ in _reasons(scope, _not_void(read, releases))):
            return True
    return False


def _reasons(scope: str, words: Sequence[Word]) -> Iterator[tuple[str, Any]]:
    """Yield the reasons that hold, with their `since`, in the order in which they are shown."""
    if scope == EVERYWHERE:
        yield from (("complaint", _time(word)) for word in words if word.what == "complaint")
    yield from (("manual", _time(word)) for word in words if word.what == "suppress" and word.scope == scope)
    if scope != EVERYWHERE:
        return
    since: Any = None
    on: set[str] = set()
    for word in words:
        if word.what == "listed":
            since = since if on else _time(word)
            on.add(word.list)
        elif word.what == "unlisted":
            on.discard(word.list)
    if on:
        yield "provider", since
    bounces = [word for word in words if word.what == "bounce"]
    for number, last in enumerate(bounces):
        near = [word for word in bounces[: number + 1] if (last.at_us or 0) - (word.at_us or 0) <= _WINDOW_US]
        if len({word.message for word in near}) >= _ENOUGH:
            yield "bounces", _time(last)


def _opt_outs(ordered: Sequence[Word]) -> Iterator[list[str]]:
    """Yield scope, group, sender and reason of each."""
    seen: set[tuple[str, ...]] = set()
    for number, word in enumerate(ordered):
        if word.what not in _OPT_OUTS:
            continue
        for sender in word.senders or ("",):
            if any(_lifts(later, word, sender) for later in ordered[number + 1 :]):
                continue
            if word.what == "opted_out":
                reason = "sms_opt_out"
            else:
                reason = "group_unsubscribed" if word.group else "unsubscribed"
            out = (word.scope, word.group, sender, reason)
            if out not in seen:
                seen.add(out)
                yield list(out)


def _lifts(later: Word, out: Word, sender: str) -> bool:
    match later.what:
        case "resubscribed":
            return out.what == "unsubscribed" and (later.scope, later.group) == (out.scope, out.group)
        case "unlisted":
            return bool(out.list) and later.list == out.list
        case "opted_in":
            return out.what == "opted_out" and (not sender or _named(sender, later))
        case "opt_in":
            names_none = not later.group and not later.senders
            names_it = (bool(out.group) and later.group == out.group) or (bool(sender) and _named(sender, later))
            return later.scope == out.scope and (names_none or names_it)
    return False


def _named(sender: str, word: Word) -> bool:
    """Return whether a word names a sender, in whatever case."""
    return sender.lower() in (one.lower() for one in word.senders)


def _time(word: Word) -> Any:
    """The time of a word as text."""
    return {"any": True} if word.at_us is None else rfc3339(word.at_us)


def _unordered(words: Iterable[Word]) -> bool:
    """Return whether somebody opted out and in within one chapter, and only the gateway knows in which order."""
    untimed = [word for word in words if word.at_us is None]
    back = {word.chapter for word in untimed if word.what == "opted_in"}
    return any(word.what == "opted_out" and word.chapter in back for word in untimed)
