"""Signing in: the cookie, its end, the redirect back, and protection against other sites."""

import re
import time

import httpx
import jwt
import pytest

from application.principals import Principal
from gateway.app import create_app
from gateway.console.pages import POLICY
from gateway.console.session import COOKIE, Session, make_cookie, read_cookie, session_of
from gateway.tokens import Claims, claims_of
from projections.store import Store
from schemas.errors import RequestError
from schemas.telemetry import Telemetry
from tests.console.building import SECRET, a_client, a_token
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import settings

NOW = int(time.time())
JO = Principal("jo", "support", frozenset({"acme"}))


def test_a_session_is_read_from_its_cookie() -> None:
    session = Session(JO, NOW + 3600)
    assert read_cookie(make_cookie(session, SECRET), SECRET) == session


@pytest.mark.parametrize(
    "cookie", [None, "", "x", "a.b.c", a_token("acme"), make_cookie(Session(JO, NOW + 3600), "y" * 40)]
)
def test_a_cookie_that_we_did_not_sign_is_no_session(cookie: str | None) -> None:
    assert read_cookie(cookie, SECRET) is None


def test_an_ended_session_is_no_session() -> None:
    assert read_cookie(make_cookie(Session(JO, NOW - 1), SECRET), SECRET) is None


def test_a_cookie_is_no_token() -> None:
    with pytest.raises(RequestError):
        claims_of(make_cookie(Session(JO, NOW + 3600), SECRET), SECRET)


def test_a_cookie_without_a_signature_is_no_session() -> None:
    claims = {"sub": "jo", "role": "operator", "accounts": ["*"], "aud": "sendledger-console", "exp": NOW + 3600}
    assert read_cookie(jwt.encode(claims, "", algorithm="none"), SECRET) is None


@pytest.mark.parametrize(("token_ends", "ends"), [(None, NOW + 3600), (NOW + 60, NOW + 60), (NOW + 9999, NOW + 3600)])
def test_a_session_never_outlives_its_token(token_ends: int | None, ends: int) -> None:
    assert session_of(Claims(JO, token_ends), now=NOW, seconds=3600) == Session(JO, ends)


def test_a_publisher_has_no_session() -> None:
    assert session_of(Claims(Principal("jo", "publisher", frozenset({"acme"})), None), now=NOW, seconds=60) is None


async def test_a_valid_token_signs_in_and_redirects_back() -> None:
    async with a_client() as client:
        answer = await client.post("/login", data={"token": f" {a_token()} ", "next": "/logs?status=Bounced"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/logs?status=Bounced")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in (COOKIE, "HttpOnly", "SameSite=lax", "Secure", "Path=/", "Max-Age="))


async def test_the_cookie_holds_no_token() -> None:
    async with a_client(token=a_token()) as client:
        claims = jwt.decode(client.cookies[COOKIE], options={"verify_signature": False})
    assert claims.keys() == {"sub", "role", "accounts", "aud", "exp"}
    assert (claims["sub"], claims["role"], claims["accounts"]) == ("ann.support", "viewer", ["acme"])


async def test_on_the_machine_itself_the_cookie_needs_no_https() -> None:
    async with a_client() as client:
        headers = {"host": "127.0.0.1:8480"}
        answer = await client.post("/login", data={"token": a_token()}, headers=headers)
    assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "asked", ["https://evil.example", "//evil.example", "/\\evil.example", "/login", "/logs\\..", "javascript:x", ""]
)
async def test_the_redirect_back_never_leaves_the_site(asked: str) -> None:
    async with a_client() as client:
        answer = await client.post("/login", data={"token": a_token(), "next": asked})
    assert answer.headers["location"] == "/logs"


@pytest.mark.parametrize(
    ("token", "status"),
    [("", 401), ("x", 401), (a_token(expires_in=-5), 401), (a_token(role="publisher"), 403)],
    ids=["blank", "no token", "ended", "publisher"],
)
async def test_a_bad_token_signs_nobody_in(token: str, status: int) -> None:
    async with a_client() as client:
        answer = await client.post("/login", data={"token": token})
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert 'name="token"' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/logs",
        "/logs?status=Bounced",
        "/logs/counts",
        "/logs/export",
        "/accounts?q=ac",
        "/suppressions/email/50%25%23@x.example",
    ],
)
async def test_without_a_session_a_page_redirects_to_the_sign_in(path: str) -> None:
    async with a_client() as client:
        answer = await client.get(path)
        assert answer.status_code == 303
        form = await client.get(answer.headers["location"])
    assert f'value="{path}"' in form.text


