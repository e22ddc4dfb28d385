"""Bulk releases: which suppressions have a common cause, and which of its releases an undo may take back.

In:  suppressed scopes with the events that are their evidence; what is common to those to release.
Out: for each scope whether it is released, or why it is left as it is. For a release that was made: whether nothing has
     changed since, and between which times its address was refused. Pure.

A bulk release is nothing but its commands in the log. Their ids name it: `bulk-release:ID:release:…`, and
`bulk-release:ID:undo:…` for those that undo it. The ID contains the time of the preview and a hash of the cause. So the
same release has the same commands, however often it is repeated, and each cancels only what happened up to the preview.
"""

from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from projections.suppressions.addressing import AddressKey, is_address
from schemas.decoding.addresses import address_key, domain_of
from schemas.decoding.ids import ALL, fact_id, uuid7

__all__ = [
    "RELEASABLE",
    "Cause",
    "EvidenceEvent",
    "Period",
    "ReleaseCommand",
    "ReleaseVerdict",
    "ScopeChange",
    "SuppressedScope",
    "UndoVerdict",
    "bulk_id_of",
    "command_id_of",
    "command_id_range",
    "judge_release",
    "judge_undo",
    "refused_period",
]

RELEASABLE: Final = ("bounces", "manual", "provider")
"""The reasons of suppressions that can be released in bulk. A complaint is released by hand, one by one."""

_PREFIX: Final = "bulk-release"


@dataclass(frozen=True, slots=True)
class Cause:
    """What the suppressions to release have in common. A blank or absent field is no condition.

    Texts are compared literally. Conditions on events must all be met by one event of the evidence.
    """

    reason: str = "bounces"
    account: str = ""
    domain: str = ""
    """In the form of an address key."""
    from_us: int | None = None
    """Suppressed at or after this time, …"""
    to_us: int | None = None
    """… and before this one."""
    provider: str = ""
    code: str = ""
    enhanced_code: str = ""
    text: str = ""
    """A part of the provider's reason, in any case."""

    @property
    def is_narrow(self) -> bool:
        """Whether there is a condition besides the account and the reason."""
        return self.from_us is not None or self.to_us is not None or bool(self.domain) or self.asks_for_events

    @property
    def asks_for_events(self) -> bool:
        """Whether there is a condition on events."""
        return bool(self.provider or self.code or self.enhanced_code or self.text)

    def met_by(self, event: "EvidenceEvent") -> bool:
        """Return whether an event meets all conditions on events."""
        return (
            self.provider in ("", event.provider)
            and self.code in ("", event.code)
            and self.enhanced_code in ("", event.enhanced_code)
            and self.text.casefold() in event.reason.casefold()
        )


class SuppressedScope(NamedTuple):
    """A scope in which an address is suppressed now."""

    channel: str
    address: str
    scope: str
    reason: str
    since_us: int
    changed_us: int
    """When the address changed last, in whatever scope."""
    evidence: Sequence[str]
    other_scopes: int = 0
    """In how many other scopes the address is suppressed, too."""


class EvidenceEvent(NamedTuple):
    """An event that is evidence; the account is blank where the event names no message."""

    event_id: str
    account_id: str
    provider: str
    code: str
    enhanced_code: str
    reason: str


class ReleaseVerdict(StrEnum):
    """Whether a suppression is released in bulk, or why it is left as it is."""

    RELEASE = "release"
    UNRELATED = "unrelated"
    """It does not have this cause; it is not even counted."""
    CHANGED = "the address changed after the preview"
    OTHER_SCOPE = "it is suppressed in an account, too, which a release of * would also release"
    OTHER_ACCOUNT = "bounces of other accounts count, too"
    NOT_SENDABLE = "it is not a valid address"


class ReleaseCommand(NamedTuple):
    """A command of a bulk release."""

    command_id: str
    channel: str
    address: str
    scope: str
    actor: str
    at_us: int


class ScopeChange(NamedTuple):
    """What a version of an address states about one scope."""

    version: int
    suppressed: bool
    since_us: int
    released_us: int | None
    released_by: str
    changed_us: int


