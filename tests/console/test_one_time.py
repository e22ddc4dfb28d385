"""One-time links: they sign in once, and only on this machine."""

import stat
from pathlib import Path

import httpx
import pytest

from application.principals import Principal
from gateway.app import create_app
from gateway.console.one_time import leave_code, take_code
from projections.store import Store
from schemas.telemetry import Telemetry
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import settings


@pytest.fixture
def code(tmp_path: Path) -> str:
    return leave_code(tmp_path, subject="dev-support", role="support", accounts=["*"])


def test_a_code_signs_in_once(tmp_path: Path, code: str) -> None:
    principal = take_code(tmp_path, code, "127.0.0.1")
    assert principal is not None
    assert principal == Principal("dev-support", "support", frozenset({"*"}))
    assert take_code(tmp_path, code, "127.0.0.1") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("client", ["192.0.2.7", "10.0.0.1", "", "localhost"])
def test_a_code_works_only_on_this_machine(tmp_path: Path, code: str, client: str) -> None:
    assert take_code(tmp_path, code, client) is None
    assert take_code(tmp_path, code, "::1") is not None


@pytest.mark.parametrize("other", ["", "x", "../x", "x" * 10_000])
def test_an_unknown_code_signs_nobody_in(tmp_path: Path, code: str, other: str) -> None:
    assert take_code(tmp_path, other, "127.0.0.1") is None
    assert take_code(None, code, "127.0.0.1") is None


def test_the_folder_reveals_no_code(tmp_path: Path, code: str) -> None:
    [file] = tmp_path.iterdir()
    assert code not in file.name
    assert code.encode() not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_link_opens_a_session(tmp_path: Path, code: str) -> None:
    wanted = settings(dev_sign_in_dir=str(tmp_path), public_url="http://127.0.0.1")
    app = create_app(wanted, Store("http://127.0.0.1:1"), FakeKafka(), Telemetry())
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480") as client:
        first = await client.get(f"/login/once/{code}")
        assert (first.status_code, first.headers["location"]) == (303, "/logs")
        assert (await client.get("/login")).status_code == 303
        client.cookies.clear()
        assert (await client.get(f"/login/once/{code}")).status_code == 401
