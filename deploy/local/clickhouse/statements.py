"""Classifies statements by their text: an insert with data, a read, several statements."""

import re
from dataclasses import dataclass

from deploy.local.clickhouse.codecs import Buffer
from deploy.local.clickhouse.errors import ClickHouseError

__all__ = ["Insert", "Statement", "find_insert", "mask"]

_LITERAL = re.compile(
    r"""'(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.)*` | "(?:[^"\\]|\\.)*" | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/""",
    re.X | re.S,
)
_SEVERAL = re.compile(r";\s*\S")
_FORMAT = re.compile(r"\sformat\s+(\w+)\s*(?:settings\s[^;]*)?;?\s*\Z", re.I)
_READ = re.compile(r"[\s(]*(?:select|with)\b", re.I)
_HARMLESS = re.compile(r"[\s(]*(?:select|with|show|describe|desc|exists|explain|set|use)\b", re.I)
_WRITES = re.compile(r"\b(?:insert\s+into|into\s+outfile)\b", re.I)
_BACKUP = re.compile(r"[\s(]*(?:backup|restore)\b", re.I)
_SET = re.compile(r"\s*set\s", re.I)
_USE = re.compile(r"\s*use\s", re.I)

_NAME = r"(?:`(?:[^`\\]|\\.)+`|\"(?:[^\"\\]|\\.)+\"|\w+)"
_COLUMNS = r"\((?:`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|[^)`\"])*\)"
_INSERT = re.compile(
    (
        r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*"
        rf"(?P<into>insert\s+into\s+(?:table\s+)?{_NAME}(?:\s*\.\s*{_NAME})?\s*(?:{_COLUMNS}\s*)?)"
        r"(?P<settings>settings\s+.*?\s)?\s*format\s+(?P<format>\w+)[ \t]*;?(?:\r?\n|[ \t]|\Z)"
    ).encode(),
    re.I | re.S,
)
_INSERT_HEAD_BYTES = 256 * 1024  # the statement of an insert; its data follows


def mask(sql: str) -> str:
    """Return the text with strings, quoted names and comments blanked, of the same length; names keep their quotes."""
    return _LITERAL.sub(_blank, sql)


def _blank(found: re.Match[str]) -> str:
    text = found[0]
    if text[0] in '`"':
        return text[0] + " " * (len(text) - 2) + text[0]
    return " " * len(text)


@dataclass(frozen=True)
class Insert:
    """`INSERT INTO … FORMAT …`, and the data that came with it."""

    into: str
    """`INSERT INTO`, the table and the columns."""
    settings: str
    """The SETTINGS clause, or blank."""
    format: str
    data: memoryview

    def from_file(self, path: str) -> str:
        """Return the statement that inserts the data from a file, whose path needs no quoting."""
        return f"{self.into} FROM INFILE '{path}' COMPRESSION 'none' {self.settings} FORMAT {self.format}"


def find_insert(query: bytes, body: Buffer) -> Insert | None:
    """Return an insert whose data is in the body, or None. The data is not copied."""
    if query:
        found = _INSERT.fullmatch(query)
        data = memoryview(body)
    else:
        found = _INSERT.match(body, 0, _INSERT_HEAD_BYTES)
        data = memoryview(body)[found.end() if found else 0 :]
    if found is None:
        return None
    return Insert(found["into"].decode(), (found["settings"] or b"").decode(), found["format"].decode(), data)


@dataclass(frozen=True)
class Statement:
    """Any other single statement."""

    sql: str
    masked: str

    @classmethod
    def of(cls, query: bytes, body: Buffer) -> "Statement":
        """Return the statement: the URL's query and the body, joined as in ClickHouse."""
        sql = b"\n".join(filter(None, (query, bytes(body)))).decode()
        masked = mask(sql)
        if _SEVERAL.search(masked):
            raise ClickHouseError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        return cls(sql, masked)

    @property
    def format(self) -> str | None:
        """The FORMAT clause at its end."""
        found = _FORMAT.search(self.masked)
        return found[1] if found else None

    @property
    def without_format(self) -> str:
        found = _FORMAT.search(self.masked)
        text = self.sql[: found.start()] if found else self.sql.rstrip().rstrip(";")
        return text.rstrip()

    @property
    def reads(self) -> bool:
        return bool(_READ.match(self.masked))

    @property
    def is_harmless(self) -> bool:
        """Whether it certainly writes nothing: it begins like a read or SET, and contains no insert."""
        return bool(_HARMLESS.match(self.masked)) and not _WRITES.search(self.masked)

    @property
    def is_backup(self) -> bool:
        return bool(_BACKUP.match(self.masked))

    @property
    def sets(self) -> bool:
        return bool(_SET.match(self.masked))

    @property
    def uses_database(self) -> bool:
        return bool(_USE.match(self.masked))
