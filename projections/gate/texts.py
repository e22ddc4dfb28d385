"""How long a text may be that the gate remembers of an address.

In:  a group, a sender, a list or a message's id, as a provider wrote it.
Out: the text; of a longer one its beginning and a hash, so that two long texts are still told apart.

A row of the gate's memory, and a record of `suppressions.changed`, must fit into a record of Kafka whatever anybody
writes. Our own commands are refused where a text of theirs is longer (`schemas.gate_facts`).
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
