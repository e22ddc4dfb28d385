"""ClickHouse's errors: a code and a text, and their HTTP status."""

import re

__all__ = ["ClickHouseError"]

_CODE = re.compile(r"Code: (\d+)\.")

# As ClickHouse's own exceptionCodeToHTTPStatus, except 516: its 401 asks a client for a password.
_STATUS = dict.fromkeys((6, 26, 27, 36, 42, 43, 47, 53, 62, 69, 70, 72, 130, 386, 457), 400)
_STATUS |= {516: 401, 164: 403, 497: 403, 46: 404, 60: 404, 81: 404, 159: 408, 373: 423, 372: 404, 202: 503, 452: 403}
UNKNOWN_EXCEPTION = 1002


class ClickHouseError(Exception):
    """A request that ends with one of ClickHouse's error codes."""

    def __init__(self, code: int, name: str, text: str) -> None:
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {text}. ({name}) (version {_version()})"
        super().__init__(self.text)

    @property
    def status(self) -> int:
        return _STATUS.get(self.code, 500)

    @classmethod
    def of(cls, error: Exception) -> "ClickHouseError":
        """Convert any exception: chDB's errors have the code in their text."""
        if isinstance(error, cls):
            return error
        text = str(error)
        found = _CODE.search(text)
        failure = cls(int(found[1]) if found else UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", text)
        if found:
            failure.text = f"{text[found.start() :].strip()} (version {_version()})"
        return failure


def _version() -> str:
    import chdb  # hundreds of megabytes, not needed by programs that only use `users`

    return str(chdb.engine_version)
