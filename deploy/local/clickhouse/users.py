"""Users of the endpoint: names, passwords, read-only users, and fixed settings."""

import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.clickhouse.errors import ClickHouseError
from schemas.errors import ConfigError

__all__ = ["Credentials", "User", "Users", "parse_user", "read_users"]

# These table functions read tables other than by name, and `additional_table_filters` applies by name. A quoted name
# before a parenthesis may be any of them.
_BYPASSES_FILTERS = re.compile(
    r"(\bmerge|\bloop|\bremote|\bremoteSecure|\bcluster|\bclusterAllReplicas|\bmergeTree\w*|[`\"])\s*\(", re.I
)


@dataclass(frozen=True)
class User:
    """A user of the endpoint.

    `readonly` as in ClickHouse: 0 anything, 1 reads, 2 reads and own settings. `settings` apply to every request and a
    URL can't override them; only `readonly=1` prevents SQL from doing so.
    """

    name: str
    password: str = field(default="", repr=False)
    readonly: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "additional_table_filters" in self.settings and self.readonly != 1:
            raise ConfigError(
                what=f"user {self.name!r} has row filters but readonly={self.readonly}: its SQL could lift them",
                where="additional_table_filters",
                mend="set readonly to 1 for that user",
            )

    def check_statement(self, masked_sql: str) -> None:
        """Refuse table functions that bypass the user's row filters. `masked_sql` has its literals blanked."""
        if "additional_table_filters" in self.settings and (found := _BYPASSES_FILTERS.search(masked_sql)):
            raise ClickHouseError(
                497, "ACCESS_DENIED", f"{self.name}: table function {found[1]} is not for users with row filters"
            )


@dataclass(frozen=True)
class Credentials:
    """The credentials of a request."""

    name: str
    password: str = field(repr=False)


class Users:
    """The users of this endpoint; without any there is `default` without a password."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._by_name = {user.name: user for user in users} or {"default": User("default")}

    def authenticate(self, credentials: Credentials) -> User:
        user = self._by_name.get(credentials.name)
        if user is None or not hmac.compare_digest(user.password.encode(), credentials.password.encode()):
            raise ClickHouseError(
                516,
                "AUTHENTICATION_FAILED",
                f"{credentials.name}: Authentication failed: password is incorrect, or there is no user with such name",
            )
        return user


def parse_user(text: str) -> User:
    """Read `name:password[:readonly[:settings-json]]`."""
    name, password, readonly, settings = (text.split(":", 3) + ["", "", ""])[:4]
    return _user(
        {"name": name, "password": password, "readonly": readonly or 0, "settings": json.loads(settings or "{}")}
    )


def read_users(path: Path) -> list[User]:
    """Read a JSON list of objects with `name`, `password`, `readonly` and `settings`."""
    return [_user(given) for given in json.loads(path.read_text())]


def _user(given: Mapping[str, object]) -> User:
    settings = given.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings of a user are an object, not {type(settings).__name__}")
    return User(
        name=str(given["name"]),
        password=str(given.get("password", "")),
        readonly=int(str(given.get("readonly", 0))),
        settings={str(name): str(value) for name, value in settings.items()},
    )
