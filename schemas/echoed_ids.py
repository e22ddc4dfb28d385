"""Our ids, as the providers echo them: `sl_account` and `sl_message` among what a sender gave along."""

from typing import Any, Final

from schemas.identity import account_id_or_blank, message_id_or_blank
from schemas.json_values import text_of

__all__ = ["ECHOED", "take_echoed_ids"]

ECHOED: Final = ("sl_account", "sl_message")


def take_echoed_ids(holder: dict[str, Any]) -> tuple[str, str]:
    """Take our account and message id out of an object; both blank, and left there, unless both are valid.

    Their names are met in any case, as some senders' libraries write them; the spelling of ours comes first.
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
    """Return how an object spells a name, blank where it has none; of several spellings always the same one."""
    if name in holder:
        return name
    return max((other for other in holder if len(other) == len(name) and other.lower() == name), default="")
