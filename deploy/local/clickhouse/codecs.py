"""Bodies in and out: none, lz4, zstd, gzip, deflate, each possibly in several frames."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Protocol

import lz4.frame
from backports import zstd

from deploy.local.clickhouse.failures import Failure

__all__ = ["Buffer", "choose_encoding", "decode", "encode"]

Buffer = bytes | bytearray | memoryview


def decode(encoding: str, body: Buffer) -> Buffer:
    """The plain body. Every frame of it: a client may send one per block. Truncated bodies raise Failure."""
    if encoding in {"", "identity"} or not body:
        return body
    try:
        match encoding:
            case "lz4":
                return _lz4_frames(body)
            case "zstd":
                return bytes(zstd.decompress(body))
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
    except (EOFError, OSError, RuntimeError, ValueError, zlib.error, zstd.ZstdError) as error:
        raise Failure(354, "ZLIB_INFLATE_FAILED", f"Cannot decompress the {encoding} body: {error}") from error
    raise Failure(448, "UNKNOWN_COMPRESSION_METHOD", f"Unknown content encoding {encoding!r}")


def _lz4_frames(body: Buffer) -> Buffer:
    """`lz4.frame.decompress` alone stops after the first frame without a word: half an insert was lost that way."""
    view, at, frames = memoryview(body), 0, []
    while at < len(view):
        frame, used = lz4.frame.decompress(view[at:], return_bytes_read=True)
        frames.append(frame)
        at += used
    return frames[0] if len(frames) == 1 else b"".join(frames)


def choose_encoding(accepted: str) -> str:
    """The cheapest of what a client accepts."""
    return next((name for name in ("lz4", "zstd", "gzip", "deflate") if name in accepted), "")


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def encode(encoding: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks, compressed as one frame. An empty body becomes an empty frame."""
    if not encoding:
        yield from chunks
        return
    compressor: _Compressor
    if encoding == "lz4":
        compressor = lz4_compressor = lz4.frame.LZ4FrameCompressor()
        yield lz4_compressor.begin()
    elif encoding == "zstd":
        compressor = zstd.ZstdCompressor(level=1)
    else:
        compressor = zlib.compressobj(1, wbits=31 if encoding == "gzip" else 15)
    for chunk in chunks:
        if part := compressor.compress(chunk):
            yield part
    yield compressor.flush()
