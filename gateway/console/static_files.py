"""The styles, scripts and icons of the pages. They are read once, and browsers may keep them: each URL has a hash.

The hash is over all files, since a module imports others by relative paths: so all of them have the same version.
"""

import gzip
from hashlib import blake2b
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response

from gateway.problems import Problem

__all__ = ["StaticFiles", "read_static_files"]

_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_CACHE_FOREVER: Final = "public, max-age=31536000, immutable"


class _File(NamedTuple):
    content: bytes
    compressed: bytes
    media_type: str


class StaticFiles(NamedTuple):
    """The files by name, and the version (a hash) that is part of their URLs."""

    files: dict[str, _File]
    version: str

    def url(self, base: str, name: str) -> str:
        """Return the URL of a file; `base` is the prefix of every URL of the gateway."""
        if name not in self.files:
            raise KeyError(name)
        return f"{base}/static/{self.version}/{name}"

    def router(self) -> APIRouter:
        """Return the route of the files. They are the same for everybody, so it needs no session."""
        routes = APIRouter(include_in_schema=False)

        @routes.get("/static/{version}/{name}")
        async def static(request: Request, version: str, name: str) -> Response:
            file = self.files.get(name)
            if file is None or version != self.version:
                raise Problem("not-found", "There is no such file")
            compressed = "gzip" in request.headers.get("accept-encoding", "")
            headers = {"Cache-Control": _CACHE_FOREVER, "Vary": "Accept-Encoding"}
            headers |= {"Content-Encoding": "gzip"} if compressed else {}
            return Response(
                file.compressed if compressed else file.content, headers=headers, media_type=file.media_type
            )

        return routes


def read_static_files() -> StaticFiles:
    """Read the files beside this module."""
    found: dict[str, _File] = {}
    digest = blake2b(digest_size=6)
    for path in sorted(files(__package__).joinpath("static").iterdir(), key=lambda path: path.name):
        suffix = path.name.rpartition(".")[2]
        if suffix not in _TYPES:
            continue
        content = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + content)
        found[path.name] = _File(content, gzip.compress(content, 9, mtime=0), f"{_TYPES[suffix]}; charset=utf-8")
    return StaticFiles(found, digest.hexdigest())
