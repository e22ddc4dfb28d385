"""Checks of settings: whether each program's settings are complete, and its keys valid."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from pydantic import SecretStr

from application.checks.check import CONFIGURATION, Check, fail, ok, warn
from application.signatures import postmark, sendgrid, twilio
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

__all__ = ["PROGRAMS", "ReadSettings", "check", "readable"]

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


def check(read: ReadSettings, programs: Sequence[str]) -> list[Check]:
    """Return the checks of the settings of `programs`."""
    checks = [_program(read, name) for name in programs]
    gateway = readable(read, GatewaySettings) if "gateway" in programs else None
    return checks if gateway is None else [*checks, *_keys(gateway)]


def _program(read: ReadSettings, name: str) -> Check:
    try:
        read(PROGRAMS[name])
    except ConfigError as error:
        return fail(f"settings.{name}", error.what, error.mend, CONFIGURATION)
    return ok(f"settings.{name}", "complete")


class _Keys(NamedTuple):
    """A setting with keys of a provider."""

    setting: str
    secret: SecretStr
    load: Callable[[str], Sequence[object]]


def _keys(gateway: GatewaySettings) -> list[Check]:
    settings: Mapping[str, Sequence[_Keys]] = {
        "sendgrid": [_Keys("SENDGRID_PUBLIC_KEYS", gateway.sendgrid_public_keys, sendgrid.load_public_keys)],
        "twilio": [
            _Keys("TWILIO_AUTH_TOKENS", gateway.twilio_auth_tokens, twilio.load_auth_tokens),
            _Keys("TWILIO_SHARED_KEYS", gateway.twilio_shared_keys, twilio.load_auth_tokens),
        ],
        "postmark": [
            _Keys("POSTMARK_BASIC_AUTH", gateway.postmark_basic_auth, postmark.load_credentials),
            _Keys("POSTMARK_HEADER_SECRETS", gateway.postmark_header_secrets, postmark.load_header_secrets),
        ],
    }
    checks = [_key(provider, keys, insecure=gateway.insecure_webhooks) for provider, keys in settings.items()]
    if gateway.insecure_webhooks:
        checks.append(
            fail(
                "webhooks.verified",
                "the gateway accepts unsigned webhooks: anybody can write events",
                f"unset {PREFIX}INSECURE_WEBHOOKS",
            )
        )
    else:
        checks.append(ok("webhooks.verified", "only signed webhooks are accepted"))
    twilio_posts = any(keys.secret.get_secret_value() for keys in settings["twilio"])
    if twilio_posts and not (gateway.public_url or gateway.insecure_webhooks):
        what = "Twilio signs the URL that it calls; without this setting the gateway does not start"
        mend = f"set {PREFIX}PUBLIC_URL to the start of the URLs in Twilio's console"
        checks.append(fail("public_url", what, mend, CONFIGURATION))
    return checks


def _key(provider: str, settings: Sequence[_Keys], *, insecure: bool) -> Check:
    name, found = f"keys.{provider}", 0
    for keys in settings:
        try:
            found += len(keys.load(keys.secret.get_secret_value()))
        except ConfigError as error:
            return fail(name, error.what, f"{error.mend} ({PREFIX}{keys.setting})", CONFIGURATION)
    if found:
        return ok(name, f"{found} configured")
    refused = "are accepted unsigned" if insecure else "are refused with 401"
    mend = f"set {PREFIX}{settings[0].setting}, if {provider} sends you webhooks"
    return warn(name, f"none: webhooks of {provider} {refused}", mend)
