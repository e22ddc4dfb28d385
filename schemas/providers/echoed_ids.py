"""Our ids in providers' events: `sl_account` and `sl_message`, which a sender attaches and the provider echoes."""

from typing import Any, Final

from schemas.decoding.ids import account_id_or_blank, message_id_or_blank
from schemas.decoding.json_text import text_of

__all__ = ["ECHOED", "take_echoed_ids"]

ECHOED: Final = ("sl_account", "sl_message")


def take_echoed_ids(holder: dict[str, Any]) -> tuple[str, str]:
    """Remove our account and message id from an object and return them; leave them and return blanks if one is invalid.

    The names may be in any case, because some senders' libraries change it; lower case takes precedence.
    """
    account, message = holder.get("sl_account"), holder.get("sl_message")
    names = ECHOED
    if account is None or message is None:
        names = (_name_in(holder, ECHOED[0]), _name_in(holder, ECHOED[1]))
        if not all(names):
            return "", ""
        account, message = holder[names[0]], holder[names[1]]
    account_id = account_id_or_blank(account if type(account) is str else text_of(account))
    if not account_id:
        return "", ""
    message_id = message_id_or_blank(message if type(message) is str else text_of(message))
    if not message_id:
        return "", ""
    del holder[names[0]], holder[names[1]]
    return account_id, message_id


def _name_in(holder: dict[str, Any], name: str) -> str:
    """Return the key of an object that equals a name in any case; blank if none. Of several always the same one."""
    if name in holder:
        return name
    return max((other for other in holder if len(other) == len(name) and other.lower() == name), default="")