async def test_a_part_of_a_page_says_that_the_session_has_ended() -> None:
    async with a_client() as client:
        answer = await client.get("/logs", headers={"x-partial": "1"})
    assert answer.status_code == 401
    assert "signed out" in answer.text
    assert "<html" not in answer.text


async def test_signing_out_removes_the_cookie() -> None:
    async with a_client(token=a_token()) as client:
        await client.post("/logout")
        assert COOKIE not in client.cookies
        assert (await client.get("/logs")).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "", "origin": "https://evil.example"},
        {"sec-fetch-site": "", "origin": "null"},
        {"sec-fetch-site": ""},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_a_form_of_another_site_is_refused(path: str, headers: dict[str, str]) -> None:
    async with a_client() as client:
        answer = await client.post(path, data={"token": a_token()}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_our_own_origin_is_enough() -> None:
    async with a_client() as client:
        headers = {"sec-fetch-site": "", "origin": "https://inside"}
        assert (await client.post("/login", data={"token": a_token()}, headers=headers)).status_code == 303


@pytest.mark.parametrize("path", ["/", "/login", "/logs", "/logs/nothing"])
async def test_every_answer_has_the_policy(path: str) -> None:
    async with a_client() as client:
        _is_guarded(await client.get(path))


def _is_guarded(answer: httpx.Response) -> None:
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"


async def test_static_files_are_cached_under_their_hash() -> None:
    async with a_client() as client:
        page = (await client.get("/login")).text
        url = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
        answer = await client.get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith("text/css")
        for other in ("/static/000000000000/console.css", url.replace("console.css", "..%2fpages.py")):
            assert (await client.get(other)).status_code == 404


async def test_the_console_can_be_switched_off() -> None:
    async with a_client(console="off") as client:
        assert [(await client.get(path)).status_code for path in ("/", "/login", "/logs", "/healthz")] == [
            404,
            404,
            404,
            200,
        ]


async def test_with_a_base_path_every_link_has_it() -> None:
    async with a_client(public_url="https://inside/mail") as client:
        assert (await client.get("/")).headers["location"] == "/mail/logs"
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', (await client.get("/login")).text)
        assert {link.split("/")[2] for link in links} >= {"logs", "login", "static"}
        assert all(link.startswith("/mail/") for link in links)
        answer = await client.post("/login", data={"token": a_token()})
    assert answer.headers["location"] == "/mail/logs"
    assert "Path=/mail" in answer.headers["set-cookie"]


async def test_a_separate_process_has_only_the_console_and_health() -> None:
    app = create_app(
        settings(public_url="http://inside", console="off"),
        Store("http://127.0.0.1:1"),
        FakeKafka(),
        Telemetry(),
        only="console",
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://inside") as client:
        found = {path: (await client.get(path)).status_code for path in ("/login", "/healthz", "/v1/messages")}
        hook = await client.post("/webhooks/sendgrid", content=b"[]")
    assert found == {"/login": 200, "/healthz": 200, "/v1/messages": 404}
    assert hook.status_code == 404


async def test_any_process_answers_any_request() -> None:
    async with a_client(token=a_token()) as first, a_client(session_hours=1) as second:
        second.cookies = first.cookies
        assert (await second.get("/login")).status_code == 303
