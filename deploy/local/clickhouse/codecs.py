"""Compression of bodies: none, lz4, zstd, gzip, deflate, in one or several frames, with a size limit."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import lz4.frame
from backports import zstd

from deploy.local.clickhouse.errors import ClickHouseError

__all__ = ["MAX_BODY_BYTES", "Buffer", "choose_encoding", "decode", "encode", "too_large"]

Buffer = bytes | bytearray | memoryview

MAX_BODY_BYTES: Final = 1 << 30
"""Size limit of a body, compressed and decompressed: a compressed body may be a thousand times smaller."""
_LZ4_MOST: Final = 256
"""The decompressed size of an lz4 frame is less than this multiple of its size."""


def too_large() -> ClickHouseError:
    """The error for a body over the size limit."""
    return ClickHouseError(307, "TOO_MANY_BYTES", f"Limit for the body exceeded: it may have {MAX_BODY_BYTES} bytes")


def decode(encoding: str, body: Buffer, most: int = MAX_BODY_BYTES) -> Buffer:
    """Return the decompressed body, of up to `most` bytes, from all its frames: a client may send one per block.

    A truncated or larger body raises ClickHouseError.
    """
    if encoding in {"", "identity"} or not body:
        return body
    try:
        match encoding:
            case "lz4" if len(body) <= most // _LZ4_MOST:
                return _lz4_frames(body)
            case "lz4":
                return _frames(lz4.frame.LZ4FrameDecompressor, body, most)
            case "zstd":
                return _frames(zstd.ZstdDecompressor, body, most)
            case "gzip":
                return _frames(lambda: _Zlib(31), body, most)
            case "deflate":
                return _frames(lambda: _Zlib(15), body, most)
    except (EOFError, OSError, RuntimeError, ValueError, zlib.error, zstd.ZstdError) as error:
        raise ClickHouseError(354, "ZLIB_INFLATE_FAILED", f"Cannot decompress the {encoding} body: {error}") from error
    raise ClickHouseError(448, "UNKNOWN_COMPRESSION_METHOD", f"Unknown content encoding {encoding!r}")


class _Decompressor(Protocol):
    """The interface of decompressors in bz2, lzma, lz4 and zstd."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: Buffer, max_length: int = -1) -> bytes: ...


class _Zlib:
    """zlib with the same interface."""

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: Buffer, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + bytes(data), max_length)


def _frames(new: Callable[[], _Decompressor], body: Buffer, most: int) -> bytes:
    """Decompress all frames; never more than `most` bytes."""
    plain, left, rest = [], most, body
    while rest:
        frame, data = new(), rest
        while not frame.eof:
            piece = frame.decompress(data, left + 1)
            if len(piece) > left:
                raise too_large()
            if not piece and not data and not frame.eof:
                raise EOFError("the body ends within a frame")
            plain.append(piece)
            left -= len(piece)
            data = b""
        rest = frame.unused_data or b""
    return plain[0] if len(plain) == 1 else b"".join(plain)


def _lz4_frames(body: Buffer) -> Buffer:
    """Decompress all frames: `lz4.frame.decompress` silently stops after the first, which once lost half an insert."""
    view, at, frames = memoryview(body), 0, []
    while at < len(view):
        frame, used = lz4.frame.decompress(view[at:], return_bytes_read=True)
        frames.append(frame)
        at += used
    return frames[0] if len(frames) == 1 else b"".join(frames)


def choose_encoding(accepted: str) -> str:
    """Return the cheapest encoding that a client accepts."""
    return next((name for name in ("lz4", "zstd", "gzip", "deflate") if name in accepted), "")


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def encode(encoding: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks, compressed as one frame. An empty body becomes an empty frame."""
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
