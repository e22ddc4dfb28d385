"""What several models share, and the models of errors and of the gateway's state."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AnyChannel",
    "FieldProblem",
    "MessageName",
    "Next",
    "NoNext",
    "Problem",
    "Reason",
    "ResponseModel",
    "Status",
    "Time",
]


Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Next = Annotated[str | None, Field(description="The `cursor` of the next page; null at the end")]
NoNext = Annotated[None, Field(description="Always null: there are no further pages")]
AnyChannel = Literal["email", "sms", ""]
Reason = Literal["bounces", "complaint", "manual", "provider"]


class ResponseModel(BaseModel):
    """A response, or a part of one."""

    model_config = ConfigDict(extra="forbid")


class MessageName(ResponseModel):
    """What a message is known by."""

    account_id: str
    message_id: str


class FieldProblem(ResponseModel):
    """One invalid field."""

    field: str = Field(description="Its path, like `template.kind`; blank for the whole body")
    problem: str = Field(description="How it must be")
    index: int | None = Field(None, description="The request in a list, from 0")
    line: int | None = Field(None, description="The line of a file, from 1")


class Status(ResponseModel):
    """The state of the gateway."""

    status: Literal["alive", "ready"]


class Problem(ResponseModel):
    """An error (RFC 9457). A client acts on `code`; a person reads `detail`."""

    type: str = Field(description="A page that explains the code")
    title: str
    status: int
    detail: str = Field(description="What is wrong, and how to correct it")
    instance: str = Field(description="The path of the request")
    code: str = Field(description="Stable, like `invalid-body`")
    request_id: str = Field(description="Identifies the request in the gateway's log")
    errors: list[FieldProblem] | None = Field(None, description="For an invalid body: the first 100 faults")
    items: list[MessageName] | None = Field(None, description="For send requests: the ids to repeat them with")
    id: str | None = Field(None, description="For a bulk release: the id to repeat it with")
    dry_run: bool | None = Field(None, description="Import only, like the numbers of lines")
    lines: int | None = None
    good: int | None = None
    bad: int | None = None
