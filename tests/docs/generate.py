"""Generates the reference pages: settings, topics, records, metrics, alerts, problems, HTTP, commands, and AsyncAPI.

In:  `schemas`, the OpenAPI document, the command line and the Makefile.
Out: `docs/reference/{settings,topics,records,metrics,alerts,problems,http,cli}.md`, and `asyncapi.json` in the same
folder.
`python -m tests.docs.generate` writes them; a test fails while one of them is stale.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from deploy.prometheus.alerts import GROUPS, Alert
from gateway.problem_codes import KINDS
from schemas import settings, topics
from schemas.asyncapi import document
from schemas.examples import EXAMPLES
from schemas.headers import REASONS
from schemas.json_schemas import HEADERS, RECORDS, definitions
from schemas.telemetry import CATALOGUE, PREFIX
from tests.docs.commands import commands, readers
from tests.docs.http import http_document, http_sections, sentence

__all__ = ["PAGES", "REFERENCE", "ROOT"]

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"

_MAKE_VERB: Final = re.compile(r"^([a-z-]+):[^#\n]*## (.+)$", re.M)
_COMPUTED_DEFAULTS: Final = {"instance": "the host's name and `-0`"}

_GENERATED: Final = "<!-- Made by `python -m tests.docs.generate`: change the code, not this page. -->"

_SETTINGS: Final = """\
# Settings

Every setting is an environment variable, read once at the start. A program reports all missing and wrong settings at
once, by name, and ends with exit code 3. Secrets are never shown. Several keys are separated by commas.
`sendledger doctor` checks all settings, and the servers and keys that they name.

`sendledger up` writes `dev.env` into its data directory: every setting of its stack, defaults included. At the next
start it takes only the secrets from there. Commands for people (`status`, `suppress`, `lag`, `doctor`, `verify`,
`simulate`, `token create` and so on) read settings that the environment lacks from `.data/dev.env` in the current
folder, and say so on stderr. The programs of an installation, `gateway`, `worker`, `migrate` and `topics`, use the
environment only. For another folder's stack, or for a program, load the file into the shell:
`set -a; . D/dev.env; set +a`.

Settings in the environment of `up` override its own defaults; where `SENDLEDGER_KAFKA_BOOTSTRAP` or
`SENDLEDGER_CLICKHOUSE_URL` is set, it does not start that service.

*Read by* has the commands. `worker`, `incident` and `dead-letters` mean all commands of that name. Some settings are
read only with an option: `explain --raw`, `verify --from log`, `simulate --via http`. `up` sets all settings of its
stack, and `doctor` checks all.
"""

_DEV_ENV: Final = """\
## Only in dev.env

`up` creates these for development. No program reads them; `up` itself reads the last two, to recognise the servers of
a stack whose `dev.env` was loaded into the shell.

| variable | is |
| --- | --- |
| `SENDLEDGER_DEV_TOKEN_PUBLISHER`, `SENDLEDGER_DEV_TOKEN_VIEWER` | tokens for the account `demo` |
| `SENDLEDGER_DEV_TOKEN_SUPPORT`, `SENDLEDGER_DEV_TOKEN_OPERATOR` | tokens for all accounts |
| `SENDLEDGER_DEV_CLICKHOUSE_PASSWORD` | the password of the local endpoint's user; kept at the next start |
| `SENDLEDGER_DEV_PORT_BASE` | the first port of the stack |
"""

_TOPICS: Final = """\
# Topics

Order is guaranteed within one topic and key only. Names never change. `sendledger topics` creates missing topics, with
the partitions and replication of the [settings](settings.md), and does not change existing ones; `sendledger doctor`
reports where these differ from this page. The timestamps of records are the broker's (`LogAppendTime`). A record has at
most 8 MiB.

In machine-readable form: [asyncapi.json](asyncapi.json), which `sendledger schemas --format asyncapi` prints, too.
"""

_INTERNAL: Final = """\
## Internal topics of the gate

`sendledger topics` creates these, too. They transport records between the parts of the gate, and have its state. Their
records may change with any release: do not read them. Their partition counts can't be changed once they are created.
"""

_HEADERS: Final = """\
## Headers of a webhook

With them and the body, the signature can be verified again at any later time. Unused headers are empty strings.
"""

_LETTERS: Final = """\
## Headers of a dead letter

The headers of the source record are kept unchanged beside these. If one element of a post is bad, the value is that
element; the rest of the post is applied. If a value of the maximum size leaves no room for the headers, the dead letter
has an empty value: its bytes are in the source record, which `dlq.topic`, `dlq.partition` and `dlq.offset` identify. If
the source's headers or key are too large, they are left out as well. The dead letter of a record without key and value
has an empty value.
"""

_REASONS: Final = """\
## Why a record is parked

