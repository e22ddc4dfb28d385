"""The simulated providers: how each emits events, and how it posts and signs them.

A new provider needs a module with an emitter, a row of `PROVIDERS`, and scenarios that name it (`simulator.scenarios`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from simulator.durations import SECOND
from simulator.providers.emitter import Envelope, ProviderEmitter
from simulator.providers.postmark import PostmarkEmitter
from simulator.providers.sendgrid import SendGridEmitter
from simulator.providers.twilio import TwilioEmitter
from simulator.signing import Keys, basic_auth, sign_sendgrid, sign_twilio

__all__ = ["PROVIDERS", "Provider", "Signed"]


class Signed(NamedTuple):
    """The authentication of a post."""

    headers: Mapping[str, str] = {}
    """Headers that the provider sends."""
    signature: str = ""
    """What the gateway stores in Kafka, with `signed_at`; blank if nothing may be stored."""
    signed_at: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider, and the channel that it serves."""

    channel: str
    share: float
    """Its share of all messages."""
    emitter: Callable[[Envelope, Random], ProviderEmitter]
    posts_lists: bool
    """Whether a post is a list of events; otherwise it is one event."""
    content_type: str
    user_agent: str
    key: str
    """The environment variable of its key."""
    sign: Callable[[Keys, str, bytes, int], Signed]
    """Signs a body that is posted to a URL at a time (microseconds); blank without a key."""

    def has_key(self, keys: Keys) -> bool:
        """Return whether this provider's posts can be signed with `keys`."""
        return bool(self.sign(keys, "", b"", 0).headers)


def _sign_sendgrid(keys: Keys, _: str, body: bytes, at_us: int) -> Signed:
    if not keys.sendgrid_private_key:
        return Signed()
    signed_at = str(at_us // SECOND)
    signature = sign_sendgrid(keys.sendgrid_private_key, signed_at, body)
    headers = {"X-Twilio-Email-Event-Webhook-Signature": signature, "X-Twilio-Email-Event-Webhook-Timestamp": signed_at}
    return Signed(headers, signature, signed_at)


def _sign_twilio(keys: Keys, url: str, body: bytes, _: int) -> Signed:
    if not keys.twilio_auth_token:
        return Signed()
    signature = sign_twilio(keys.twilio_auth_token, url, body)
    return Signed({"X-Twilio-Signature": signature}, signature)


def _authenticate_postmark(keys: Keys, _: str, __: bytes, ___: int) -> Signed:
    # It is a password: nothing of it is stored.
    return Signed({"Authorization": basic_auth(keys.postmark_credentials)} if keys.postmark_credentials else {})


PROVIDERS: Final[dict[str, Provider]] = {
    "sendgrid": Provider(
        channel="email",
        share=0.5,
        emitter=SendGridEmitter,
        posts_lists=True,
        content_type="application/json",
        user_agent="SendGrid Event API",
        key="SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY",
        sign=_sign_sendgrid,
    ),
    "postmark": Provider(
        channel="email",
        share=0.2,
        emitter=PostmarkEmitter,
        posts_lists=False,
        content_type="application/json",
        user_agent="Postmark",
        key="SENDLEDGER_POSTMARK_BASIC_AUTH",
        sign=_authenticate_postmark,
    ),
    "twilio": Provider(
        channel="sms",
        share=0.3,
        emitter=TwilioEmitter,
        posts_lists=False,
        content_type="application/x-www-form-urlencoded; charset=UTF-8",
        user_agent="TwilioProxy/1.1",
        key="SENDLEDGER_TWILIO_AUTH_TOKENS",
        sign=_sign_twilio,
    ),
}
