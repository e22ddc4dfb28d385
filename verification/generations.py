"""Compare two generations: which rows only one of them has, and which rows have different values.

In:  two generations of one installation, which have read the log up to the same place.
Out: for each subject the number of rows that are missing, extra or changed, the values of its main column before and
     after, and samples with the columns that differ.

First, sums of 64-bit hashes of the rows are compared, by buckets of their keys: equal generations are read once each,
in constant memory. Only buckets with different sums are compared row by row. That a difference leaves the sum of its
bucket equal by chance is as likely as 1 in 2^64.

Records may be added meanwhile, so a row may be in one generation and not yet in the other. Only a difference that two
comparisons find counts; before the second, both generations read the log to its end (`confirm`).
"""
# ruff: noqa: S608 - names of our own tables and columns

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from projections.store import Store
from verification.part import WHOLE, Part

__all__ = ["SUBJECTS", "Comparison", "Generations", "Sample", "Subject"]

BUCKETS: Final = 16_384
_ROWS_AT_ONCE: Final = 500_000
"""Rows of both generations that one query compares by key."""
_SAMPLES: Final = 10
_MAX_KEYS: Final = 1_000_000
"""Keys that are kept for the second comparison. With more differences than this, it counts all rows that differ then,
also those that did not differ before."""
_MEMORY: Final = "SETTINGS max_bytes_before_external_group_by = 1000000000, max_bytes_before_external_sort = 1000000000"


Kind = Literal["missing", "extra", "changed"]
"""Only the second generation has the row; only the first has it; both have it, with different values."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A view or a table whose rows are compared."""

    name: str
    key: tuple[str, ...]
    main: str = ""
    """The column whose values before and after are counted."""
    is_table: bool = True
    """Whether it is read with FINAL, which merges the copies of a row. A view does that itself."""
    where: str = "1"
    ignored: tuple[str, ...] = ()
    """Columns that may differ between equal generations: when or how a row was stored."""
    months: str = ""
    """A time column. If it is given, the view is read month by month: ClickHouse has all rows of one query on it in
    memory at once."""
    message: str = ""
    """The column with the message id. Of a part of the messages, only their rows are compared. Blank: all rows."""
    expires: str = ""
    """The time by which rows expire under the retention (SQL). Expired rows are not compared: ClickHouse deletes them
    some time later."""
    may_have_more: bool = False
    """Whether extra rows of the first generation are not counted: an index may have old entries, which do no harm."""


_NOT_WITHDRAWN: Final = "link != 'withdrawn'"
"""Leaves out events that were matched to a message and withdrawn from it: whether there are any depends on the order in
which records were read."""
_OF_ID: Final = "UUIDv7ToDateTime(message_id, 'UTC')"
SUBJECTS: Final = (
    Subject(
        "messages",
        ("account_id", "email_id"),
        main="status",
        is_table=False,
        months="date_sent",
        message="email_id",
        expires="date_sent",
    ),
    Subject("suppressions", ("channel", "address", "scope"), main="suppressed", is_table=False),
    Subject(
        "events",
        ("account_id", "message_id", "event_id"),
        main="type",
        where=_NOT_WITHDRAWN,
        message="message_id",
        expires="sent_at",
    ),
    Subject(
        "orphans",
        ("provider", "provider_message_id", "event_id"),
        main="type",
        ignored=("stored_at",),
        expires="received_at",
    ),
    Subject(
        "bounces",
        ("account_id", "channel", "address", "message_id", "event_id"),
        main="type",
        where=_NOT_WITHDRAWN,
        message="message_id",
        expires=_OF_ID,
    ),
    Subject("dispatches", ("provider", "provider_message_id", "account_id", "message_id"), expires=_OF_ID),
    Subject("contents", ("account_id", "message_id"), message="message_id", expires="sent_at"),
    Subject("erasures", ("account_id", "message_id", "erasure_id"), message="message_id"),
    Subject("suppression_changes", ("channel", "address", "version", "scope"), main="suppressed"),
    Subject("opt_outs", ("channel", "address", "version", "scope", "group", "sender")),
    Subject("commands", ("command_id",), main="action"),
    Subject("policies", ("account_id",)),
    Subject("preferences", ("account_id", "recipient_kind", "recipient_id")),
    Subject(
        "holders",
        ("known_by", "account_id", "message_id"),
        message="message_id",
        expires=_OF_ID,
        may_have_more=True,
    ),
    Subject("addressees", ("account_id", "channel", "address"), may_have_more=True),
    Subject(
        "evidence",
        ("event_id", "account_id", "message_id"),
        main="type",
        where=_NOT_WITHDRAWN,
        # Of a part of the messages, only evidence of no message and of these is written.
        message="message_id",
        expires="received_at",
    ),
    # Deleted after eight days, by whole days: the first generation may still have older rows. `has_message` becomes 1
    # in one generation earlier than in the other, when an orphan finds its message.
    Subject(
        "arrivals",
        ("provider", "received_at", "partition", "offset", "position"),
        main="type",
        ignored=("has_message",),
        may_have_more=True,
    ),
)
"""Every table that is made of the log; a test compares them with the migrations. Left out are `message_state`, whose
values the view `messages` shows; `recent_orphans`, a list of events to match again; and `withdrawn_addressees`, since
which events are matched and withdrawn depends on the order in which records were read."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row that differs. `columns`: those that differ, with the values before and after; empty if it is missing."""

    key: tuple[str, ...]
    kind: Kind
    columns: Mapping[str, tuple[str, str]]


