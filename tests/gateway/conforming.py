"""Checks every response that a test gets against the OpenAPI document: its status, media type and model."""

import re
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import httpx
from pydantic import TypeAdapter

from gateway.api import models
from gateway.app import create_app
from gateway.openapi import PROBLEM_JSON, REF
from projections.store import Store
from schemas import policies
from schemas.telemetry import Telemetry
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import settings

__all__ = ["HOOKS", "conforms", "document", "operation_of"]


@lru_cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return create_app(settings(), Store("http://127.0.0.1:1"), FakeKafka(), Telemetry()).openapi()


@lru_cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The paths of the document, those without parameters first."""
    paths = sorted(document()["paths"], key=lambda path: (path.count("{"), path))
    # The last parameters may have slashes in them.
    greedy = re.compile(r"\\\{(?:address|recipient_id)\\\}")
    return [(re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", greedy.sub(".+", re.escape(path)))), path) for path in paths]


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation of a request; None if the document has no such route."""
    method = "get" if method == "HEAD" else method.lower()
    found = (document()["paths"][name].get(method) for pattern, name in _patterns() if pattern.fullmatch(path))
    return next((said for said in found if said), None)


@lru_cache
def _model(name: str) -> Any:
    """The model with this name, wherever it is defined."""
    found = (import_module(f"{models.__name__}.{one.name}") for one in iter_modules(models.__path__))
    return next((getattr(module, name) for module in found if hasattr(module, name)), None) or getattr(policies, name)


async def conforms(answer: httpx.Response) -> None:
    """Assert that the document declares this response."""
    operation = operation_of(answer.request.method, answer.request.url.path)
    if operation is None:
        return
    where = f"{operation['operationId']} {answer.status_code}"
    said = operation["responses"].get(str(answer.status_code))
    assert said is not None, f"{where} is not in the document: {await answer.aread()!r}"
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in said.get("content", {"": None}), f"{where} is {kind!r}"
    if answer.request.method == "HEAD" or kind not in ("application/json", PROBLEM_JSON):
        return
    await answer.aread()
    media = said["content"][kind]
    if kind == PROBLEM_JSON:
        assert answer.json()["code"] in media["examples"], f"{where} is {answer.json()['code']}"
    name = media["schema"]["$ref"].removeprefix(REF)
    model = _model(name)
    TypeAdapter(model).validate_json(answer.content)


HOOKS = {"response": [conforms]}
"""A hook for a client: each of its responses must conform."""
