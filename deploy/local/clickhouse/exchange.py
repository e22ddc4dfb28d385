"""One HTTP request as the endpoint understands it, read from ASGI's words: first its head, which says who asks.

A server takes no value of over `http_max_field_value_size` in a URL or a form. Nor does this: what is too long there
must be noticed here.
"""

import base64
import binascii
import email
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from deploy.local.clickhouse.codecs import Buffer, choose_encoding, decode
from deploy.local.clickhouse.failures import Failure
from deploy.local.clickhouse.users import Credentials

__all__ = ["Exchange", "Head", "read_exchange", "read_head"]

MAX_FIELD_BYTES: Final = 131_072 + 1
"""A server's default, which takes one byte more than it says."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SAID_BACK: Final = ("query_id", "session_id", "default_format", "database", "quota_key")
"""Arguments that stand in headers of the answer, or in its errors."""

# Arguments that are no settings: ClickHouse's HTTPHandler knows the same ones.
_RESERVED = frozenset(
    [
        "query",
        "database",
        "user",
        "password",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "default_format",
        "quota_key",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "role",
        "client_protocol_version",
        "enable_http_compression",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
    ]
)


@dataclass(frozen=True)
class Head:
    """A request without its body."""

    method: str
    headers: Mapping[str, str]
    arguments: Mapping[str, str]
    credentials: Credentials


@dataclass(frozen=True)
class Exchange:
    """What is asked, by whom, and in which shape the answer shall be."""

    method: str
    query: bytes
    body: Buffer
    arguments: Mapping[str, str]
    default_format: str
    database: str | None
    encoding: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            name: value
            for name, value in self.arguments.items()
            if name not in _RESERVED and not name.startswith("param_")
        }

    @property
    def parameters(self) -> dict[str, str]:
        return {
            name.removeprefix("param_"): value for name, value in self.arguments.items() if name.startswith("param_")
        }

    @property
    def streams(self) -> bool:
        """Whether the answer may begin before the query has ended."""
        return self.arguments.get("wait_end_of_query") != "1"


def read_head(scope: Mapping[str, Any]) -> Head:
    """Take the URL and the headers apart. Raises Failure for what may not be in them."""
    headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
    arguments = dict(parse_qsl(scope["query_string"].decode("latin1"), keep_blank_values=True))
    _check(arguments)
    return Head(scope["method"], headers, arguments, _credentials(headers, arguments))


def read_exchange(head: Head, body: Buffer) -> Exchange:
    """Decode the body of a request whose sender is known. Runs in a worker thread: bodies are large."""
    headers, arguments = head.headers, dict(head.arguments)
    body = decode(headers.get("content-encoding", "").lower(), body)
    if headers.get("content-type", "").startswith("multipart/form-data"):
        arguments |= _form_fields(headers["content-type"], body)
        body = b""
        _check(arguments)
    return Exchange(
        method=head.method,
        query=arguments.get("query", "").encode(),
        body=body,
        arguments=arguments,
        default_format=arguments.get("default_format") or headers.get("x-clickhouse-format", "TabSeparated"),
        database=arguments.get("database") or headers.get("x-clickhouse-database") or None,
        encoding=choose_encoding(headers.get("accept-encoding", ""))
        if arguments.get("enable_http_compression") == "1"
        else "",
    )


def _check(arguments: Mapping[str, str]) -> None:
    for value in arguments.values():
        # A character has four bytes at most: most values need no second look.
        if len(value) > MAX_FIELD_BYTES // 4 and len(value.encode("utf-8", "surrogatepass")) > MAX_FIELD_BYTES:
            said = "Poco::Exception. Code: 1000, e.code() = 0, HTML Form Exception: Field value too long"
            raise Failure(1000, "POCO_EXCEPTION", said)
    _refuse_control(arguments)


def _refuse_control(arguments: Mapping[str, str]) -> None:
    for name in _SAID_BACK:
        if _CONTROL.search(arguments.get(name, "")):
            raise Failure(36, "BAD_ARGUMENTS", f"{name} must not have control characters in it")


def _credentials(headers: Mapping[str, str], arguments: Mapping[str, str]) -> Credentials:
    if headers.get("authorization", "").lower().startswith("basic "):
        try:
            name, _, password = base64.b64decode(headers["authorization"][6:]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Failure(516, "AUTHENTICATION_FAILED", "The Authorization header cannot be read") from None
    else:
        name = headers.get("x-clickhouse-user") or arguments.get("user", "")
        password = headers.get("x-clickhouse-key") or arguments.get("password", "")
    return Credentials(name or "default", password)


def _form_fields(content_type: str, body: Buffer) -> dict[str, str]:
    """The fields of a multipart body: clickhouse-connect sends long parameters so."""
    form = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + bytes(body))
    fields = {}
    for part in form.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields
