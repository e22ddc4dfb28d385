"""Models of accounts."""

from pydantic import Field

from gateway.api.models.common import Next, ResponseModel, Time

__all__ = ["Account", "Accounts"]


class Account(ResponseModel):
    """An account that the token may see."""

    account_id: str
    messages: int = Field(description="A message counts from its request on")
    last_sent_at: Time | None


class Accounts(ResponseModel):
    """A page of accounts."""

    items: list[Account]
    next: Next
