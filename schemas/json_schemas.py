"""The published JSON Schemas of all records that other systems write or read, and of their headers.

In:  the pydantic models, which are what is enforced.
Out: JSON Schemas (2020-12) by model name. Fields that are not in `required` may be left out; unknown fields are
ignored.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from schemas.headers import DeadLetterHeaders, WebhookHeaders
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import (
    ContentErased,
    DeadLetterHandled,
    Record,
    SendContent,
    SendDecision,
    SendDispatched,
    SendRequest,
)
from schemas.suppressions import SuppressionCommand, SuppressionState

__all__ = ["HEADERS", "RECORDS", "definitions", "json_schemas"]

RECORDS: Final[Mapping[str, type[Record]]] = {
    kind.__name__: kind
    for kind in (
        SendRequest,
        SendContent,
        SendDecision,
        SendDispatched,
        ContentErased,
        AccountPolicy,
        RecipientPreference,
        SuppressionCommand,
        SuppressionState,
        DeadLetterHandled,
    )
}
HEADERS: Final[Mapping[str, type[Record]]] = {kind.__name__: kind for kind in (WebhookHeaders, DeadLetterHeaders)}

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by name, each self-contained."""
    return {
        name: {"$schema": _DIALECT, **kind.model_json_schema(by_alias=True)}
        for name, kind in {**RECORDS, **HEADERS}.items()
    }


def definitions(ref_template: str) -> dict[str, dict[str, Any]]:
    """Return all schemas and their definitions by name, in one dict. `ref_template` is the path of a `{model}`."""
    kinds = [*RECORDS.values(), *HEADERS.values()]
    _, tables = models_json_schema([(kind, "validation") for kind in kinds], ref_template=ref_template, by_alias=True)
    found: dict[str, dict[str, Any]] = tables["$defs"]
    return found
