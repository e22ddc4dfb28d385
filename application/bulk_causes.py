"""Which suppressions a bulk release is about: the cause that they have in common, as a caller states it.

In:  fields as text: with_reason, account, domain, from, to, provider, code, enhanced_code, text; the principal.
Out: a `Cause`; or FieldsInvalid with all faults, and RequestError for an account that the principal does not have.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from application.errors import FieldsInvalid, ValidationFault
from application.fields import MAX_ADDRESS_CHARACTERS
from application.principals import Principal, require_account_access
from projections.suppressions.addressing import is_address
from projections.suppressions.bulk_release import RELEASABLE, Cause
from schemas.decoding.addresses import domain_of, email_key
from schemas.decoding.times import rfc3339_us
from schemas.suppressions import MAX_REASON_CHARACTERS
from schemas.topics import WEBHOOKS

__all__ = ["cause_of", "cause_text", "text_problem"]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CONDITIONS: Final = "domain, from, to, provider, code, enhanced_code or text"
_EVENT_CONDITIONS: Final = ("provider", "code", "enhanced_code", "text")


def cause_of(fields: Mapping[str, str | None], principal: Principal) -> Cause:
    """Return the cause. Raises FieldsInvalid and RequestError."""
    given = {name: text for name, text in fields.items() if text is not None}
    if "account" in given:
        require_account_access(principal, given["account"])
    if faults := [ValidationFault(name, problem) for name, text in given.items() if (problem := _PROBLEMS[name](text))]:
        raise FieldsInvalid(faults)
    cause = Cause(
        reason=given.get("with_reason", Cause().reason),
        **{name: given[name] for name in ("account", *_EVENT_CONDITIONS) if name in given},
        domain=_domain_key(given.get("domain", "")),
        from_us=_time_us(given["from"]) if "from" in given else None,
        to_us=_time_us(given["to"]) if "to" in given else None,
    )
    if fault := _contradiction(cause):
        raise FieldsInvalid([fault])
    return cause


def cause_text(fields: Mapping[str, str | None]) -> str:
    """Return the conditions as text, for people who read the history."""
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in fields.items() if text is not None)


def _contradiction(cause: Cause) -> ValidationFault | None:
    if not cause.is_narrow:
        return ValidationFault("", f"give at least one of {_CONDITIONS}: an account alone is no cause")
    if cause.from_us is not None and cause.to_us is not None and cause.from_us > cause.to_us:
        return ValidationFault("from", "must not be after `to`")
    if cause.reason == "manual" and cause.asks_for_events:
        names = ", ".join(name for name in _EVENT_CONDITIONS if getattr(cause, name))
        return ValidationFault("with_reason", f"manual suppressions come from commands, which have no {names}")
    return None


def _time_us(text: str) -> int | None:
    return rfc3339_us(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)


def _domain_key(text: str) -> str:
    return domain_of(email_key(f"x@{text.strip().removeprefix('@')}")) if text else ""


def _time_problem(text: str) -> str:
    return "" if _time_us(text) is not None else "must be a time like 2026-11-30T09:30:00Z or a date like 2026-11-30"


def _domain_problem(text: str) -> str:
    is_domain = "@" not in text.strip().removeprefix("@") and len(text) <= MAX_ADDRESS_CHARACTERS
    if is_domain and is_address(f"x@{_domain_key(text)}", "email"):
        return ""
    return "must be a whole domain, like example.com"


def text_problem(text: str) -> str:
    """Return what is wrong with a text that a caller gives; blank if nothing is."""
    if not text.strip() or len(text) > MAX_REASON_CHARACTERS:
        return f"must have 1 to {MAX_REASON_CHARACTERS} characters, and not only spaces"
    return "" if text.encode(errors="replace").decode() == text else "must be text in valid UTF-8"


def _one_of(*values: str) -> Callable[[str], str]:
    return lambda text: "" if text in values else f"must be {' or '.join(values)}"


_PROBLEMS: Final[Mapping[str, Callable[[str], str]]] = {
    "with_reason": _one_of(*RELEASABLE),
    "account": lambda _: "",  # checked with the principal
    "domain": _domain_problem,
    "from": _time_problem,
    "to": _time_problem,
    "provider": _one_of(*WEBHOOKS),
    "code": text_problem,
    "enhanced_code": text_problem,
    "text": text_problem,
}
"""What is wrong with the value of each field; blank if nothing is."""
