"""Bodies of the endpoint: decompressed from every encoding, with a size limit."""

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.clickhouse.codecs import decode
from deploy.local.clickhouse.endpoint import Endpoint
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.users import Credentials, User, Users

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", COMPRESSORS)
@pytest.mark.parametrize("most", [1 << 14, 1 << 30])
@given(frames=st.lists(st.binary(max_size=900), min_size=1, max_size=9))
def test_every_frame_is_read(encoding: str, most: int, frames: list[bytes]) -> None:
    body = b"".join(map(COMPRESSORS[encoding], frames))
    assert bytes(decode(encoding, body, most)) == b"".join(frames)


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_a_bomb_is_refused_before_it_is_plain(encoding: str) -> None:
    bomb = COMPRESSORS[encoding](bytes(10_000_000))
    with pytest.raises(ClickHouseError, match="TOO_MANY_BYTES"):
        decode(encoding, bomb, 1_000_000)
    many = COMPRESSORS[encoding](bytes(600_000)) * 2
    with pytest.raises(ClickHouseError, match="TOO_MANY_BYTES"):
        decode(encoding, many, 1_000_000)
    assert len(decode(encoding, many, 1_200_000)) == 1_200_000


@pytest.mark.parametrize("encoding", COMPRESSORS)
@pytest.mark.parametrize("most", [1 << 14, 1 << 30])
def test_a_body_that_ends_early_is_refused(encoding: str, most: int) -> None:
    whole = COMPRESSORS[encoding](bytes(range(256)) * 8)
    for size in range(1, len(whole), 7):
        with pytest.raises(ClickHouseError, match="Cannot decompress"):
            decode(encoding, whole[:size], most)


class OnlyUsers:
    """An engine that has users only; any other use fails."""

    def authenticate(self, credentials: Credentials) -> User:
        return Users([User("ann", "secret")]).authenticate(credentials)


async def test_an_unknown_client_is_refused_before_a_byte_of_the_body_is_read() -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        raise AssertionError("the body was read")

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "path": "/",
        "method": "POST",
        "query_string": b"query=SELECT+1",
        "headers": [(b"content-encoding", b"zstd"), (b"x-clickhouse-user", b"ann"), (b"x-clickhouse-key", b"guess")],
    }
    endpoint = Endpoint(OnlyUsers(), 1)  # type: ignore[arg-type]  # as far as it may be asked
    await endpoint(scope, receive, send)  # type: ignore[arg-type]  # ASGI's messages are dicts
    endpoint.close()
    assert sent[0]["status"] == 401
