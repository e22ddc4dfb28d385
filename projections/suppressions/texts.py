"""Bounds the length of the texts in evidence.

In:  a group, a sender, a list or a message id, as a provider wrote it.
Out: the text; for a text that is too long its beginning and a hash, so that two long texts still differ.

A row of the gate's changelogs and a `suppressions.changed` record must fit into a Kafka record, whatever providers
write. A command with a longer text is rejected instead (`schemas.decoding.gate_inputs`).
"""

from hashlib import blake2b
from typing import Final

from schemas.suppressions import MAX_TEXT_CHARACTERS

__all__ = ["MAX_CHARACTERS", "bounded"]

MAX_CHARACTERS: Final = MAX_TEXT_CHARACTERS
_KEPT: Final = MAX_CHARACTERS - 33


def bounded(text: str) -> str:
    """Return `text`, or if it is too long its first 287 characters, a `~` and 32 hexadecimal digits of a hash."""
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[:_KEPT]}~{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
