"""Models of accepted send requests and of decisions."""

from gateway.api.models.common import MessageName, NoNext, ResponseModel
from schemas.records import SendDecision

__all__ = ["Accepted", "Decisions"]


class Accepted(ResponseModel):
    """The requests are stored; they are listed in the order of the request."""

    items: list[MessageName]
    next: NoNext


class Decisions(ResponseModel):
    """The decisions about the requests, in the same order. They have only evidence that you may see."""

    items: list[SendDecision]
    next: NoNext
