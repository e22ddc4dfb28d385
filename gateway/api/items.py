"""A message as the API returns it: the columns of the response model, and the links of its *Actions*."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from gateway.api.lists import Row, json_row
from gateway.api.models.messages import Message
from gateway.problems import path_of
from schemas.settings import GatewaySettings

__all__ = ["content_is_kept", "renderer", "select_fields"]


def select_fields(model: type[BaseModel], row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that the response model has."""
    return json_row({name: row[name] for name in model.model_fields if name in row})


def content_is_kept(row: Row, days: int) -> bool:
    """Whether the content of the message is within its retention. ClickHouse may delete it later, at a merge."""
    sent: datetime = row["date_sent"].replace(tzinfo=UTC)
    return sent > datetime.now(UTC) - timedelta(days=days)


def renderer(settings: GatewaySettings) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that renders a row: its columns, and the links of its *Actions*."""
    path = path_of(settings.public_url)

    def link(pattern: str, **parts: str) -> str | None:
        if not pattern or not all(parts.values()):
            return None
        for name, value in parts.items():
            pattern = pattern.replace(f"{{{name}}}", _escaped(value))
        return pattern

    def render(row: dict[str, Any]) -> dict[str, Any]:
        item = select_fields(Message, row)
        account = row["account_id"]
        kept = row["has_content"] and content_is_kept(row, settings.content_retention_days)
        client = row["recipient_id"] if row["sent_to"] == "client" else ""
        item["actions"] = {
            "preview": f"{path}/v1/messages/{row['email_id']}/preview?account={_escaped(account)}" if kept else None,
            "client": link(settings.client_url, account_id=account, client_id=client),
            "appointment": link(settings.appointment_url, account_id=account, appointment_id=row["appointment_id"]),
        }
        return item

    return render


def _escaped(value: str) -> str:
    return quote(value, safe="")
