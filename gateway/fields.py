"""The two names of `application.fields` that lists read parameters with: kept until they are imported from there."""

from application.fields import MAX_ADDRESS_CHARACTERS, is_one_line

__all__ = ["MAX_ADDRESS_CHARACTERS", "is_one_line"]
