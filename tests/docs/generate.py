"""The reference pages that follow from code: settings, topics, metrics and commands.

In:  `schemas.settings`, `schemas.topics`, `schemas.telemetry` and the command line, as they are.
Out: `docs/reference/{settings,topics,metrics,cli}.md`. `python -m tests.docs.generate` writes them; a test fails while
one of them is stale.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import typer.main
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cli.main import app
from schemas import settings, topics
from schemas.telemetry import CATALOGUE, PREFIX

__all__ = ["PAGES", "REFERENCE", "ROOT", "commands"]

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"

READERS: Final[dict[str, type[settings.Settings]]] = {
    "migrate": settings.StoreSettings,
    "status": settings.StoreSettings,
    "topics": settings.TopicSettings,
    "worker ledger": settings.LedgerSettings,
    "gateway": settings.GatewaySettings,
    "token create": settings.TokenSettings,
    "simulate": settings.SimulatorSettings,
}
"""Which settings each command reads. `up` makes or takes over all of them, and hands them to its parts."""

_MAKE_VERB: Final = re.compile(r"^([a-z-]+):[^#\n]*## (.+)$", re.M)
_MADE_AT_START: Final = {"instance": "the host's name and `-0`"}

_GENERATED: Final = "<!-- Made by `python -m tests.docs.generate`: change the code, not this page. -->"

_SETTINGS: Final = """\
# Settings

Every setting is a variable of the environment, read once at the start. A program reports all that is missing or wrong
at once, by name, and ends with exit code 3. Secrets are never shown. Several keys are separated by commas.

`sendledger up` writes `dev.env` into its data directory; commands that find `.data/dev.env` below the current folder
take from it what the environment lacks. Every one of these in the environment of `up` goes before its own defaults;
where `SENDLEDGER_KAFKA_BOOTSTRAP` or `SENDLEDGER_CLICKHOUSE_URL` is set, it does not start that service.
"""

_DEV_ENV: Final = """\
## Only in dev.env

`up` makes these for development. No program reads them.

| variable | is |
| --- | --- |
| `SENDLEDGER_DEV_TOKEN_PUBLISHER`, `SENDLEDGER_DEV_TOKEN_VIEWER` | tokens for the account `demo` |
| `SENDLEDGER_DEV_TOKEN_SUPPORT`, `SENDLEDGER_DEV_TOKEN_OPERATOR` | tokens for all accounts |
| `SENDLEDGER_DEV_CLICKHOUSE_PASSWORD` | the password of the local endpoint's user |
"""

_TOPICS: Final = """\
# Topics

Order is promised within one topic and key, and nowhere else. Names never change. `sendledger topics` makes what is
missing, with the partitions and replication of the [settings](settings.md), and leaves what exists as it is. Times of
records are the log's (`LogAppendTime`). A record has at most 8 MiB.
"""

_HEADERS: Final = """\
## Headers of a webhook

`webhook_id` (a UUID 7, also the key), `received_at`, `request_url`, `content_type`, `signature`, `signed_at`, `peer`.
With them and the body, the signature can be checked again years later.

## Headers of a dead letter

`dlq.topic`, `dlq.partition`, `dlq.offset`, `dlq.reason`, `dlq.detail`, `dlq.processor`, `dlq.failed_at`, and those of
the source unchanged. Where one element of a post is bad, the value is that element and `dlq.index` its place in the
list; the rest of the post is applied. A value at the very limit of size leaves no room for headers: it is parked empty,
and `dlq.topic`, `dlq.partition` and `dlq.offset` say where its bytes are.

| `dlq.reason` | means |
| --- | --- |
| `record_not_json`, `record_invalid`, `record_too_large` | the schema of `sends.*` refuses it; `dlq.detail` says why |
| `body_not_json`, `body_not_events` | a webhook's body: see [SendGrid](providers/sendgrid.md) |
| `element_not_object`, `event_missing`, `element_failed` | an element of a webhook: see there |
| `store_refused` | ClickHouse refuses its rows, and did so three times |
| `code_failed` | our own code raised on it |

More than 100 records of the last two kinds in 5 minutes end the worker.
"""

_METRICS: Final = """\
# Metrics

For Prometheus: the gateway shows its own at `/metrics` (keep that off the internet), a worker on
`SENDLEDGER_METRICS_PORT`. Labels are bounded: never an id, an address or a text from outside. A metric appears when it
first has something to say.
"""

_COMMANDS: Final = """\
# Commands

