"""Turns exceptions into messages on stderr (what, where, mend) and exit codes.

0 done, 1 found wrong, 2 usage, 3 configuration, 4 a dependency is down. A traceback is shown only for bugs.
"""

import errno
import socket
from typing import Final

from application.errors import FieldsInvalid
from schemas.errors import (
    BrokerError,
    BrokerSettingsError,
    ConfigError,
    RequestError,
    SendledgerError,
    StoreDenied,
    StoreError,
    TimedOut,
)

__all__ = ["error_text", "exit_code", "to_sendledger_error"]

_CODES: Final[dict[type[SendledgerError], int]] = {
    RequestError: 2,
    ConfigError: 3,
    StoreDenied: 3,  # before StoreError: a wrong password is a setting, not an unreachable server
    StoreError: 4,
    BrokerSettingsError: 3,  # before BrokerError, for the same reason
    BrokerError: 4,
    TimedOut: 4,
}
_ADDRESS_ERRORS: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})
_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})
_FILE_ERRORS: Final = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS),
        *(errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE),
    }
)


def to_sendledger_error(error: BaseException) -> SendledgerError | None:
    """Return the SendledgerError for an exception, converted if needed; None for a bug.

    For an exception group (concurrent tasks) it is the first one that can be converted.
    """
    if isinstance(error, FieldsInvalid):  # its fields are the arguments and options of the command
        return RequestError(error.what, "the arguments", "Correct them; see --help", code=error.code)
    if isinstance(error, SendledgerError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := to_sendledger_error(one))), None)
    if isinstance(error, OSError):
        return _from_os_error(error)
    return None


def exit_code(error: SendledgerError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1)


def error_text(error: SendledgerError) -> str:
    """Return the three lines to print. Control characters are escaped."""
    lines = (("error: ", error.what), ("  where: ", error.where), ("  mend:  ", error.mend))
    return "\n".join(head + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) for head, text in lines)


def _from_os_error(error: OSError) -> SendledgerError | None:
    reason, where = error.strerror or type(error).__name__, str(error.filename or "this machine")
    if error.errno in _ADDRESS_ERRORS:
        return ConfigError(
            f"The address can't be bound: {reason}", where, "Stop what listens there, or set another address"
        )
    if error.errno in _FILE_ERRORS:
        mend = "Check that it exists, that this user may access it, and that the disk is not full"
        return ConfigError(f"A file or folder can't be used: {reason}", where, mend)
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or error.errno in _UNREACHABLE:
        return BrokerError(f"A server can't be reached: {reason}", where, "Run `sendledger doctor` to see which one")
    return None
