"""Parses an HTTP request from its ASGI scope: first the head, with the credentials, then the body.

A server refuses a URL or form value longer than `http_max_field_value_size`. So does this endpoint, so that such a
mistake is noticed here.
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
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.users import Credentials

__all__ = ["QueryRequest", "RequestHead", "read_head", "read_request"]

MAX_FIELD_BYTES: Final = 131_072 + 1
"""A server's default; it accepts one byte more than the setting."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ECHOED: Final = ("query_id", "session_id", "default_format", "database", "quota_key")
"""Arguments that are repeated in headers of the response, or in errors."""

# Arguments that are not settings, as in ClickHouse's HTTPHandler.
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
class RequestHead:
    """A request without its body."""

    method: str
    headers: Mapping[str, str]
    arguments: Mapping[str, str]
    credentials: Credentials


@dataclass(frozen=True)
class QueryRequest:
    """The query, its arguments, and the format and encoding of the response."""

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
        """Whether the response may begin before the query has ended."""
        return self.arguments.get("wait_end_of_query") != "1"


def read_head(scope: Mapping[str, Any]) -> RequestHead:
    """Parse the URL and the headers. Raises ClickHouseError for forbidden values."""
    headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
    arguments = dict(parse_qsl(scope["query_string"].decode("latin1"), keep_blank_values=True))
    _check(arguments)
    return RequestHead(scope["method"], headers, arguments, _credentials(headers, arguments))


def read_request(head: RequestHead, body: Buffer) -> QueryRequest:
    """Decode the body of an authenticated request. Runs in a worker thread: bodies are large."""
    headers, arguments = head.headers, dict(head.arguments)
    body = decode(headers.get("content-encoding", "").lower(), body)
    if headers.get("content-type", "").startswith("multipart/form-data"):
        arguments |= _form_fields(headers["content-type"], body)
        body = b""
        _check(arguments)
    return QueryRequest(
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
        # A character has at most four bytes: most values need no encoding.
        if len(value) > MAX_FIELD_BYTES // 4 and len(value.encode("utf-8", "surrogatepass")) > MAX_FIELD_BYTES:
            text = "Poco::Exception. Code: 1000, e.code() = 0, HTML Form Exception: Field value too long"
            raise ClickHouseError(1000, "POCO_EXCEPTION", text)
    _refuse_control(arguments)


def _refuse_control(arguments: Mapping[str, str]) -> None:
    for name in _ECHOED:
        if _CONTROL.search(arguments.get(name, "")):
            raise ClickHouseError(36, "BAD_ARGUMENTS", f"{name} must not have control characters in it")


def _credentials(headers: Mapping[str, str], arguments: Mapping[str, str]) -> Credentials:
    if headers.get("authorization", "").lower().startswith("basic "):
        try:
            name, _, password = base64.b64decode(headers["authorization"][6:]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ClickHouseError(516, "AUTHENTICATION_FAILED", "The Authorization header cannot be read") from None
    else:
        name = headers.get("x-clickhouse-user") or arguments.get("user", "")
        password = headers.get("x-clickhouse-key") or arguments.get("password", "")
    return Credentials(name or "default", password)


def _form_fields(content_type: str, body: Buffer) -> dict[str, str]:
    """Return the fields of a multipart body: clickhouse-connect sends long parameters this way."""
    form = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + bytes(body))
    fields = {}
    for part in form.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields
