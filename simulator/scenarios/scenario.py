"""The scenario type: what can happen to a message, and with which providers."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from simulator.timeline import Timeline

__all__ = ["ALL_PROVIDERS", "MAIL", "POSTMARK", "SENDGRID", "TWILIO", "Scenario", "variants_of"]

MAIL: Final = ("sendgrid", "postmark")
ALL_PROVIDERS: Final = ("sendgrid", "postmark", "twilio")
SENDGRID: Final = ("sendgrid",)
POSTMARK: Final = ("postmark",)
TWILIO: Final = ("twilio",)


class Scenario(NamedTuple):
    """What can happen to one message, and how often (`weight`, relative)."""

    name: str
    weight: float
    build: Callable[[Timeline], None]
    providers: tuple[str, ...] = ALL_PROVIDERS
    decides: bool = False
    """Whether it prescribes the decision; such a scenario is left out where a gate decides."""


def variants_of(
    name: str,
    variants: Iterable[str],
    weight: float,
    build: Callable[[Timeline, str], None],
    providers: tuple[str, ...],
) -> tuple[Scenario, ...]:
    """Return one scenario per variant; `build` is called with the variant."""

    def scenario(variant: str) -> Scenario:
        return Scenario(f"{name}: {variant}", weight, lambda timeline: build(timeline, variant), providers)

    return tuple(scenario(variant) for variant in variants)
