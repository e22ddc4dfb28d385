"""The providers that are played: how each tells, and how each posts.

A new provider is a module with a teller, a row of `PROVIDERS`, and courses that fit it (`simulator.courses`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from simulator.durations import SECOND
from simulator.providers.postmark import PostmarkTeller
from simulator.providers.sendgrid import SendGridTeller
from simulator.providers.teller import MakeTeller
from simulator.providers.twilio import TwilioTeller
from simulator.signing import Keys, basic_auth, sign_sendgrid, sign_twilio

__all__ = ["PROVIDERS", "Provider", "Signed"]


class Signed(NamedTuple):
    """How a post proves who sent it."""

    headers: Mapping[str, str] = {}
    """What the provider sends."""
    signature: str = ""
    """What the gateway keeps of it in Kafka, with `signed_at`; blank where there is nothing that can be kept."""
    signed_at: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider: `channel` is what it carries."""

    channel: str
    share: float
    """Of all messages."""
    teller: MakeTeller
    posts_lists: bool
    """Whether a post has many elements, or is one event."""
    content_type: str
    user_agent: str
    key: str
    """The setting that its key comes from."""
    sign: Callable[[Keys, str, bytes, int], Signed]
    """Signs a body that is posted to a URL at a time (microseconds); blank where there is no key."""

    def has_key(self, keys: Keys) -> bool:
        """Return whether this provider's posts can be signed with `keys`."""
        return bool(self.sign(keys, "", b"", 0).headers)


def _sign_sendgrid(keys: Keys, _: str, body: bytes, at_us: int) -> Signed:
    if not keys.sendgrid_private_key:
        return Signed()
    signed_at = str(at_us // SECOND)
    signature = sign_sendgrid(keys.sendgrid_private_key, signed_at, body)
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": signature,
        "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
    }
    return Signed(headers, signature, signed_at)


def _sign_twilio(keys: Keys, url: str, body: bytes, _: int) -> Signed:
    if not keys.twilio_auth_token:
        return Signed()
    signature = sign_twilio(keys.twilio_auth_token, url, body)
    return Signed({"X-Twilio-Signature": signature}, signature)


def _log_in_to_postmark(keys: Keys, _: str, __: bytes, ___: int) -> Signed:
    # What it sends is a password: nothing of it is kept.
    return Signed({"Authorization": basic_auth(keys.postmark_credentials)} if keys.postmark_credentials else {})


PROVIDERS: Final[dict[str, Provider]] = {
    "sendgrid": Provider(
        channel="email",
        share=0.5,
        teller=SendGridTeller,
        posts_lists=True,
        content_type="application/json",
        user_agent="SendGrid Event API",
        key="SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY",
        sign=_sign_sendgrid,
    ),
    "postmark": Provider(
        channel="email",
        share=0.2,
        teller=PostmarkTeller,
        posts_lists=False,
        content_type="application/json",
        user_agent="Postmark",
        key="SENDLEDGER_POSTMARK_BASIC_AUTH",
        sign=_log_in_to_postmark,
    ),
    "twilio": Provider(
        channel="sms",
        share=0.3,
        teller=TwilioTeller,
        posts_lists=False,
        content_type="application/x-www-form-urlencoded; charset=UTF-8",
        user_agent="TwilioProxy/1.1",
        key="SENDLEDGER_TWILIO_AUTH_TOKENS",
        sign=_sign_twilio,
    ),
}
