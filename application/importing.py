"""Importing: a command for each line of a file of addresses to suppress, or none if a line is not valid.

In:  the bytes of a file (`application.import_files`), who asks, and when.
Out: how many lines there are, the commands of those that are good, and what is wrong with the others; then the commands
in the log, unless it is a dry run. FieldsInvalid has the same figures.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.import_files import Line, lines_of
from application.principals import Principal
from application.suppressing import command_of
from application.suppression_commands import Made
from application.writing import Kafka, write

__all__ = ["Import", "import_commands", "read_import"]


class Import(NamedTuple):
    """A file that was read: its lines, the commands of the good ones, and the first faults of the others."""

    lines: int
    commands: Sequence[Made]
    faults: Sequence[ValidationFault]

    def report(self, *, dry_run: bool) -> dict[str, Any]:
        """Return the figures of the file."""
        good = len(self.commands)
        return {"dry_run": dry_run, "lines": self.lines, "good": good, "bad": self.lines - good}


def read_import(body: bytes, *, ndjson: bool, principal: Principal, now_us: int) -> Import:
    """Return what a file asks for.

    Raises FieldsInvalid where it is no such file, and RequestError where a line is for a scope that the principal does
    not have.
    """
    lines = lines_of(body, ndjson=ndjson)
    commands: list[Made] = []
    faults: list[ValidationFault] = []
    for line in lines:
        try:
            commands.append(_command(line, principal, now_us))
        except FieldsInvalid as error:
            faults += [fault._replace(place=line.place) for fault in error.faults]
            del faults[MAX_FAULTS:]
    return Import(len(lines), commands, faults)


async def import_commands(kafka: Kafka, imported: Import) -> dict[str, Any]:
    """Write a command for each line; return the figures.

    Raises FieldsInvalid if a line is not valid: then nothing is written. Raises TimedOut, BrokerError, RecordRefused.
    """
    report = imported.report(dry_run=False)
    if imported.faults:
        raise FieldsInvalid(imported.faults, **report)
    await write(kafka, [made.record() for made in imported.commands])
    return report


def _command(line: Line, principal: Principal, now_us: int) -> Made:
    if line.fault:
        raise FieldsInvalid([line.fault])
    return command_of(line.asked, "suppress", principal, now_us)
