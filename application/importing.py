"""Imports a file of addresses to suppress: one command per line, or none if any line is invalid.

In:  the bytes of a file (`application.import_files`), the principal, and the time.
Out: the number of lines, the commands of the valid lines, and the faults of the others; then, unless it is a dry run,
the commands in Kafka. FieldsInvalid has the same counts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.import_files import Line, lines_of
from application.principals import Principal
from application.suppressing import command_for
from application.suppression_commands import PreparedCommand
from application.writing import write
from processors.kafka.ports import RecordProducer

__all__ = ["ParsedImport", "import_commands", "parse_import"]


class ParsedImport(NamedTuple):
    """A parsed file: its number of lines, the commands of the valid ones, and the first faults of the others."""

    lines: int
    commands: Sequence[PreparedCommand]
    faults: Sequence[ValidationFault]

    def report(self, *, dry_run: bool) -> dict[str, Any]:
        """Return the line counts of the file."""
        good = len(self.commands)
        return {"dry_run": dry_run, "lines": self.lines, "good": good, "bad": self.lines - good}


def parse_import(body: bytes, *, ndjson: bool, principal: Principal, now_us: int) -> ParsedImport:
    """Return the commands of a file.

    Raises FieldsInvalid for another format, and RequestError where a line has a scope that the principal does not have.
    """
    lines = lines_of(body, ndjson=ndjson)
    commands: list[PreparedCommand] = []
    faults: list[ValidationFault] = []
    for line in lines:
        try:
            commands.append(_command(line, principal, now_us))
        except FieldsInvalid as error:
            faults += [fault._replace(place=line.place) for fault in error.faults]
            del faults[MAX_FAULTS:]
    return ParsedImport(len(lines), commands, faults)


async def import_commands(kafka: RecordProducer, imported: ParsedImport) -> dict[str, Any]:
    """Write a command for each line; return the line counts.

    Raises FieldsInvalid if a line is invalid: then nothing is written. Raises TimedOut, BrokerError, RecordRefused.
    """
    report = imported.report(dry_run=False)
    if imported.faults:
        raise FieldsInvalid(imported.faults, **report)
    await write(kafka, [prepared.record() for prepared in imported.commands])
    return report


def _command(line: Line, principal: Principal, now_us: int) -> PreparedCommand:
    if line.fault:
        raise FieldsInvalid([line.fault])
    return command_for(line.fields, "suppress", principal, now_us)
