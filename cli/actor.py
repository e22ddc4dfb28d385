"""Who acts on the command line, as it is stored with what is done."""

import getpass
import os

from application.principals import Principal
from schemas.decoding.ids import ALL

__all__ = ["actor", "command_line_principal"]


def actor() -> str:
    """Return `cli:` and the user of this process."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run as a user id without a name
        return f"cli:{os.getuid()}"


def command_line_principal() -> Principal:
    """Return the principal of the command line: its user may do everything, for all accounts."""
    return Principal(actor(), "operator", frozenset({ALL}))
