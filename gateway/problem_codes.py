"""Every code of a problem, as data: its HTTP status, its title, what it means, and the mend.

Codes are part of the API: a client may act on them, so none is ever renamed or given another meaning. The page that
`type` leads to, and docs/reference/problems.md, are made from this.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["BY_STATUS", "KINDS", "TYPE_BASE", "ProblemKind", "kind_of"]

TYPE_BASE: Final = "/problems#"
"""What `type` begins with, before the code: the page that every gateway serves itself (RFC 9457 allows a reference
that is relative to the answer's own URL). Before it stands the path of PUBLIC_URL, where that has one."""


class ProblemKind(NamedTuple):
    """One kind of problem."""

    code: str
    status: int
    title: str
    meaning: str
    mend: str

    @property
    def type(self) -> str:
        """The URI of its page, where the gateway has a host of its own."""
        return TYPE_BASE + self.code

    def type_under(self, path: str) -> str:
        """The URI of its page, where the gateway's URLs begin with `path`: blank, or without a slash at its end."""
        return path + self.type


_AGAIN: Final = "Do the same again after `Retry-After` seconds."

_ALL: Final = (
    ProblemKind(
        "bad-request", 400, "Bad request", "The request can't be read as HTTP.", "See `detail`; mend the client."
    ),
    ProblemKind(
        "unknown-parameter",
        400,
        "Unknown parameter",
        "The query string has a parameter that the route does not have. A filter that is misspelt would be a filter"
        " that is not applied.",
        "Use one of those that `detail` names.",
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
        "A parameter of the query string has a value that can't be: no address, a limit out of range, `from` after"
        " `to`.",
        "See `detail`, which names the parameter and how it must be.",
    ),
    ProblemKind(
        "invalid-cursor",
        400,
        "Invalid cursor",
        "`cursor` was not given out for these filters and this order.",
        "Take `next` of the page before, with the same filters; or begin without a cursor.",
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
        "Mend what writes the body; `detail` says where it breaks off.",
    ),
    ProblemKind(
        "token-missing",
        401,
        "Token missing",
        "The route takes a token, and the request has none, or not in the form `Authorization: Bearer TOKEN`.",
        "Send the header `Authorization: Bearer TOKEN`; `sendledger token create` makes a token.",
    ),
    ProblemKind(
        "token-invalid",
        401,
        "Token invalid",
        "The token has expired, was signed with another secret, or is no token of sendledger.",
        "Make a new one with `sendledger token create`, with the secret that the gateway has.",
    ),
    ProblemKind(
        "signature-invalid",
        401,
        "Signature invalid",
        "A webhook's signature or password is missing, or does not match the post.",
        "Compare the keys, and for Twilio SENDLEDGER_PUBLIC_URL, with the provider's console; `sendledger doctor`"
        " looks at the keys.",
    ),
    ProblemKind(
        "role-not-allowed",
        403,
        "Role not allowed",
        "The token's role does not have this right.",
        "Use a token of one of the roles that `detail` names.",
    ),
    ProblemKind(
        "scope-not-allowed",
        403,
        "Scope not allowed",
        "Scope `*` changes what holds for every account, and the token does not cover all.",
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
        "No message has this id, as far as the token sees.",
        "Check the id. A message that was requested a moment ago may not be in the log yet.",
    ),
    ProblemKind(
        "no-such-address",
        404,
        "No such address",
        "Nothing is known of this address, as far as the token sees.",
        "Nothing: it is not suppressed.",
    ),
    ProblemKind(
        "no-such-record",
        404,
        "No such record",
        "No such policy or preference has been written.",
        "Write it with PUT; until then the defaults hold.",
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
        "Use a method of the header `Allow`.",
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
        "The same message_id or Idempotency-Key was used before for another content.",
        "Use a new id or key for another request; repeat a request unchanged.",
    ),
    ProblemKind(
        "content-expired",
        410,
        "Content expired",
        "The content of the message was deleted after its retention.",
        "Nothing; SENDLEDGER_CONTENT_RETENTION_DAYS says how long it is kept.",
    ),
    ProblemKind(
        "too-large",
        413,
        "Too large",
        "The body, or a part of it, is larger than the route takes.",
        "Send less at once; `detail` names the limit.",
    ),
    ProblemKind(
        "invalid-body",
        422,
        "Invalid body",
        "The body is JSON (or a file), but says something that can't be. Nothing was written.",
        "See `errors`, which names each field and how it must be.",
    ),
    ProblemKind(
        "rate-limited",
        429,
        "Too many requests",
        "The token, or the address that the request comes from, is over a limit of requests in a time.",
        "Wait for `Retry-After` seconds, then go on more slowly. The limits are SENDLEDGER_*_PER_SECOND and"
        " SENDLEDGER_*_PER_MINUTE of the gateway.",
    ),
    ProblemKind(
        "too-many-reads",
        429,
        "Too many reads at once",
        "The token has as many reads under way as one token may have, and none ended in time.",
        "Wait for the answers before asking for more; narrow slow queries.",
    ),
    ProblemKind(
        "headers-too-large",
        431,
        "Headers too large",
        "The request line and headers are more, or larger, than the gateway takes.",
        "Send fewer or shorter headers, or a shorter query string.",
    ),
    ProblemKind(
        "internal-error",
        500,
        "Internal error",
        "A defect of sendledger, or a statement that ClickHouse refuses. It is in the gateway's log, with the"
        " `request_id`.",
        "Report it with the `request_id`. Whether the request took effect is not known.",
    ),
    ProblemKind(
        "kafka-away",
        503,
        "Kafka does not answer",
        "Kafka did not acknowledge what was to be written, so it is stored in part or not at all.",
        f"{_AGAIN} Every request is safe to repeat with the same ids.",
    ),
    ProblemKind(
        "clickhouse-away",
        503,
        "ClickHouse does not answer",
        "ClickHouse is away, or did not answer in time. Sending and webhooks do not need it.",
        f"{_AGAIN} Narrow the query if it is always this one.",
    ),
    ProblemKind(
        "not-ready",
        503,
        "Not ready",
        "Kafka or ClickHouse can't be reached (`/readyz`).",
        "Start it, or mend its settings: `sendledger doctor`.",
    ),
    ProblemKind(
        "timed-out",
        503,
        "Timed out",
        "The request was not done within its deadline.",
        _AGAIN,
    ),
    ProblemKind(
        "overloaded",
        503,
        "Overloaded",
        "The gateway has as many bodies, reads or connections under way as it takes.",
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
"""The code of an error of which no more is known than its status: those that the framework raises."""


def kind_of(status: int) -> ProblemKind:
    """Return the kind of an error of which only the status is known."""
    return KINDS[BY_STATUS.get(status, "bad-request" if status < 500 else "internal-error")]
