"""ClickHouse's errors: a code and a text inside, a status, a header and the text over HTTP."""

import re

__all__ = ["Failure"]

_CODE = re.compile(r"Code: (\d+)\.")

# As ClickHouse's own exceptionCodeToHTTPStatus, except 516: its 401 asks a client for a password.
_STATUS = dict.fromkeys((6, 26, 27, 36, 42, 43, 47, 53, 62, 69, 70, 72, 130, 386, 457), 400)
_STATUS |= {516: 401, 164: 403, 497: 403, 46: 404, 60: 404, 81: 404, 159: 408, 373: 423, 372: 404, 202: 503, 452: 403}
UNKNOWN_EXCEPTION = 1002


class Failure(Exception):
    """A request that ends with one of ClickHouse's error codes."""

    def __init__(self, code: int, name: str, text: str) -> None:
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {text}. ({name}) (version {_version()})"
        super().__init__(self.text)

    @property
    def status(self) -> int:
        return _STATUS.get(self.code, 500)

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Whatever was raised, as a failure: chDB writes the code into its text."""
        if isinstance(error, cls):
            return error
        said = str(error)
        found = _CODE.search(said)
        failure = cls(int(found[1]) if found else UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", said)
        if found:
            failure.text = f"{said[found.start() :].strip()} (version {_version()})"
        return failure


def _version() -> str:
    import chdb  # hundreds of megabytes, which a program that only names users does without

    return str(chdb.engine_version)
