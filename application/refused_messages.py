"""The messages that were refused because of suppressions that a bulk release ended, so that they can be sent again.

In:  the id of a bulk release; the principal, and one of their accounts or none. Out: rows of `messages`, in chunks.

They are the messages with the status Suppressed to an address that the release freed, decided between the start of its
suppression and the next one. Memory is bounded: a chunk is about some hundred addresses.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from application.bulk_releases import ReleasedAddress, released_pages, valid_bulk_id
from application.principals import Principal, require_account_access
from projections.messages.exports import read_columns
from projections.messages.filters import Filter
from projections.store.ports import Reader
from projections.suppressions.bulk_release import Period, refused_period
from schemas.decoding.ids import ALL
from schemas.decoding.times import DAY_US, rfc3339_us

__all__ = ["REFUSED_COLUMNS", "refused_messages"]

REFUSED_COLUMNS: Final = (
    *("account_id", "email_id", "date_sent", "decided_at", "channel", "template_id", "type", "sent_to", "recipient_id"),
    *("to_address", "subject", "appointment_id", "code", "reason"),
)

_ROWS_AT_ONCE: Final = 5_000
_READ: Final = (*REFUSED_COLUMNS, "to_key")

Row = dict[str, Any]


class _Refusal(NamedTuple):
    scope: str
    period: Period

    def caused(self, row: Row) -> bool:
        """Whether a message of the address was refused in this scope and period."""
        decided_us = rfc3339_us(row["decided_at"]) or 0
        is_within = self.period.to_us is None or decided_us < self.period.to_us
        return self.scope in (ALL, row["account_id"]) and self.period.from_us <= decided_us and is_within


def refused_messages(
    store: Reader, principal: Principal, bulk_id: str, *, account: str | None, decision_days: int
) -> Iterator[Sequence[Row]]:
    """Yield the messages with the columns REFUSED_COLUMNS, each once.

    `decision_days`: how old a message may be when it is decided. Raises RequestError for an unknown id or account.
    """
    if account is not None:
        require_account_access(principal, account)
    accounts = [account] if account else None if principal.covers_all else sorted(principal.accounts)
    for page in released_pages(store, valid_bulk_id(bulk_id), principal):
        for channel, refusals in _refusals(page).items():
            periods = [one.period for of_address in refusals.values() for one in of_address]
            wanted = Filter(
                accounts,
                from_us=max(0, min(period.from_us for period in periods) - (decision_days + 1) * DAY_US),
                statuses=["Suppressed"],
                channel=channel,
                addresses=sorted(refusals),
            )
            yield from _of_filter(store, wanted, refusals)


def _of_filter(store: Reader, wanted: Filter, refusals: Mapping[str, Sequence[_Refusal]]) -> Iterator[Sequence[Row]]:
    for columns in read_columns(store, wanted, _READ, order="oldest", rows_at_once=_ROWS_AT_ONCE):
        rows = [dict(zip(_READ, values, strict=True)) for values in zip(*columns, strict=True)]
        # The filter also finds messages with a CC to an address.
        found = [row for row in rows if any(one.caused(row) for one in refusals.get(row["to_key"], ()))]
        if found:
            yield [{name: row[name] for name in REFUSED_COLUMNS} for row in found]


def _refusals(page: Sequence[ReleasedAddress]) -> Mapping[str, Mapping[str, Sequence[_Refusal]]]:
    """The refusals of each address, by channel and address."""
    found: defaultdict[str, defaultdict[str, list[_Refusal]]] = defaultdict(lambda: defaultdict(list))
    for command, changes in page:
        period = refused_period(command, changes)
        if period is not None:
            found[command.channel][command.address].append(_Refusal(command.scope, period))
    return found
