"""Every problem code, as data: its HTTP status, title, meaning, and the mend.

Codes are part of the API: clients act on them, so none is ever renamed or given another meaning. The page that `type`
links to, and docs/reference/problems.md, are generated from this table.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["BY_STATUS", "KINDS", "TYPE_BASE", "ProblemKind", "kind_of"]

TYPE_BASE: Final = "/problems#"
"""The start of `type`, followed by the code: a page that every gateway serves (RFC 9457 allows a reference relative to
the response's URL). It is preceded by the path of PUBLIC_URL, if that has one."""


class ProblemKind(NamedTuple):
    """One kind of problem."""

    code: str
    status: int
    title: str
    meaning: str
    mend: str

    @property
    def type(self) -> str:
        """The URI of its page, if the gateway's URLs have no path prefix."""
        return TYPE_BASE + self.code

    def type_under(self, path: str) -> str:
        """The URI of its page, if the gateway's URLs begin with `path`: blank, or without a trailing slash."""
        return path + self.type


_AGAIN: Final = "Retry after `Retry-After` seconds."

_ALL: Final = (
    ProblemKind(
        "bad-request", 400, "Bad request", "The request can't be read as HTTP.", "See `detail`; correct the client."
    ),
    ProblemKind(
        "unknown-parameter",
        400,
        "Unknown parameter",
        "The query string has a parameter that the route does not have. A misspelt filter would silently not apply.",
        "Use one of the parameters that `detail` lists.",
    ),
    ProblemKind(
        "repeated-parameter",
        400,
        "Parameter given twice",
        "A parameter that takes one value is given several times.",
        "Give it once.",
    ),
    ProblemKind(
        "invalid-parameter",
        400,
        "Invalid parameter",
        "A query parameter has an invalid value: not an address, a limit out of range, `from` after `to`.",
        "See `detail`, which names the parameter and how it must be.",
    ),
    ProblemKind(
        "invalid-cursor",
        400,
        "Invalid cursor",
        "`cursor` was issued for other filters or another order.",
        "Use `next` of the previous page with the same filters; or start without a cursor.",
    ),
    ProblemKind(
        "account-required",
        400,
        "Account required",
        "The token covers several accounts, and the request is for one; or several accounts share a message id.",
        "Name the account with `account`, or `*` for all that the token covers.",
    ),
    ProblemKind(
        "malformed-json",
        400,
        "Malformed JSON",
        "The body is not JSON in UTF-8.",
        "Correct the program that writes the body; `detail` has the position of the error.",
    ),
    ProblemKind(
        "token-missing",
        401,
        "Token missing",
        "The route takes a token, and the request has no header `Authorization`, or one of another scheme than Bearer.",
        "Send the header `Authorization: Bearer TOKEN`; `sendledger token create` makes a token.",
    ),
    ProblemKind(
        "token-invalid",
        401,
        "Token invalid",
        "The token has expired, was signed with another secret, or is not a token of sendledger; or the word `Bearer`"
        " is missing before it.",
        "Make a new one with `sendledger token create`, with the secret that the gateway has.",
    ),
    ProblemKind(
        "signature-invalid",
        401,
        "Signature invalid",
        "A webhook's signature or password is missing, or does not match the request.",
        "Compare the keys, and for Twilio SENDLEDGER_PUBLIC_URL, with the provider's console; `sendledger doctor`"
        " checks the keys.",
    ),
    ProblemKind(
        "role-not-allowed",
        403,
        "Role not allowed",
        "The token's role does not permit this operation.",
        "Use a token of one of the roles that `detail` names.",
    ),
    ProblemKind(
        "scope-not-allowed",
        403,
        "Scope not allowed",
        "Scope `*` applies to every account, and the token does not cover all.",
        "Name an account of the token as `scope`, or use a token of all accounts.",
    ),
    ProblemKind("not-found", 404, "Not found", "No route has this path.", "See /openapi.json for the paths."),
    ProblemKind(
        "no-such-account",
        404,
        "No such account",
        "The account does not exist, or the token does not cover it: the answer is the same.",
        "Check the account's id, and which accounts the token names.",
    ),
    ProblemKind(
        "no-such-message",
        404,
        "No such message",
        "No message that the token covers has this id.",
        "Check the id. A message that was requested a moment ago may not be in the log yet.",
    ),
    ProblemKind(
        "no-such-event",
        404,
        "No such event",
        "The message has no event of a provider with this id.",
        "Take an `event_id` from the message's timeline, of an event with a `provider`.",
    ),
    ProblemKind(
        "no-such-address",
        404,
        "No such address",
        "Nothing is known about this address that the token may see.",
        "Nothing: it is not suppressed.",
    ),
    ProblemKind(
        "no-such-record",
        404,
        "No such record",
        "No such policy or preference has been written.",
        "Write it with PUT; until then the defaults apply.",
    ),
    ProblemKind(
        "no-such-letter",
        404,
        "No such dead letter",
        "No dead letter has this id.",
        "Take an id from `GET /v1/dead-letters`.",
    ),
    ProblemKind(
        "no-such-bulk-release",
        404,
        "No such bulk release",
        "No bulk release has this id, or none of its addresses is of a scope that the token covers.",
        "Take an id from `GET /v1/bulk-releases`. One of the last seconds may not be in the tables yet.",
    ),
    ProblemKind(
        "no-content",
        404,
        "No content",
        "The message has no stored content.",
        "Send `content` with the request, so that it can be shown later.",
    ),
    ProblemKind(
        "method-not-allowed",
        405,
        "Method not allowed",
        "The path exists, but not with this method.",
        "Use one of the methods in the header `Allow`.",
    ),
    ProblemKind(
        "body-too-slow",
        408,
        "Body too slow",
        "The body did not arrive completely in time.",
        "Send it again over a better connection, or in smaller parts.",
    ),
    ProblemKind(
        "idempotency-conflict",
        409,
        "Idempotency conflict",
        "The same message_id or Idempotency-Key was used before with other content.",
        "Use a new id or key for another request; repeat a request unchanged.",
    ),
    ProblemKind(
        "another-operator",
        409,
        "Another operator is at work",
        "Another operator has begun to handle dead letters during this request, which was stopped. No letter is sent"
        " back twice.",
        "See with `GET /v1/dead-letters` what is left, and repeat the request.",
    ),
    ProblemKind(
        "content-expired",
        410,
        "Content expired",
        "The content of the message was deleted after its retention period.",
        "Nothing; SENDLEDGER_CONTENT_RETENTION_DAYS says how long it is kept.",
    ),
    ProblemKind(
        "content-erased",
        410,
        "Content erased",
        "The content of this message was erased, because a person asked for it.",
        "Nothing: it is not stored any more. `content_erasures` in ClickHouse has who erased it, and why.",
    ),
    ProblemKind(
        "record-gone",
        410,
        "Record gone",
        "Kafka no longer has the record with the bytes of the event: it was deleted, or the topic was created anew.",
        "Nothing: the tables keep the event, but not its bytes.",
    ),
    ProblemKind(
        "too-large",
        413,
        "Too large",
        "The body, or a part of it, is larger than the route takes.",
        "Send smaller requests; `detail` has the limit.",
    ),
    ProblemKind(
        "invalid-body",
        422,
        "Invalid body",
        "The body is JSON (or a file), but has invalid fields. Nothing was written.",
        "See `errors`, which lists each invalid field and how it must be.",
    ),
    ProblemKind(
        "rate-limited",
        429,
        "Too many requests",
        "The token, or the source address of the request, is over a rate limit.",
        "Wait for `Retry-After` seconds, then send more slowly. The limits are SENDLEDGER_*_PER_SECOND and"
        " SENDLEDGER_*_PER_MINUTE of the gateway.",
    ),
    ProblemKind(
        "too-many-reads",
        429,
        "Too many reads at once",
        "The token has the maximum number of concurrent reads, and none ended in time.",
        "Wait for the responses before sending more; narrow slow queries.",
    ),
    ProblemKind(
        "headers-too-large",
        431,
        "Headers too large",
        "The request line and headers are too many or too large.",
        "Send fewer or shorter headers, or a shorter query string.",
    ),
    ProblemKind(
        "internal-error",
        500,
        "Internal error",
        "A bug in sendledger, or a statement that ClickHouse refuses. It is in the gateway's log, with the"
        " `request_id`.",
        "Report it with the `request_id`. The request may or may not have taken effect.",
    ),
    ProblemKind(
        "kafka-away",
        503,
        "Kafka does not answer",
        "Kafka did not acknowledge the write in time: the request may be stored in part, in full, or not at all.",
        f"{_AGAIN} Every request is safe to repeat with the same ids.",
    ),
    ProblemKind(
        "clickhouse-away",
        503,
        "ClickHouse does not answer",
        "ClickHouse is unreachable, or did not answer in time. Sending and webhooks do not need it.",
        f"{_AGAIN} If the same query always fails, narrow it.",
    ),
    ProblemKind(
        "not-ready",
        503,
        "Not ready",
        "Kafka or ClickHouse can't be reached (`/readyz`).",
        "Start it, or correct its settings: `sendledger doctor`.",
    ),
    ProblemKind(
        "timed-out",
        503,
        "Timed out",
        "The request was not completed within its deadline.",
        _AGAIN,
    ),
    ProblemKind(
        "overloaded",
        503,
        "Overloaded",
        "The gateway is at its limit of bodies, reads or connections.",
        _AGAIN,
    ),
)

KINDS: Final[Mapping[str, ProblemKind]] = {kind.code: kind for kind in _ALL}

BY_STATUS: Final[Mapping[int, str]] = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    408: "body-too-slow",
    413: "too-large",
    422: "invalid-body",
    429: "rate-limited",
    500: "internal-error",
    503: "overloaded",
}
"""The code for each status of an error that the framework raises."""


def kind_of(status: int) -> ProblemKind:
    """Return the kind of an error by its status alone."""
    return KINDS[BY_STATUS.get(status, "bad-request" if status < 500 else "internal-error")]
