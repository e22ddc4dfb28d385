"""Chance that repeats itself: the same seed gives the same dice, ids and addresses of machines."""

from base64 import urlsafe_b64encode
from random import Random

__all__ = ["ip", "randomness", "shuffled", "token"]


def randomness(seed: str) -> Random:
    """Return a source of randomness that gives the same for the same seed."""
    return Random(seed)  # noqa: S311  (nothing secret is made of it)


def ip(rng: Random) -> str:
    """Return an address of the nets that are kept for documentation."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


def token(rng: Random) -> str:
    """Return 22 letters, like SendGrid's ids."""
    return urlsafe_b64encode(rng.randbytes(16))[:22].decode()


def shuffled(text: str, rng: Random) -> str:
    """Return another text of the same letters. The first stays, so that a number stays one of as many digits."""
    return text[0] + "".join(rng.sample(text[1:], len(text) - 1))
