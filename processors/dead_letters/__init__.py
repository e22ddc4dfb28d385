"""Records that can't be processed: how they are parked, browsed, and sent back or discarded.

parking.py    writes a record to the topic `dead-letters`, with the reason
browsing.py   reads them, each with what was done about it
handling.py   sends some back to their topics, or discards them, exactly once
"""

from processors.dead_letters.parking import (
    OUR_FAILURES,
    DeadLetter,
    DeadLetters,
    LetterOutputs,
    LetterWriter,
    letter_of_failure,
    recent_failures,
)

__all__ = [
    "OUR_FAILURES",
    "DeadLetter",
    "DeadLetters",
    "LetterOutputs",
    "LetterWriter",
    "letter_of_failure",
    "recent_failures",
]