class UndoVerdict(StrEnum):
    """Whether the release of an address is undone, or why it is left as it is."""

    UNDO = "undo"
    SUPPRESSED = "it is suppressed, or the release has not been applied yet"
    CHANGED = "somebody else released it"


class Period(NamedTuple):
    """From the start of a suppression to the start of the next one, if there was a next one."""

    from_us: int
    to_us: int | None


def bulk_id_of(cause: Cause, as_of_us: int) -> str:
    """Return the id of the bulk release of a cause at a time, of which milliseconds count: a UUID 7 of that time."""
    as_of_us -= as_of_us % 1000
    return uuid7(as_of_us, bytes.fromhex(fact_id([as_of_us, *astuple(cause)])))


def command_id_of(bulk_id: str, action: str, key: AddressKey, scope: str) -> str:
    """Return the id of a command of a bulk release; `action` is `release` or `undo`."""
    return f"{_PREFIX}:{bulk_id}:{action}:{fact_id([*key, scope])}"


def command_id_range(bulk_id: str = "", action: str = "") -> tuple[str, str]:
    """Return the range (its end excluded) of the ids of all commands, of one bulk release, or of one action of it."""
    begin = ":".join(part for part in (_PREFIX, bulk_id, action) if part)
    return f"{begin}:", f"{begin};"  # `;` is the character after `:`


def judge_release(
    row: SuppressedScope, events: Collection[EvidenceEvent], cause: Cause, as_of_us: int
) -> ReleaseVerdict:
    """Return whether a suppression is released. `events` are the known events of its evidence."""
    of_cause = (
        row.reason == cause.reason
        and row.reason in RELEASABLE
        and cause.domain in ("", domain_of(row.address))
        and (cause.from_us is None or row.since_us >= cause.from_us)
        and (cause.to_us is None or row.since_us < cause.to_us)
        and (not cause.asks_for_events or any(map(cause.met_by, events)))
    )
    if not of_cause or not _concerns(row, events, cause.account):
        return ReleaseVerdict.UNRELATED
    if max(row.changed_us, row.since_us) > as_of_us:
        return ReleaseVerdict.CHANGED
    if row.scope == ALL and row.other_scopes:
        return ReleaseVerdict.OTHER_SCOPE
    if row.scope == ALL and cause.account and not _only_of(row, events, cause.account):
        return ReleaseVerdict.OTHER_ACCOUNT
    if not is_address(row.address, row.channel) or address_key(row.address, row.channel) != row.address:
        return ReleaseVerdict.NOT_SENDABLE
    return ReleaseVerdict.RELEASE


def judge_undo(command: ReleaseCommand, changes: Sequence[ScopeChange]) -> UndoVerdict:
    """Return whether a release is undone. `changes` are those of its address and scope, oldest first."""
    if not changes or changes[-1].suppressed:
        return UndoVerdict.SUPPRESSED
    return UndoVerdict.UNDO if _is_of(command, changes[-1]) else UndoVerdict.CHANGED


def refused_period(command: ReleaseCommand, changes: Sequence[ScopeChange]) -> Period | None:
    """Return when the suppression that a command ended may have caused refusals; None if it ended none.

    Requests that were read before the release are decided after it. So the period lasts until the next suppression.
    """
    released = next((change for change in changes if _is_of(command, change)), None)
    if released is None:
        return None
    later = (c.changed_us for c in changes if c.version > released.version and c.suppressed)
    return Period(released.since_us, next(later, None))


def _concerns(row: SuppressedScope, events: Collection[EvidenceEvent], account: str) -> bool:
    """Whether a suppression is about an account: it is the account's own, or events of the account are evidence."""
    if not account or row.scope == account:
        return True
    return row.scope == ALL and any(event.account_id == account for event in events)


def _only_of(row: SuppressedScope, events: Collection[EvidenceEvent], account: str) -> bool:
    known = {event.event_id for event in events}
    return known.issuperset(row.evidence) and all(event.account_id == account for event in events)


def _is_of(command: ReleaseCommand, change: ScopeChange) -> bool:
    """Whether a version states that this command released the scope."""
    released = (change.released_us, change.released_by)
    return not change.suppressed and released == (command.at_us, command.actor)
