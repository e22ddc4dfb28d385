"""The messages that were refused because of suppressions that a bulk release ended, so that they can be sent again.

In:  the id of a bulk release; the principal, and one of their accounts or none. Out: rows of `messages`: all of them in
chunks, or page by page.

They are the messages with the status Suppressed to an address that the release freed, decided between the start of its
suppression and the next one. Memory is bounded: a chunk is about some hundred addresses. Their order is that of the
release's commands, some hundred at a time, and within these by channel and Date Sent.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, NamedTuple

from application.bulk_releases import DEFAULT_LIMITS, ReleasedAddress, released_pages, valid_bulk_id
from application.principals import Principal, require_account_access
from projections.messages.exports import read_columns
from projections.messages.filters import Filter
from projections.messages.queries import Cursor
from projections.store.ports import Reader
from projections.suppressions.bulk_release import Period, refused_period
from schemas.decoding.ids import ALL, sent_at_us
from schemas.decoding.times import DAY_US, rfc3339_us

__all__ = ["REFUSED_COLUMNS", "RefusedKey", "RefusedPage", "refused_messages", "refused_page"]

REFUSED_COLUMNS: Final = (
    *("account_id", "email_id", "date_sent", "decided_at", "channel", "template_id", "type", "sent_to", "recipient_id"),
    *("to_address", "subject", "appointment_id", "code", "reason"),
)

_ROWS_AT_ONCE: Final = 5_000
_ADDRESSES_OF_PAGE: Final = 500
_READ: Final = (*REFUSED_COLUMNS, "to_key")
_CHANNELS: Final = ("email", "sms")
_MOST_CHUNKS: Final = 4
"""How many chunks are read for one page: of most releases few messages were refused."""

Row = dict[str, Any]


class RefusedKey(NamedTuple):
    """A place in the list: after a message of the addresses of some commands; blank for what is before the first."""

    begin: str = ""
    """The command before these, …"""
    until: str = ""
    """… and the last of them. Others may arrive in between; if blank, this is the place before the next ones."""
    channel: str = ""
    date_sent_ms: int = 0
    email_id: str = ""
    account_id: str = ""

    @property
    def message(self) -> Cursor:
        """The message."""
        return Cursor(self.date_sent_ms, self.email_id, self.account_id)


class RefusedPage(NamedTuple):
    """Some messages. It may have fewer than wanted, even none, and yet there is a next one."""

    rows: Sequence[Row]
    next: RefusedKey | None


class _Refusal(NamedTuple):
    scope: str
    period: Period

    def caused(self, row: Row) -> bool:
        """Whether a message of the address was refused in this scope and period."""
        decided_us = rfc3339_us(row["decided_at"]) or 0
        is_within = self.period.to_us is None or decided_us < self.period.to_us
        return self.scope in (ALL, row["account_id"]) and self.period.from_us <= decided_us and is_within


class _Chunk(NamedTuple):
    """Messages of the addresses of some commands; the commands, as a key; and the place behind these messages."""

    rows: Sequence[Row]
    commands: RefusedKey
    end: RefusedKey


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, and where."""

    store: Reader
    principal: Principal
    bulk_id: str
    account: str | None
    decision_days: int

    def chunks(self, addresses_at_once: int, after: RefusedKey) -> Iterator[_Chunk]:
        """Yield all chunks; the last one of the addresses of some commands may be empty."""
        for begin, page in self._released(addresses_at_once, after):
            commands = RefusedKey(begin, page[-1].command.command_id) if page else after
            yield from self._of_addresses(page, commands, after if after.until else None)
            yield _Chunk((), commands, RefusedKey(commands.until))
            after = RefusedKey()

    def _released(self, at_once: int, after: RefusedKey) -> Iterator[tuple[str, Sequence[ReleasedAddress]]]:
        """Yield the released addresses, each time after the command that is named with them."""
        begin = after.begin
        if after.until:  # the same ones as before
            pages = released_pages(self.store, self.bulk_id, self.principal, after=begin)
            same = next(pages, ())
            yield begin, [one for one in same if one.command.command_id <= after.until]
            begin = after.until
        for page in released_pages(self.store, self.bulk_id, self.principal, at_once, begin):
            yield begin, page
            begin = page[-1].command.command_id

    def _of_addresses(
        self, page: Sequence[ReleasedAddress], commands: RefusedKey, after: RefusedKey | None
    ) -> Iterator[_Chunk]:
        refusals = _refusals(page)
        accounts = [self.account] if self.account else None
        if accounts is None and not self.principal.covers_all:
            accounts = sorted(self.principal.accounts)
        for channel in _CHANNELS:
            if channel not in refusals or (after is not None and channel < after.channel):
                continue
            of_channel = refusals[channel]
            first_us = min(one.period.from_us for of_address in of_channel.values() for one in of_address)
            wanted = Filter(
                accounts,
                from_us=max(0, first_us - (self.decision_days + 1) * DAY_US),
                statuses=["Suppressed"],
                channel=channel,
                addresses=sorted(of_channel),
            )
            behind = after.message if after is not None and channel == after.channel else None
            yield from self._of_filter(wanted, of_channel, commands._replace(channel=channel), behind)

    def _of_filter(
        self, wanted: Filter, refusals: Mapping[str, Sequence[_Refusal]], commands: RefusedKey, behind: Cursor | None
    ) -> Iterator[_Chunk]:
        if behind is not None:  # the hours before it need not be searched
            wanted = replace(wanted, from_us=max(wanted.from_us or 0, behind.date_sent_ms * 1000))
        found = read_columns(self.store, wanted, _READ, order="oldest", rows_at_once=_ROWS_AT_ONCE, after=behind)
        for columns in found:
            rows = [dict(zip(_READ, values, strict=True)) for values in zip(*columns, strict=True)]
            # The filter also finds messages with a CC to an address.
            refused = [row for row in rows if any(one.caused(row) for one in refusals.get(row["to_key"], ()))]
            yield _Chunk(refused, commands, _key_of(rows[-1], commands))