The ledger parks records of `webhooks.*` and `sends.*`, and the gate those of commands, policies and preferences; the
ledger reads these topics, too, and skips what it can't read. What each provider's adapter rejects:
[SendGrid](providers/sendgrid.md), [Twilio](providers/twilio.md), [Postmark](providers/postmark.md).
"""

_LIMIT: Final = """\
A worker ends after more than 100 records of `store_refused` and `code_failed` together within 5 minutes; dead letters
from before a restart count. Records of `code_failed` and `output_too_large` are parked by the worker that failed,
whatever the topic. If no record of a topic can be processed,
[none is parked](../explanation/delivery-guarantees.md#error-handling).
"""

_RECORDS: Final = """\
# Records

The records of our own [topics](topics.md) are UTF-8 JSON objects. Unknown fields are ignored. A field that is neither
required nor has a default may be left out or null. A record that lacks a required field, or has a field of a wrong
type, becomes a dead letter. Times are RFC 3339 and kept with microseconds; none may be more than a day ahead of the
record's Kafka timestamp.

As JSON Schema: `sendledger schemas --format json`.
"""

_METRICS: Final = """\
# Metrics

For Prometheus: the gateway shows its own at `/metrics` (keep that off the internet), a worker on
`SENDLEDGER_METRICS_PORT`. Labels have few values: never an id, an address or a text from outside. A metric appears
once it has a value. [The alerts](alerts.md) are made from this catalogue.
"""

_ALERTS: Final = """\
# Alerts

What `deploy/prometheus/rules.yml` has. How to load it, and how to change a threshold: [alerts](../how-to/alerts.md).
`critical` wakes somebody; `warning` can wait until working hours.

A metric appears with its first value, and `increase` sees no rise in that. So most expressions count a series that did
not exist at the beginning of the window with its value: `(metric unless metric offset 5m) or increase(metric[5m])`.
"""

_PROBLEMS: Final = """\
# Problems

Every error of the HTTP API is `application/problem+json` (RFC 9457). Beside `title`, `status`, `detail` and `instance`
it has

- `code`: one of the codes below. Codes are never renamed, so a client may act on them; texts may change.
- `type`: `/problems#` and the code. Every gateway serves that page.
- `request_id`: the same as the header `request-id` of the response. Each log line of the gateway about the request has
  it, too, so include it in a report.
- `errors`, where fields of a body are wrong: the first 100, each with `field`, `problem` and its `index` or `line`.

The gateway logs each 500 and 503 in one line, `request.failed`, with what failed, where, and how to mend it; it counts
in `sendledger_errors_total`. An upload that its client aborts counts only in `sendledger_requests_total`, with status
499.
"""

_HTTP: Final = """\
# HTTP

The API of the gateway. The same as an OpenAPI document is at `/openapi.json`. It needs no token; neither do `/healthz`,
`/readyz` and `/metrics`.

- **Tokens**: `Authorization: Bearer TOKEN`. A token names its subject, its accounts (`*` for all) and one role:
  `publisher`, `viewer`, `support` or `operator`. `sendledger token create` makes one.
- **Accounts**: a token of several accounts names one with `account`, or all of them with `account=*`. An account that
  the token does not cover is 404, like one that does not exist.
- **Bodies** are JSON in UTF-8. A body that is not JSON is 400; a field that is unknown, missing or wrong is 422, and
  nothing was written. `errors` names the first 100 errors; such a response has at most 256 KiB.
- **Parameters** that are unknown, given twice, or have an invalid value are 400.
- **Lists** return `{"items": [...], "next": ...}`. Send `next` as `cursor` for the next page; it is null at the end. A
  cursor is valid only for the same filters and the same order. Rows that arrive meanwhile cause no row to be repeated
  or left out.
- **Addresses** may be written in any spelling; a `+` in a query string is `%2B`. They have at most 320 characters, and
  no CR, LF or NUL.
- **Times** are RFC 3339; in a query string a date is accepted, too, and means midnight in UTC. `from` is included, `to`
  is not.
- **Errors** are [problems](problems.md): act on `code`. Every response has a `request-id`, which is also in the log.
- **HEAD** works where GET does. After a 429 or 503, repeat the request after `Retry-After` seconds.

In the examples `$API` is the gateway's URL and `$TOKEN` a token.
"""

_COMMANDS: Final = """\
# Commands

`make setup` installs `sendledger` in `.venv/bin`. Data goes to stdout, progress and logs to stderr. With `--json`, a
command prints one object per line.

| exit code | means |
| --- | --- |
| 0 | done |
| 1 | no such message or group; a finding of `doctor` or `verify`; a crash; a worker that did not stop in time |
| 2 | usage: an argument is wrong |
| 3 | configuration: a setting or a password is missing or wrong, a port is taken, an applied migration has changed |
| 4 | Kafka or ClickHouse is unreachable |
"""


def settings_page() -> str:
    """Every variable: its default, its bounds, and which commands read it."""
    fields: dict[str, FieldInfo] = {}
    read_by: dict[str, list[str]] = {}
    for command, read in readers().items():
        for name, field in read.items():
            fields[name] = field
            read_by.setdefault(name, []).append(command)
    rows = (
        (
            f"`{settings.PREFIX}{name.upper()}`",
            _default(name, field),
            ", ".join(f"`{command}`" for command in _by_group(read_by[name])),
            sentence(field.description or "") + _bounds(field),
        )
        for name, field in sorted(fields.items())
    )
    return _page(_SETTINGS, _table(("variable", "default", "read by", "meaning"), rows), _DEV_ENV)


def topics_page() -> str:
    """Every topic, the headers of webhooks and dead letters, and why there are dead letters."""
    rows = (
        (
            f"`{topic.name}`",
            topic.key if topic.key.startswith("as ") else f"`{topic.key}`",
            f"[{topic.holds}](records.md#{topic.holds.lower()})" if topic.holds in RECORDS else topic.holds,
            "for ever" if topic.cleanup == "keep" else f"`{settings.PREFIX}CONTENT_RETENTION_DAYS`",
            topic.written_by,
            "yes" if topic in topics.LEDGER_INPUTS else "",
        )
        for topic in topics.ALL_TOPICS
    )
    head = ("topic", "key", "value", "kept", "written by", "read by the ledger")
    internal = [
        row
        for topic in topics.GATE_INTERNAL
        for row in (
            (f"`{topic.name}`", f"`{topic.key}`", f"{topics.INTERNAL_RETENTION_DAYS} days"),
            (f"`{topic.changelog}`", f"`{topic.key}`", "compacted: the state of each key"),
        )
    ]
    reasons = ((f"`{code}`", meaning) for code, meaning in REASONS.items())
    return _page(
        _TOPICS,
        _table(head, rows),
        _INTERNAL,
        _table(("topic", "key", "kept"), internal),
        _HEADERS,
        _fields("WebhookHeaders"),
        _LETTERS,
        _fields("DeadLetterHeaders"),
        _REASONS,
        _table(("`dlq.reason`", "means"), reasons),
        _LIMIT,
    )


def records_page() -> str:
    """Every record: what it is, its fields, an example; then the objects inside records."""
    parts = [name for name in definitions("") if name not in {**RECORDS, **HEADERS}]
    sections = []
    for name in (*RECORDS, *sorted(parts)):
        sections += [f"## {name}\n\n{_SCHEMAS[name]['description']}\n", _fields(name)]
        if name in EXAMPLES:
            shown = orjson.dumps(EXAMPLES[name].payload, option=orjson.OPT_INDENT_2).decode()
            sections.append(f"```json\n{shown}\n```\n")
    return _page(_RECORDS, *sections)


_SCHEMAS: Final = definitions("{model}")


def _fields(name: str) -> str:
    """The fields of a record or of headers, by its schema."""
    schema = _SCHEMAS[name]
    rows = (
        (
            f"`{field}`",
            _type(content),
            "required" if field in schema["required"] else _fallback(content),
            sentence(content.get("description", "")),
        )
        for field, content in schema["properties"].items()
    )
    return _table(("field", "is", "default", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"[{schema['$ref']}](#{schema['$ref'].lower()})"
    if "anyOf" in schema:  # a type or null
        return _type(next(option for option in schema["anyOf"] if option.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if schema["type"] == "object":
        return f"object of {_type(schema['additionalProperties'])}"
    if schema.get("format") == "date-time":
        return "time"
    if isinstance(schema["type"], list):  # an id, which may be a number
        return " or ".join("text" if name == "string" else name for name in schema["type"])
    return "text" if schema["type"] == "string" else str(schema["type"])


def _fallback(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None else f"`{orjson.dumps(default).decode()}`"


def asyncapi_page() -> str:
    """The AsyncAPI document."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def metrics_page() -> str:
    """Every metric of the catalogue."""
    rows = (
        (
            f"`{PREFIX}{metric.name}`",
            metric.collector.__name__.lower(),
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.help,
        )
        for metric in CATALOGUE.values()
    )
    return _page(_METRICS, _table(("metric", "kind", "labels", "meaning"), rows))


def alerts_page() -> str:
    """Every alert, by group: what it is about, its runbook, its expression."""
    sections = []
    for group, alerts in GROUPS.items():
        rows = ((f"[`{a.name}`](#{a.name.lower()})", a.severity, a.summary, _runbook(a)) for a in alerts)
        sections += [f"## {group}\n", _table(("alert", "severity", "says", "runbook"), rows)]
        sections += [f"### {a.name}\n\n{_lasting(a)}\n\n```promql\n{a.expr}\n```\n" for a in alerts]
    return _page(_ALERTS, *sections)


def _runbook(alert: Alert) -> str:
    page = REFERENCE.parent / "how-to" / f"{alert.runbook}.md"
    title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    return f"[{title}](../how-to/{alert.runbook}.md)"


def _lasting(alert: Alert) -> str:
    times = (
        "at once" if alert.lasting == "0m" else f"when this has been true for {alert.lasting.removesuffix('m')} minutes"
    )
    return f"Fires {times}:"


def problems_page() -> str:
    """Every code of a problem: a section each, so that it can be linked to."""
    overview = ((f"[`{kind.code}`](#{kind.code})", str(kind.status), kind.title) for kind in KINDS.values())
    sections = (
        f"## {kind.code}\n\n**{kind.status} {kind.title}.** {kind.meaning}\n\n{kind.mend}\n" for kind in KINDS.values()
    )
    return _page(_PROBLEMS, _table(("code", "status", "title"), overview), *sections)


def http_page() -> str:
    """Every route: its parameters, its body, its responses, an example."""
    return _page(_HTTP, *http_sections(http_document(), _table))


def cli_page() -> str:
    """Every command: what it does, an example, its parameters."""
    verbs = _MAKE_VERB.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    make = _table(("verb", "does"), ((f"`make {verb}`", text) for verb, text in verbs))
    parts = [_COMMANDS, "## make\n", make]
    for name, command in commands():
        text, _, example = (command.help or "").partition("\n\nExample: ")
        parts.append(f"## sendledger {name}\n\n{text}\n")
        if example:
            parts.append(f"```sh\n{example}\n```\n")
        if command.params:
            parts.append(_table(("parameter", "default", "meaning"), map(_parameter, command.params)))
    return _page(*parts)


PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "topics.md": topics_page,
    "records.md": records_page,
    "asyncapi.json": asyncapi_page,
    "metrics.md": metrics_page,
    "alerts.md": alerts_page,
    "problems.md": problems_page,
    "http.md": http_page,
    "cli.md": cli_page,
}