@dataclass(slots=True)
class Comparison:
    """What the second generation would change in one subject."""

    subject: Subject
    rows: tuple[int, int] = (0, 0)
    kinds: Counter[Kind] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The number of rows by the value of the main column in the first and in the second generation; blank: no row."""
    samples: list[Sample] = field(default_factory=list)
    keys: dict[int, Kind] = field(default_factory=dict)
    """How rows differ, by the hash of their key; at most a million."""
    buckets: Sequence[int] = ()
    """The buckets with different sums."""

    @property
    def total(self) -> int:
        """Rows that are not the same in both."""
        return self.kinds.total()


@dataclass(frozen=True, slots=True)
class Generations:
    """Two generations of one installation, and the part of the messages that is compared."""

    store: Store
    first: int
    second: int
    part: Part = WHOLE

    def compare(self, subjects: Iterable[Subject] = SUBJECTS) -> list[Comparison]:
        """Compare subject by subject. Raises StoreError."""
        return [_Comparing(self, subject).compare() for subject in subjects]

    def confirm(self, before: Iterable[Comparison]) -> list[Comparison]:
        """Compare again the subjects that differed; return what still differs, with samples. Raises StoreError."""
        return [_Comparing(self, one.subject).compare(one) if one.total else one for one in before]


class _Comparing:
    """One comparison of one subject."""

    def __init__(self, of: Generations, subject: Subject) -> None:
        self._store, self._subject = of.store, subject
        self._databases = (of.store.tables_of(of.first), of.store.tables_of(of.second))
        self._where = f"({subject.where})"
        if subject.message and not of.part.is_whole:
            self._where += f" AND ({of.part.condition(subject.message)})"
        if subject.expires:
            self._where += f" AND ({subject.expires} >= toDateTime64('{self._kept_since()}', 6, 'UTC'))"
        self._columns = self._common_columns()
        self._key = f"cityHash64(tuple({', '.join(subject.key)}))"
        self._hash = f"cityHash64(tuple({', '.join(self._columns)}))"

    def compare(self, before: Comparison | None = None) -> Comparison:
        found = Comparison(self._subject)
        if before is None:
            sums, found.rows = self._sums()
            found.buckets = sorted(bucket for bucket, sides in sums.items() if sides[0] != sides[1])
            sizes = {bucket: sums[bucket][0][1] + sums[bucket][1][1] for bucket in found.buckets}
        else:
            found.rows, found.buckets = before.rows, before.buckets
            sizes = dict.fromkeys(found.buckets, -(-sum(found.rows) // BUCKETS))
        for some in _chunks(sizes):
            self._add_rows(found, some, before.keys if before and len(before.keys) == before.total else None)
        if before is not None and found.keys:
            found.samples = self._samples([*found.keys][:_SAMPLES], found)
        return found

    def _kept_since(self) -> str:
        """Return from which time both generations show messages."""
        both = " UNION ALL ".join(f"SELECT since FROM {database}.kept" for database in self._databases)
        return str(self._store.tuples(f"SELECT toString(max(since)) FROM ({both})")[0][0])

    def _common_columns(self) -> list[str]:
        rows = self._store.tuples(
            "SELECT name FROM system.columns WHERE database IN {databases:Array(String)} AND table = {table:String}"
            " AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') GROUP BY name HAVING uniqExact(database) = 2"
            " ORDER BY name",
            {"databases": list(self._databases), "table": self._subject.name},
        )
        return [name for (name,) in rows if name not in self._subject.ignored]

    def _source(self, side: int, where: str) -> str:
        final = " FINAL" if self._subject.is_table else ""
        return f"{self._databases[side]}.{self._subject.name}{final} WHERE {self._where} AND ({where})"

    def _sums(self) -> tuple[dict[int, list[tuple[int, int]]], tuple[int, int]]:
        """Return, by bucket, the sum of hashes and the number of rows in each generation; and all rows of each."""
        sums = dict[int, list[tuple[int, int]]]()
        rows = [0, 0]
        for side in (0, 1):
            for where in self._windows(side):
                for bucket, total, count in self._store.tuples(
                    f"SELECT {self._key} % {BUCKETS} AS bucket, sum({self._hash}), count()"
                    f" FROM {self._source(side, where)} GROUP BY bucket {_MEMORY}"
                ):
                    sides = sums.setdefault(bucket, [(0, 0), (0, 0)])
                    sides[side] = (sides[side][0] + total) % 2**64, sides[side][1] + count
                    rows[side] += count
        return sums, (rows[0], rows[1])

    def _windows(self, side: int) -> list[str]:
        """Return conditions that split a subject into months; `1` if it is read at once."""
        column = self._subject.months
        if not column:
            return ["1"]
        months = self._store.tuples(
            "SELECT DISTINCT toStartOfMonth(sent_at) AS month, toString(month), toString(addMonths(month, 1))"
            f" FROM {self._databases[side]}.message_state ORDER BY month"
        )
        return [
            f"({column} >= toDateTime64('{first}', 3, 'UTC')) AND ({column} < toDateTime64('{end}', 3, 'UTC'))"
            for _, first, end in months
        ]

    def _add_rows(self, found: Comparison, buckets: Sequence[int], known: Mapping[int, object] | None) -> None:
        """Add the rows that differ in these buckets. If `known` is given, only rows whose keys are in it count."""
        main = f"toString({self._subject.main})" if self._subject.main else "''"
        chosen = f"{self._key} % {BUCKETS} IN ({', '.join(map(str, buckets))})"
        sides = " UNION ALL ".join(
            f"SELECT {side} AS side, {self._key} AS id, {self._hash} AS hash, {main} AS main"
            f" FROM {self._source(side, chosen)}"
            for side in (0, 1)
        )
        rows = self._store.tuples(
            "SELECT id, countIf(side = 0) AS rows_before, countIf(side = 1) AS rows_after,"
            f" anyIf(main, side = 0), anyIf(main, side = 1) FROM ({sides}) GROUP BY id"
            " HAVING rows_before != rows_after OR sumIf(hash, side = 0) != sumIf(hash, side = 1)"
            f" ORDER BY id {_MEMORY}"
        )
        for key, rows_before, rows_after, value_before, value_after in rows:
            kind: Kind = "changed" if rows_before and rows_after else "missing" if rows_after else "extra"
            if (kind == "extra" and self._subject.may_have_more) or (known is not None and key not in known):
                continue
            found.kinds[kind] += 1
            found.transitions[value_before, value_after] += 1
            if len(found.keys) < _MAX_KEYS:
                found.keys[key] = kind

    def _samples(self, keys: Sequence[int], found: Comparison) -> list[Sample]:
        sides = [self._texts(side, keys) for side in (0, 1)]
        samples = []
        for key in keys:
            before, after = (texts.get(key, ((), {})) for texts in sides)
            columns = {
                name: (before[1].get(name, ""), after[1].get(name, ""))
                for name in self._columns
                if before[1] and after[1] and before[1].get(name) != after[1].get(name)
            }
            samples.append(Sample(before[0] or after[0], found.keys[key], columns))
        return samples

    def _texts(self, side: int, keys: Sequence[int]) -> dict[int, tuple[tuple[str, ...], dict[str, str]]]:
        """Return the key and all columns of the rows, as text."""
        shown = ", ".join(map(_text, self._columns))
        key = ", ".join(map(_text, self._subject.key))
        chosen = f"{self._key} IN ({', '.join(map(str, keys))})"
        rows = self._store.tuples(f"SELECT {self._key} AS id, [{key}], [{shown}] FROM {self._source(side, chosen)}")
        return {row[0]: (tuple(row[1]), dict(zip(self._columns, row[2], strict=True))) for row in rows}


def _text(column: str) -> str:
    if column == "event_id":
        return "lower(hex(event_id))"
    return f"ifNull(toString({column}), '')"


def _chunks(sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Split buckets, given with their numbers of rows, into queries of some hundred thousand rows."""
    some, rows = list[int](), 0
    for bucket, size in sizes.items():
        if some and rows + size > _ROWS_AT_ONCE:
            yield some
            some, rows = [], 0
        some.append(bucket)
        rows += size
    if some:
        yield some