def refused_messages(
    store: Reader, principal: Principal, bulk_id: str, *, account: str | None, decision_days: int
) -> Iterator[Sequence[Row]]:
    """Yield the messages with the columns REFUSED_COLUMNS, each once, in chunks; a chunk may be empty.

    `decision_days`: how old a message may be when it is decided. Raises RequestError for an unknown id or account.
    """
    search = _search(store, principal, bulk_id, account, decision_days)
    for chunk in search.chunks(DEFAULT_LIMITS.rows_at_once, RefusedKey()):
        yield [_shown(row) for row in chunk.rows]


def refused_page(
    store: Reader,
    principal: Principal,
    bulk_id: str,
    *,
    account: str | None,
    decision_days: int,
    limit: int,
    after: RefusedKey | None = None,
) -> RefusedPage:
    """Return up to `limit` of these messages after a place. Raises RequestError for an unknown id or account."""
    search = _search(store, principal, bulk_id, account, decision_days)
    chunks = search.chunks(_ADDRESSES_OF_PAGE, after or RefusedKey())
    found: list[tuple[Row, RefusedKey]] = []
    end: RefusedKey | None = None
    for chunk in islice(chunks, _MOST_CHUNKS):
        end = chunk.end
        found += [(row, _key_of(row, chunk.commands)) for row in chunk.rows]
        if len(found) > limit:
            return RefusedPage([_shown(row) for row, _ in found[:limit]], found[limit - 1][1])
    is_last = next(chunks, None) is None
    return RefusedPage([_shown(row) for row, _ in found], None if is_last else end)


def _search(store: Reader, principal: Principal, bulk_id: str, account: str | None, decision_days: int) -> _Search:
    if account is not None:
        require_account_access(principal, account)
    return _Search(store, principal, valid_bulk_id(bulk_id), account, decision_days)


def _shown(row: Row) -> Row:
    return {name: row[name] for name in REFUSED_COLUMNS}


def _key_of(row: Row, commands: RefusedKey) -> RefusedKey:
    sent_ms = sent_at_us(row["email_id"]) // 1000  # Date Sent is the time in the id
    return commands._replace(date_sent_ms=sent_ms, email_id=row["email_id"], account_id=row["account_id"])


def _refusals(page: Sequence[ReleasedAddress]) -> Mapping[str, Mapping[str, Sequence[_Refusal]]]:
    """The refusals of each address, by channel and address."""
    found: defaultdict[str, defaultdict[str, list[_Refusal]]] = defaultdict(lambda: defaultdict(list))
    for command, changes in page:
        period = refused_period(command, changes)
        if period is not None:
            found[command.channel][command.address].append(_Refusal(command.scope, period))
    return found
