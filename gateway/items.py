"""A message as the API shows it: the row's promised columns, and the links of its *Actions*."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from gateway.answers import Message
from gateway.lists import Row, plain
from gateway.problems import path_of
from schemas.settings import GatewaySettings

__all__ = ["is_kept", "renderer", "shown"]


def shown(model: type[BaseModel], row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that are promised."""
    return plain({name: row[name] for name in model.model_fields if name in row})


def is_kept(row: Row, days: int) -> bool:
    """Whether a content of the message is still kept. The table may have it longer, until its parts are merged."""
    sent: datetime = row["date_sent"].replace(tzinfo=UTC)
    return sent > datetime.now(UTC) - timedelta(days=days)


def renderer(settings: GatewaySettings) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what makes an item of a row: its columns, and the links of its *Actions*."""
    path = path_of(settings.public_url)

    def link(pattern: str, **parts: str) -> str | None:
        if not pattern or not all(parts.values()):
            return None
        for name, value in parts.items():
            pattern = pattern.replace(f"{{{name}}}", _escaped(value))
        return pattern

    def render(row: dict[str, Any]) -> dict[str, Any]:
        item = shown(Message, row)
        account = row["account_id"]
        kept = row["has_content"] and is_kept(row, settings.content_retention_days)
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
