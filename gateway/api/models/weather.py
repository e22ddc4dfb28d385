"""Models of what arrives from the providers."""

from typing import Literal

from pydantic import ConfigDict, Field

from gateway.api.models.common import NoNext, ResponseModel, Time

__all__ = ["ProviderWeather"]


class ArrivalMeasures(ResponseModel):
    """What arrived of one provider and type within some minutes."""

    received: int = Field(description="Events received, each copy of one")
    events: int = Field(description="Distinct events among them")
    duplicate_factor: float | None = Field(
        description="Copies received per event, those of the day before included; null without events"
    )
    out_of_order: int = Field(
        description="New events that are older than an event of the same message which arrived before"
    )
    out_of_order_share: float | None = Field(description="`out_of_order` of the new events; null without any")
    delay_p50_seconds: float | None = Field(
        description="From a new event until it was received: half took no longer. Null if none has a time of its own"
    )
    delay_p95_seconds: float | None = Field(description="95 % took no longer")
    orphans: int = Field(description="Events that belong to no message, as far as is known")


class WeatherOfType(ResponseModel):
    """One provider and event type that was heard of within a day."""

    provider: str
    type: str
    last_received_at: Time
    now: ArrivalMeasures = Field(description="From `from` to `to`")
    day_before: ArrivalMeasures = Field(description="The same minutes of the day before")


class WeatherOfProvider(ResponseModel):
    """What else is known about a provider; null if it could not be read."""

    provider: str
    unread: int | None = Field(description="Webhooks in Kafka that the ledger has not read")
    dead_letters: int | None = Field(description="Open dead letters of its webhooks since `from`")
    signature_failures: int | None = Field(
        description="Webhooks that were refused because of their signature, since the gateways started"
    )
    signature_failed_at: Time | None = Field(description="The last of them; null if there is none")


class WeatherSilence(ResponseModel):
    """A type that is silent while what causes it goes on."""

    provider: str
    type: str = Field(description="Blank: nothing at all comes from the provider")
    since: Time = Field(description="When it was last heard of")
    seconds: int
    expected: int = Field(description="How many events were to be expected meanwhile, at least")
    goes_on: str = Field(description="The type that goes on; `dispatched`: messages are handed over to the provider")
    went_on: int = Field(description="How many of that type there were meanwhile, without the last five minutes")
    likely: Literal["provider", "sendledger", "unclear"] = Field(description="On whose side the cause is more likely")
    cause: Literal[
        "unread_records",
        "dead_letters",
        "refused_signatures",
        "unknown_types",
        "all_providers_silent",
        "provider",
        "nothing_to_compare",
        "evidence_missing",
    ] = Field(description="A stable code")
    what: str = Field(description="For people: the silence in a sentence")
    because: str = Field(description="For people: why it is likely on that side")
    next_step: str = Field(description="For people: what to do next")


class ProviderWeather(ResponseModel):
    """How the events of each provider arrive, of all accounts together."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    items: list[WeatherOfType]
    next: NoNext
    silences: list[WeatherSilence]
    providers: list[WeatherOfProvider]
    from_: Time = Field(alias="from", description="Start of the minutes, included")
    to: Time = Field(description="Their end, excluded")
