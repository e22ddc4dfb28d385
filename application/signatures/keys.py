"""The keys in force, by which the webhooks of the providers that sign are verified."""

from dataclasses import dataclass, field

from application.signatures import sendgrid, twilio
from schemas.settings import SignatureSettings

__all__ = ["SigningKeys", "load_keys"]


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of each setting, in its order. Postmark does not sign, so it has none."""

    sendgrid: tuple[sendgrid.PublicKey, ...]
    twilio_tokens: tuple[bytes, ...] = field(repr=False)
    twilio_shared: tuple[bytes, ...] = field(repr=False)


def load_keys(settings: SignatureSettings) -> SigningKeys:
    """Return the keys of the settings. Raises ConfigError, which gives the position of the invalid one."""
    return SigningKeys(
        sendgrid.load_public_keys(settings.sendgrid_public_keys.get_secret_value()),
        twilio.load_auth_tokens(settings.twilio_auth_tokens.get_secret_value()),
        twilio.load_auth_tokens(settings.twilio_shared_keys.get_secret_value()),
    )
