"""Settings: can each program read its own, and are its secrets such that it can do its work."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from cli.doctor.checks import CONFIGURATION, Check, fail, ok, warn
from gateway.intake import postmark, sendgrid, twilio
from schemas.errors import ConfigError
from schemas.settings import (
    PREFIX,
    GateSettings,
    GatewaySettings,
    LedgerSettings,
    MigrateSettings,
    Settings,
    TopicSettings,
)

__all__ = ["PROGRAMS", "ReadSettings", "look", "readable"]

S = TypeVar("S", bound=Settings)
ReadSettings = Callable[[type[Settings]], Settings]
"""Returns a program's settings, or raises ConfigError."""

PROGRAMS: Final[Mapping[str, type[Settings]]] = {
    "topics": TopicSettings,
    "migrate": MigrateSettings,
    "ledger": LedgerSettings,
    "gate": GateSettings,
    "gateway": GatewaySettings,
}


def readable(read: ReadSettings, kind: type[S]) -> S | None:
    """Return settings of `kind`, or None where they are missing or wrong."""
    try:
        found = read(kind)
    except ConfigError:
        return None
    assert isinstance(found, kind)
    return found


def look(read: ReadSettings, programs: Sequence[str]) -> list[Check]:
    """Return how the settings of `programs` are."""
    checks = [_program(read, name) for name in programs]
    gateway = readable(read, GatewaySettings) if "gateway" in programs else None
    return checks if gateway is None else [*checks, *_keys(gateway)]


def _program(read: ReadSettings, name: str) -> Check:
    try:
        read(PROGRAMS[name])
    except ConfigError as error:
        return fail(f"settings.{name}", error.what, error.mend, CONFIGURATION)
    return ok(f"settings.{name}", "all there")


def _keys(gateway: GatewaySettings) -> list[Check]:
    said = (
        ("sendgrid", gateway.sendgrid_public_keys, "SENDGRID_PUBLIC_KEYS", sendgrid.load_public_keys),
        ("twilio", gateway.twilio_auth_tokens, "TWILIO_AUTH_TOKENS", twilio.load_auth_tokens),
        ("postmark", gateway.postmark_basic_auth, "POSTMARK_BASIC_AUTH", postmark.load_credentials),
    )
    checks = [
        _key(provider, PREFIX + setting, secret.get_secret_value(), load, insecure=gateway.insecure_webhooks)
        for provider, secret, setting, load in said
    ]
    if gateway.insecure_webhooks:
        checks.append(
            fail(
                "webhooks.verified",
                "the gateway takes webhooks that nobody signed: anybody can write into the log",
                f"unset {PREFIX}INSECURE_WEBHOOKS",
            )
        )
    else:
        checks.append(ok("webhooks.verified", "only signed webhooks are taken"))
    if gateway.twilio_auth_tokens.get_secret_value() and not gateway.public_url:
        mend = f"set {PREFIX}PUBLIC_URL to the start of the URLs in Twilio's console"
        checks.append(warn("public_url", "Twilio signs the URL that it calls, and the gateway does not know it", mend))
    return checks


def _key(provider: str, setting: str, value: str, load: Callable[[str], Sequence[object]], *, insecure: bool) -> Check:
    name = f"keys.{provider}"
    try:
        keys = load(value)
    except ConfigError as error:
        return fail(name, error.what, f"{error.mend} ({setting})", CONFIGURATION)
    if keys:
        return ok(name, f"{len(keys)} in force")
    refused = "are taken unsigned" if insecure else "are refused with 401"
    return warn(name, f"none: webhooks of {provider} {refused}", f"set {setting}, if {provider} posts to you")
