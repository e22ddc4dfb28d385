"""How the events of the providers arrived within a window of time: the queries on `arrivals`.

In:  a store to read from; times in microseconds. Out: rows by provider and type. Every query limits `received_at`, the
first column of the table's key: its cost depends on the traffic of these days, not on the length of the log.
"""

from typing import Final, NamedTuple

from projections.messages.queries import Query
from projections.store.ports import Reader
from projections.weather.silence import MINUTE_US, RECENT_MINUTES, Heard
from schemas.decoding.times import DAY_US
from schemas.events import EventType

__all__ = ["Arrivals", "arrivals", "heard", "read_arrivals", "read_heard"]

_OURS: Final = f"'{EventType.DISPATCHED}'"


class Arrivals(NamedTuple):
    """The events of one provider and type that arrived within a window."""

    provider: str
    type: str
    received: int
    """Events that arrived within the window, each copy counted."""
    events: int
    """Distinct events among them."""
    copies: int
    """Copies of these events that arrived within the window or in the day before it."""
    first: int
    """New events: their first copy arrived within the window. The next three values are about these."""
    out_of_order: int
    """New events that happened before another event of the same message which had arrived earlier."""
    p50: float | None
    """Seconds from when an event happened until it arrived, for half of them at most. None if none has a time."""
    p95: float | None
    """The same for 95 %."""
    orphans: int
    """Of `events`: those that belong to no message of ours, as far as is known."""

    @property
    def duplicate_factor(self) -> float:
        """Copies received per event."""
        return self.copies / self.events

    @property
    def out_of_order_share(self) -> float | None:
        """The share of the new events that are out of order; None without any."""
        return self.out_of_order / self.first if self.first else None


def read_arrivals(store: Reader, from_us: int, to_us: int) -> list[Arrivals]:
    """Return what arrived in [from, to), by provider and type."""
    query = arrivals(from_us, to_us)
    return [Arrivals(*row) for row in store.tuples(query.sql, query.parameters)]


def read_heard(store: Reader, to_us: int) -> list[Heard]:
    """Return the events of each provider and type in the day before `to_us`."""
    query = heard(to_us)
    return [Heard(*row) for row in store.tuples(query.sql, query.parameters)]


def arrivals(from_us: int, to_us: int) -> Query:
    """Return the query of `Arrivals`.

    A copy of an event is identified by its position in the log, so a row that a replay wrote again is counted once.
    """
    place = "received_at, partition, offset, position"
    in_window = "received_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')"
    before_end = f"received_at < fromUnixTimestamp64Micro({{to:Int64}}, 'UTC') AND type != {_OURS}"
    delay = "greatest(0, toUnixTimestamp64Micro(first_at) - toUnixTimestamp64Micro(occurred)) / 1000000"
    return Query(
        "SELECT provider, kind, sum(received) AS received_, count(), sum(copies), countIf(is_first),"  # noqa: S608
        " countIf(is_first AND occurred < youngest_before),"
        f" quantileExactIfOrNull(0.5)({delay}, has_time), quantileExactIfOrNull(0.95)({delay}, has_time),"
        " countIf(NOT matched) FROM ("
        "SELECT *, tupleElement(first_place, 1) AS first_at,"
        " first_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AS is_first,"
        # An event without a time of its own has the time of its arrival, to the microsecond.
        " is_first AND occurred != first_at AS has_time,"
        " max(occurred) OVER (PARTITION BY of_message ORDER BY first_place"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS youngest_before FROM ("
        # Copies of an event have the same type, message and time. Only an event without a time has that of each
        # arrival: the first counts. Positions are counted by their hashes: sets of tuples would take four times as
        # long.
        f"SELECT provider, event, any(type) AS kind, any(message) AS of_message, min(occurred_at) AS occurred,"
        f" min(({place})) AS first_place, uniqExactIf(sipHash64({place}), {in_window}) AS received,"
        f" uniqExact(sipHash64({place})) AS copies, max(has_message) AS matched"
        f" FROM arrivals WHERE received_at >= fromUnixTimestamp64Micro({{before:Int64}}, 'UTC') AND {before_end}"
        f" AND message IN (SELECT message FROM arrivals WHERE {in_window} AND {before_end})"
        " GROUP BY provider, event)) WHERE received > 0 GROUP BY provider, kind ORDER BY provider, kind",
        {"from": from_us, "to": to_us, "before": from_us - DAY_US},
    )


def heard(to_us: int) -> Query:
    """Return the query of `Heard`. `usual` counts the events before the recent minutes."""
    minute = "toUInt32(intDiv(toUnixTimestamp64Micro(received_at), {minute:Int64}))"
    return Query(
        "SELECT provider, type, max(toUnixTimestamp64Micro(received_at)),"  # noqa: S608
        " countIf(received_at < fromUnixTimestamp64Micro({recent:Int64}, 'UTC')),"
        f" sumMapIf(map({minute}, toUInt64(1)), received_at >= fromUnixTimestamp64Micro({{recent:Int64}}, 'UTC'))"
        " FROM arrivals FINAL WHERE received_at >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')"
        " AND received_at < fromUnixTimestamp64Micro({to:Int64}, 'UTC')"
        " GROUP BY provider, type ORDER BY provider, type",
        {
            "minute": MINUTE_US,
            "from": to_us - DAY_US,
            "recent": (to_us // MINUTE_US - RECENT_MINUTES) * MINUTE_US,
            "to": to_us,
        },
    )
