"""Message contents: HTML, text, both or none, up to a maximum size."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.records import MAX_CONTENT_BYTES, SendContent
from tests.building import MESSAGE


def a_content(**said: Any) -> SendContent:
    return SendContent.model_validate_json(orjson.dumps({"message_id": MESSAGE, "account_id": "acme"} | said))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"html": "<p>Hi</p>", "text": "Hi"}, id="both parts"),
        pytest.param({"text": "Hi"}, id="a text"),
        pytest.param({"html": None}, id="none"),
        pytest.param({"html": "é" * (MAX_CONTENT_BYTES // 2)}, id="the maximum size"),
        pytest.param({"message_id": MESSAGE.upper()}, id="capitals in the id"),
    ],
)
def test_content_is_valid(said: dict[str, Any]) -> None:
    assert a_content(**said).message_id == MESSAGE


@pytest.mark.parametrize(
    ("said", "says"),
    [
        pytest.param({"html": "x" * MAX_CONTENT_BYTES, "text": "x"}, "together", id="a byte too many in total"),
        pytest.param({"html": "é" * (MAX_CONTENT_BYTES // 2 + 1)}, "together", id="bytes count, not characters"),
        pytest.param({"html": ["<p>"]}, "html", id="a list"),
        pytest.param({"message_id": "1"}, "message_id", id="without a message id"),
    ],
)
def test_content_is_invalid(said: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        a_content(**said)


def test_half_a_surrogate_pair_is_counted_and_kept() -> None:
    assert SendContent(message_id=MESSAGE, account_id="acme", text="\ud83d").text == "\ud83d"