`make setup` puts `sendledger` into `.venv/bin`. Data goes to stdout, progress and logs to stderr. With `--json`, a
command prints one object a line.

| exit code | means |
| --- | --- |
| 0 | done |
| 1 | found wrong: no such message; a program that crashed |
| 2 | usage: an argument is wrong |
| 3 | configuration: a setting is missing or wrong, a port is taken, an applied migration has changed |
| 4 | Kafka or ClickHouse is away |
| 75 | a worker's stop did not end in time; nothing is lost |
"""


def settings_page() -> str:
    """Every variable: its default, its bounds, and which commands read it."""
    fields: dict[str, FieldInfo] = {}
    readers: dict[str, list[str]] = {}
    for command, kind in READERS.items():
        for name, field in kind.model_fields.items():
            fields[name] = field
            readers.setdefault(name, []).append(f"`{command}`")
    rows = (
        (
            f"`{settings.PREFIX}{name.upper()}`",
            _default(name, field),
            ", ".join(readers[name]),
            _sentence(field.description or "") + _bounds(field),
        )
        for name, field in sorted(fields.items())
    )
    return _page(_SETTINGS, _table(("variable", "default", "read by", "meaning"), rows), _DEV_ENV)


def topics_page() -> str:
    """Every topic, and the headers of webhooks and dead letters."""
    rows = (
        (
            f"`{topic.name}`",
            topic.key if topic.key.startswith("as ") else f"`{topic.key}`",
            topic.holds,
            "for ever" if topic.cleanup == "keep" else f"`{settings.PREFIX}CONTENT_RETENTION_DAYS`",
            "yes" if topic in topics.LEDGER_INPUTS else "",
        )
        for topic in topics.ALL
    )
    return _page(_TOPICS, _table(("topic", "key", "value", "kept", "read by the ledger"), rows), _HEADERS)


def metrics_page() -> str:
    """Every metric of the catalogue."""
    rows = (
        (f"`{PREFIX}{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in CATALOGUE.values()
    )
    return _page(_METRICS, _table(("metric", "kind", "labels", "meaning"), rows))


def cli_page() -> str:
    """Every command: what it does, an example, its parameters."""
    verbs = _MAKE_VERB.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    make = _table(("verb", "does"), ((f"`make {verb}`", said) for verb, said in verbs))
    parts = [_COMMANDS, "## make\n", make]
    for name, command in commands():
        said, _, example = (command.help or "").partition("\n\nExample: ")
        parts.append(f"## sendledger {name}\n\n{said}\n")
        if example:
            parts.append(f"```sh\n{example}\n```\n")
        if command.params:
            parts.append(_table(("parameter", "default", "meaning"), map(_parameter, command.params)))
    return _page(*parts)


PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "topics.md": topics_page,
    "metrics.md": metrics_page,
    "cli.md": cli_page,
}


def commands() -> list[tuple[str, Any]]:
    """Return every command that does something, by its full name (`worker ledger`), in the order of the help."""
    return list(_leaves(typer.main.get_command(app), ()))


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


def _parameter(parameter: Any) -> tuple[str, str, str]:
    is_argument = not parameter.opts[0].startswith("-")
    name = parameter.opts[0].upper() if is_argument else " ".join(parameter.opts)
    if parameter.required:
        default = "required"
    else:
        default = "" if parameter.default in (None, False) else f"`{parameter.default}`"
    low, high = parameter.min, parameter.max
    bounds = f" From {low} to {high}." if high is not None else f" At least {low}." if low is not None else ""
    return f"`{name}`", default, _sentence(parameter.help or "") + bounds


def _default(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        return _MADE_AT_START[name]
    if field.default is PydanticUndefined:
        return "required"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else ""


def _bounds(field: FieldInfo) -> str:
    said = {name: getattr(m, name) for m in field.metadata for name in ("ge", "gt", "le") if hasattr(m, name)}
    if "ge" in said and "le" in said:
        return f" From {said['ge']} to {said['le']}."
    if "ge" in said:
        return f" At least {said['ge']}."
    return f" More than {said['gt']}." if "gt" in said else ""


def _sentence(text: str) -> str:
    return text if text.endswith(".") or not text else f"{text}."


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
