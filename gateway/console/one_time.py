"""One-time links that sign in, on this machine only: for a developer who has just started a local stack.

In:  `sendledger up` writes a file for each role, named by the hash of a code; the link has the code. Out: a session.
Promises: the file is removed before the session begins, so of two requests with the same code only one signs in. A code
is not a token: it is useless once it was used, and on other machines. The folder has hashes, which reveal no code.
"""

import hashlib
import os
import secrets
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import orjson

from application.principals import Principal

__all__ = ["leave_code", "take_code"]

_CODE_BYTES: Final = 24
_MODE: Final = 0o600


def leave_code(folder: Path, *, subject: str, role: str, accounts: list[str]) -> str:
    """Write the file of a new code that signs in once with these claims; return the code."""
    code = secrets.token_urlsafe(_CODE_BYTES)
    descriptor = os.open(_file(folder, code), os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps({"subject": subject, "role": role, "accounts": accounts}))
    return code


def take_code(folder: Path | None, code: str, client: str) -> Principal | None:
    """Return the principal of a code, and remove it; None if it is unknown or used, or `client` is another machine."""
    if folder is None or not _is_loopback(client):
        return None
    file = _file(folder, code)
    taken = file.with_suffix(f".{secrets.token_hex(8)}")
    try:
        file.rename(taken)  # of two concurrent requests, one fails here
        claims = orjson.loads(taken.read_bytes())
        taken.unlink()
    except (OSError, ValueError):
        return None
    return Principal(claims["subject"], claims["role"], frozenset(claims["accounts"]))


def _file(folder: Path, code: str) -> Path:
    return folder / hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


def _is_loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:
        return False
