"""The OpenAPI document: complete, in the API's own words, and nothing in it that never comes.

That answers are as it says is asserted of every answer that a test of the API gets (`conforming`).
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.openapi import PROBLEM_JSON
from gateway.problem_codes import KINDS
from tests.gateway.conforming import document

DOCUMENT = document()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, said in methods.items():
            yield f"{method.upper()} {path}", said


OPERATIONS = dict(operations())


@pytest.mark.parametrize("route", OPERATIONS)
def test_an_operation_has_a_name_a_sentence_and_who_may_call_it(route: str) -> None:
    said = OPERATIONS[route]
    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", said["operationId"])
    assert said["description"].strip()
    assert said["summary"].strip()
    assert [
        name for one in said["security"] for name in one if name not in DOCUMENT["components"]["securitySchemes"]
    ] == []
    if "/v1/" in route:
        assert said["security"] == [{"token": []}]
        assert said["x-roles"]
        assert f"Roles: {', '.join(said['x-roles'])}." in said["description"]


def test_names_are_not_used_twice() -> None:
    names = [said["operationId"] for said in OPERATIONS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("route", OPERATIONS)
def test_every_parameter_is_described_and_never_null(route: str) -> None:
    for parameter in OPERATIONS[route].get("parameters", ()):
        assert parameter["description"], parameter["name"]
        assert "null" not in str(parameter["schema"]), parameter["name"]


@pytest.mark.parametrize("route", OPERATIONS)
def test_a_success_has_a_schema_and_an_error_is_a_problem(route: str) -> None:
    for status, answer in OPERATIONS[route]["responses"].items():
        assert "request-id" in answer["headers"]
        if status.startswith("2"):
            assert status == "204" or all(media["schema"] for media in answer["content"].values())
            continue
        assert list(answer["content"]) == [PROBLEM_JSON]
        codes = answer["content"][PROBLEM_JSON]["examples"]
        assert {KINDS[code].status for code in codes} == {int(status)}
        assert ("Retry-After" in answer["headers"]) == (status in ("429", "503"))


@pytest.mark.parametrize("route", OPERATIONS)
def test_only_a_route_with_a_body_answers_of_bodies(route: str) -> None:
    said = OPERATIONS[route]
    of_bodies = {"413", "422"} & said["responses"].keys()
    assert bool(of_bodies) == ("requestBody" in said)
    if "requestBody" in said and "/v1/" in route:
        assert {"400", "413", "422"} <= said["responses"].keys()
        assert all("example" in media for media in said["requestBody"]["content"].values())


def test_statuses_are_listed() -> None:
    [status] = [p for p in OPERATIONS["GET /v1/messages"]["parameters"] if p["name"] == "status"]
    assert "Bounced" in status["schema"]["items"]["enum"]


def test_every_reference_leads_somewhere() -> None:
    assert [pointer for pointer in references(DOCUMENT) if not resolves(pointer)] == []


def references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)


def resolves(pointer: str) -> bool:
    found: Any = DOCUMENT
    for name in pointer.removeprefix("#/").split("/"):
        if name not in found:
            return False
        found = found[name]
    return True


@pytest.mark.parametrize(
    "route", [route for route, said in OPERATIONS.items() if "/v1/" in route and "requestBody" in said]
)
def test_a_body_is_closed_but_for_metadata(route: str) -> None:
    content = OPERATIONS[route]["requestBody"]["content"]
    for schema in closed(content.get("application/json", {}).get("schema", {})):
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("path", "method", "fields"),
    [
        ("/v1/suppressions", "post", ["scope", "note"]),
        ("/v1/accounts/{account_id}/policy", "put", ["account_id", "updated_at", "trial_started_at"]),
    ],
)
def test_a_field_that_may_be_left_out_may_be_null(path: str, method: str, fields: list[str]) -> None:
    properties = DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert [name for name in fields if {"type": "null"} not in properties[name]["anyOf"]] == []


def closed(value: Any) -> Iterator[dict[str, Any]]:
    """Every object whose fields are named."""
    if isinstance(value, list):
        for item in value:
            yield from closed(item)
    elif isinstance(value, dict):
        if isinstance(value.get("properties"), dict):
            yield value
        for item in value.values():
            yield from closed(item)


@pytest.mark.parametrize(
    ("path", "method", "never"),
    [
        ("/v1/accounts", "get", {"no-such-account", "account-required"}),
        ("/v1/suppressions/import", "post", {"malformed-json"}),
    ],
)
def test_no_problem_is_named_that_never_comes(path: str, method: str, never: set[str]) -> None:
    responses = DOCUMENT["paths"][path][method]["responses"].values()
    said = {
        code for answer in responses for code in answer.get("content", {}).get(PROBLEM_JSON, {}).get("examples", ())
    }
    assert said & never == set()
