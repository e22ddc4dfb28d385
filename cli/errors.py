"""From exceptions to what a person reads and a script checks: what, where and the mend on stderr, and an exit code.

0 done, 1 found wrong, 2 usage, 3 configuration, 4 a dependency is down. A traceback is for mistakes of ours alone.
"""

import errno
import socket
from typing import Final

from application.errors import FieldsInvalid
from schemas.errors import (
    BrokerError,
    ConfigError,
    RequestError,
    SendledgerError,
    StoreDenied,
    StoreError,
    TimedOut,
)

__all__ = ["exit_code", "known", "text"]

_CODES: Final[dict[type[SendledgerError], int]] = {
    RequestError: 2,
    ConfigError: 3,
    StoreDenied: 3,  # before its family: a wrong password is a setting, not a server that is away
    StoreError: 4,
    BrokerError: 4,
    TimedOut: 4,
}
_TAKEN: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})
_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})
_FILES: Final = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS),
        *(errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE),
    }
)


def known(error: BaseException) -> SendledgerError | None:
    """Return an error of ours, made of one of the application's or the system's if need be; None for a mistake of ours.

    Of a group of errors (tasks that ran side by side) the first one that is known counts.
    """
    if isinstance(error, FieldsInvalid):  # its fields are the arguments and options of a command
        return RequestError(error.what, "the arguments", "Mend them; see --help", code=error.code)
    if isinstance(error, SendledgerError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := known(one))), None)
    if isinstance(error, OSError):
        return _of_the_system(error)
    return None


def exit_code(error: SendledgerError) -> int:
    """Return the code that the command line ends with."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1)


def text(error: SendledgerError) -> str:
    """Return the three lines that are shown. Control characters are shown by their codes."""
    lines = (("error: ", error.what), ("  where: ", error.where), ("  mend:  ", error.mend))
    return "\n".join(head + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in said) for head, said in lines)


def _of_the_system(error: OSError) -> SendledgerError | None:
    said, where = error.strerror or type(error).__name__, str(error.filename or "this machine")
    if error.errno in _TAKEN:
        return ConfigError(f"An address can't be listened on: {said}", where, "Stop what listens there, or set another")
    if error.errno in _FILES:
        mend = "See that it exists, that this user may use it, and that the disk has room"
        return ConfigError(f"A file or folder can't be used: {said}", where, mend)
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or error.errno in _UNREACHABLE:
        return BrokerError(
            f"A server can't be reached: {said}", where, "Look with `sendledger doctor` which one is away"
        )
    return None
