"""Reproducible randomness: the same seed gives the same choices, ids and IP addresses."""

from base64 import urlsafe_b64encode
from random import Random

__all__ = ["ip", "randomness", "shuffled", "token"]


def randomness(seed: str) -> Random:
    """Return a generator that depends only on the seed."""
    return Random(seed)  # noqa: S311  (not used for secrets)


def ip(rng: Random) -> str:
    """Return an IP address of the ranges reserved for documentation."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


def token(rng: Random) -> str:
    """Return 22 characters, like SendGrid's ids."""
    return urlsafe_b64encode(rng.randbytes(16))[:22].decode()


def shuffled(text: str, rng: Random) -> str:
    """Return the text with its characters shuffled. The first stays, so that a number keeps its number of digits."""
    return text[0] + "".join(rng.sample(text[1:], len(text) - 1))
