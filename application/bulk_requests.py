"""The requests for a bulk release and for its undo, as programs send them.

In:  the fields as JSON; the principal and the time. Out: what is planned; or FieldsInvalid with all faults, and
RequestError.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from application.bulk_releases import BulkRelease, Undo, plan_release, plan_undo
from application.errors import FieldsInvalid
from application.fields import MAX_ADDRESS_CHARACTERS, faults_of, unknown_faults
from application.principals import Principal
from schemas.records import Record
from schemas.suppressions import MAX_REASON_CHARACTERS

__all__ = ["ID_PATTERN", "BulkReleaseRequest", "BulkUndoRequest", "release_of", "undo_of"]

ID_PATTERN: Final = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"

_TEXT: Final[Mapping[str, Any]] = {"min_length": 1, "max_length": MAX_REASON_CHARACTERS, "pattern": r"\S"}
_OF_A_PREVIEW: Final = "The id of a preview with the same filters: what changed after it is left as it is"

TimeText = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
R = TypeVar("R", bound=Record)


class BulkReleaseRequest(Record):
    """What the suppressions to release have in common, and why they are released."""

    with_reason: Literal["bounces", "manual", "provider"] = Field(
        "bounces",
        description="The reason of the suppressions, by default `bounces`; complaints are never released in bulk",
    )
    account: str | None = Field(
        None, max_length=64, description="Only suppressions of this account, and those that only its bounces caused"
    )
    domain: str | None = Field(
        None, min_length=1, max_length=MAX_ADDRESS_CHARACTERS, description="Addresses of this domain"
    )
    from_: TimeText | None = Field(
        None, alias="from", description="Suppressed at or after this time; a date is accepted, too"
    )
    to: TimeText | None = Field(None, description="Suppressed before this time or date")
    provider: Literal["sendgrid", "twilio", "postmark"] | None = Field(
        None, description="Of a bounce that counts: its provider"
    )
    code: str | None = Field(None, description="Of the same bounce: exactly this code of the provider", **_TEXT)
    enhanced_code: str | None = Field(
        None, description="Of the same bounce: exactly this enhanced code, like 5.1.1", **_TEXT
    )
    text: str | None = Field(None, description="Of the same bounce: contained in its reason, in any case", **_TEXT)
    reason: str = Field(description="Why they are released: it is stored with the actor", **_TEXT)
    id: str | None = Field(None, pattern=ID_PATTERN, description=_OF_A_PREVIEW)


class BulkUndoRequest(Record):
    """Why a bulk release is undone."""

    reason: str = Field(description="Why it is undone: it is stored with the actor", **_TEXT)


def release_of(raw: Mapping[str, Any], principal: Principal, now_us: int) -> BulkRelease:
    """Return the bulk release that a request asks for. Raises FieldsInvalid and RequestError."""
    request = _validated(BulkReleaseRequest, raw)
    fields: dict[str, str | None] = request.model_dump(by_alias=True, exclude={"reason", "id"})
    return plan_release(fields, request.reason, principal, now_us, bulk_id=request.id)


def undo_of(bulk_id: str, raw: Mapping[str, Any], principal: Principal, now_us: int) -> Undo:
    """Return the undo that a request asks for. Raises FieldsInvalid and RequestError."""
    return plan_undo(bulk_id, _validated(BulkUndoRequest, raw).reason, principal, now_us)


def _validated(kind: type[R], raw: Mapping[str, Any]) -> R:
    if faults := unknown_faults(kind, raw):
        raise FieldsInvalid(faults)
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise FieldsInvalid(faults_of(error)) from None
