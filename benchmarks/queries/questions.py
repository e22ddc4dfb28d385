"""What is asked: requests to the gateway about one account, and dashboards' queries about all.

In:  rows of the account, drawn at random, and a generator of random numbers.
Out: `Question`s. Each request has values of another row, or another beginning of its period, so that none finds an
     answer that is there already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from benchmarks.queries.template import RARE_STATUSES
from schemas.decoding.times import rfc3339

__all__ = ["DASHBOARDS", "OVER_ALL_ACCOUNTS", "QUESTIONS", "Asked", "Dashboard", "Question", "Subject"]

OVER_ALL_ACCOUNTS: Final = "all"
"""In place of an account, in the rows of dashboards: they read the data of all accounts."""
_DAY_US: Final = 86_400_000_000
_HOUR_US: Final = 3_600_000_000
_STATUSES: Final = ("Bounced", "Clicked", "Opened", "Delivered", "Processed", "Pending", "Suppressed", "Declined")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """An account, rows of it, and when its log ends."""

    name: str
    """`largest` or `median`."""
    account_id: str
    rows: Sequence[Row]
    to_us: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    path: str
    parameters: dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Question:
    """A kind of request; `follows` the `next` of the answer before."""

    what: str
    asked: Callable[[Subject, Random], Asked]
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A query of ClickHouse over all accounts; `{from_us}` stands in it."""

    what: str
    sql: str


def _since(subject: Subject, days: int, chance: Random) -> str:
    """The beginning of so many days, up to an hour later."""
    return rfc3339(subject.to_us - days * _DAY_US + chance.randrange(_HOUR_US))


def _list(days: int | None, of: Callable[[Row, Random], dict[str, str]], path: str = "") -> Callable[..., Asked]:
    def asked(subject: Subject, chance: Random) -> Asked:
        period = {} if days is None else {"from": _since(subject, days, chance)}
        row = _a_row(subject, of, chance)
        return Asked(f"/v1/messages{path}", {"account": subject.account_id, **period, **of(row, chance)})

    return asked


def _a_row(subject: Subject, of: Callable[[Row, Random], dict[str, str]], chance: Random) -> Row:
    """A row that has what is asked for."""
    for _ in range(1_000):
        row = chance.choice(subject.rows)
        if all(of(row, chance).values()):
            return row
    raise LookupError(f"no row of {subject.account_id} has what is asked for")


def _one(path: str) -> Callable[[Subject, Random], Asked]:
    def asked(subject: Subject, chance: Random) -> Asked:
        email_id = chance.choice(subject.rows)["email_id"]
        return Asked(f"/v1/messages/{email_id}{path}", {"account": subject.account_id})

    return asked


def _of_account(path: str) -> Callable[[Subject, Random], Asked]:
    return lambda subject, _: Asked(path, {"account": subject.account_id})


def _stats(subject: Subject, chance: Random) -> Asked:
    period: dict[str, str | int] = {"from": _since(subject, 30, chance), "to": rfc3339(subject.to_us)}
    return Asked("/v1/stats/delivery", {"account": subject.account_id, **period})


def _column(parameter: str, column: str) -> Callable[[Row, Random], dict[str, str]]:
    return lambda row, _: {parameter: str(row[column])}


def _recipient(kind: str) -> Callable[[Row, Random], dict[str, str]]:
    return lambda row, _: {f"{kind}_id": row["recipient_id"] if row["sent_to"] == kind else ""}


def _part_of_subject(row: Row, chance: Random) -> dict[str, str]:
    words = row["subject"].split()
    start = chance.randrange(max(1, len(words) - 1))
    return {"subject": " ".join(words[start : start + 2])}


_FILTERS: Final[dict[str, Callable[[Row, Random], dict[str, str]]]] = {
    "status": lambda _, chance: {"status": chance.choice(_STATUSES)},
    "channel": _column("channel", "channel"),
    "type": _column("type", "template_id"),
    "sent_to": _column("sent_to", "sent_to"),
    "address": _column("address", "to_key"),
    "address_prefix": lambda row, _: {"address_prefix": row["to_key"][:9]},
    "domain": _column("domain", "to_domain"),
    "client_id": _recipient("client"),
    "staff_id": _recipient("staff"),
    "provider": _column("provider", "provider"),
    "code": _column("code", "code"),
    "classification": _column("classification", "classification"),
    "stuck_hours": lambda _, chance: {"stuck_hours": str(chance.randrange(4, 72))},
}


def _no_filter(_row: Row, _chance: Random) -> dict[str, str]:
    return {}


QUESTIONS: Final = (
    Question("first page", _list(None, _no_filter)),
    Question("next page", _list(None, _no_filter), follows=True),
    *(Question(f"filter {name} 7 days", _list(7, of)) for name, of in _FILTERS.items()),
    Question("status rare all time", _list(None, lambda _, chance: {"status": chance.choice(RARE_STATUSES)})),
    Question("address all time", _list(None, _column("address", "to_key"))),
    Question("email_id", _list(None, _column("email_id", "email_id"))),
    Question("provider_message_id", _list(None, _column("provider_message_id", "provider_message_id"))),
    Question("appointment_id", _list(None, _column("appointment_id", "appointment_id"))),
    Question("subject 30 days", _list(30, _part_of_subject)),
    Question("facets 7 days", _list(7, _no_filter, "/facets")),
    Question("facets 30 days", _list(30, _no_filter, "/facets")),
    Question("one message", _one("")),
    Question("timeline", _one("/events")),
    Question("bounces", _of_account("/v1/bounces")),
    Question("suppressions", _of_account("/v1/suppressions")),
    Question("stats 30 days", _stats),
)

DASHBOARDS: Final = (
    Dashboard(
        "dashboard status by day",
        "SELECT toDate(date_sent) AS day, status, count() FROM message_statuses"
        " WHERE date_sent >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') GROUP BY day, status",
    ),
    Dashboard(
        "dashboard by domain",
        "SELECT to_domain, count() AS sent, countIf(status = 'Bounced') AS bounced FROM message_statuses"
        " WHERE date_sent >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')"
        " GROUP BY to_domain ORDER BY sent DESC LIMIT 20",
    ),
    Dashboard(
        "dashboard bounce classes",
        "SELECT sub_status, classification, count() FROM bounced_messages"
        " WHERE date_sent >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') GROUP BY sub_status, classification",
    ),
)
