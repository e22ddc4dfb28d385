"""The whole API against its OpenAPI document: schemathesis makes the requests, and no answer may surprise."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as limits
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from application.decisions import DecisionListener
from gateway.app import create_app
from schemas.telemetry import Telemetry
from tests.gateway.building import a_token
from tests.gateway.conforming import document
from tests.gateway.operations import operations
from tests.gateway.tenants import fill
from tests.gateway.test_webhooks import FakeKafka, settings
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

Case = schemathesis.Case[Any]

CONFORMS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS: Final = {operation.name: operation for operation in operations()}
WITH_TOKEN: Final = [name for name, operation in OPERATIONS.items() if operation.takes_token]
OPERATOR: Final = a_token("*", role="operator")
_MAX_EXAMPLES: Final = 15
_MAX_BOUNDARIES: Final = 40
ANY_TEXT: Final = {"getPolicy"}
"""Operations without a request that is invalid: all that they take is a text in the path."""
ANY_BODY: Final = {"importSuppressions"}
"""Operations whose body is a text to the document: a dry run answers 200, and says what is wrong with its lines."""


class Application:
    """The gateway of the fixture, as the ASGI application of a schema that is made before it."""

    gateway: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "Kafka is a fake: nothing is started or stopped"
        await self.gateway(scope, receive, send)


APPLICATION: Final = Application()


def _schema() -> Any:
    schema = schemathesis.openapi.from_dict(document())
    schema.app = APPLICATION
    # A test says by itself which token it sends.
    schema.config.generation.update(with_security_parameters=False)
    refusals = schema.config.checks.negative_data_rejection
    # A body that is wrong and too large is told that it is too large.
    refusals.expected_statuses = [*refusals.expected_statuses, "413"]
    return schema


# A file's lines are a text to the document, whatever they are; schemathesis would write one as JSON, or not at all.
schemathesis.serializer.alias(["application/x-ndjson", "text/csv"], "text/plain")
SCHEMA: Final = _schema()


@pytest.fixture(scope="module", autouse=True)
def gateway(clickhouse_url: str) -> Iterator[None]:
    """A gateway over the rows of two accounts. No gate answers it, so nobody waits for one."""

    async def is_ready(_: DecisionListener) -> bool:
        return False

    unlimited = settings(writes_per_second=0, reads_per_second=0, failures_per_minute=0)
    with fresh_store(clickhouse_url) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecisionListener, "_is_ready", is_ready)
        fill(store)
        APPLICATION.gateway = create_app(unlimited, store, FakeKafka(), Telemetry())
        yield


def examples(name: str, mode: GenerationMode, check: Callable[[Case], object]) -> None:
    """Check an operation with requests that are valid, or are not, the same ones in each run."""

    def checked(case: Case) -> None:
        check(case)

    operation = OPERATIONS[name]
    strategy: SearchStrategy[Case] = SCHEMA[operation.path][operation.method].as_strategy(generation_mode=mode)
    bounded = limits(
        max_examples=_MAX_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    bounded(given(strategy)(checked))()
    boundaries = SCHEMA.iter_coverage_cases(
        SCHEMA[operation.path][operation.method], generation_modes=[mode], generation_config=SCHEMA.config.generation
    )
    for case in islice(boundaries, _MAX_BOUNDARIES):
        check(case)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_valid_request_is_answered_as_the_document_says(name: str) -> None:
    examples(name, GenerationMode.POSITIVE, lambda case: case.call_and_validate(headers=OPERATOR, checks=CONFORMS))


@pytest.mark.parametrize("name", [name for name in WITH_TOKEN if name not in ANY_TEXT])
def test_an_invalid_request_is_refused_as_the_document_says(name: str) -> None:
    checks = CONFORMS if name in ANY_BODY else [*CONFORMS, negative_data_rejection]
    examples(name, GenerationMode.NEGATIVE, lambda case: case.call_and_validate(headers=OPERATOR, checks=checks))


@pytest.mark.parametrize("name", WITH_TOKEN)
def test_a_request_without_a_token_is_401(name: str) -> None:
    def check(case: Case) -> None:
        # A path with a line feed in an address or a recipient's id is no route's, so it is 404 to everybody.
        if not any("%0A" in str(value) for value in case.path_parameters.values()):
            assert case.call_and_validate(checks=CONFORMS).status_code == 401

    examples(name, GenerationMode.POSITIVE, check)


async def _unforeseen(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"rows": []}, 418)(scope, receive, send)


def test_an_answer_that_the_document_does_not_have_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(APPLICATION, "gateway", _unforeseen)
    with pytest.raises(FailureGroup) as caught:
        SCHEMA["/healthz"]["GET"].Case().call_and_validate(checks=CONFORMS)
    assert {type(failure).__name__ for failure in caught.value.exceptions} >= {"UndefinedStatusCode"}
