"""The queries of suppressions. Outside values are bound parameters, never text."""

from typing import Final

from projections.messages.queries import Query
from schemas.suppressions import EVERYWHERE

__all__ = ["was_suppressed"]

_HELD: Final = "SELECT count() > 0 AS was_suppressed FROM suppressions WHERE channel = {channel:String}"


def was_suppressed(action: str, channel: str, address: str, scope: str) -> Query:
    """Return the query of whether that which a command is about is suppressed: one row, `was_suppressed`.

    `address` is a key. A command is about its own scope; but a release of `*` releases every scope.
    """
    sql = f"{_HELD} AND address = {{address:String}} AND suppressed"
    parameters = {"channel": channel, "address": address}
    if action == "release" and scope == EVERYWHERE:
        return Query(sql, parameters)
    return Query(f"{sql} AND scope = {{scope:String}}", parameters | {"scope": scope})