def _by_group(read_by: Sequence[str]) -> list[str]:
    """Return names of commands, with `incident` for all commands of `incident`."""
    groups: dict[str, list[str]] = {}
    for name, _ in commands():
        groups.setdefault(name.split(" ")[0], []).append(name)
    whole = {group for group, names in groups.items() if len(names) > 1 and {*names} <= {*read_by}}
    shown = (group if (group := name.split(" ")[0]) in whole else name for name in read_by)
    return list(dict.fromkeys(shown))


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = not parameter.opts[0].startswith("-")
    name = parameter.opts[0].upper() if is_argument else " ".join(parameter.opts)
    if parameter.required:
        default = "required"
    else:
        default = "" if parameter.default in (None, False) else f"`{parameter.default}`"
    low, high = parameter.min, parameter.max
    bounds = f" From {low} to {high}." if high is not None else f" At least {low}." if low is not None else ""
    return f"`{name}`", default, sentence(parameter.help or "") + bounds


def _default(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        return _COMPUTED_DEFAULTS[name]
    if field.default is PydanticUndefined:
        return "required"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else ""


def _bounds(field: FieldInfo) -> str:
    limits = {name: getattr(m, name) for m in field.metadata for name in ("ge", "gt", "le") if hasattr(m, name)}
    if "ge" in limits and "le" in limits:
        return f" From {limits['ge']} to {limits['le']}."
    if "ge" in limits:
        return f" At least {limits['ge']}."
    return f" More than {limits['gt']}." if "gt" in limits else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _page(intro: str, *parts: str) -> str:
    title, _, rest = intro.partition("\n\n")
    return "\n".join([f"{title}\n\n{_GENERATED}\n\n{rest}", *parts])


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
