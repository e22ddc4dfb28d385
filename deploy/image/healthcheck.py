"""The health check of a container: `python -P -m deploy.image.healthcheck URL [--line-starts-with TEXT]`.

In:  a URL of a program in the same container, and optionally how a line of its answer must start.
Out: exit code 0 if it answers 200 (and has such a line), else 1 and one line that says what is wrong.

The image has no curl, and this imports only the standard library: it runs every few seconds.
"""

import argparse
import http.client
import sys
import urllib.request
from collections.abc import Sequence

__all__ = ["main"]

_TIMEOUT_SECONDS = 3.0
_MAX_BYTES = 4 * 1024 * 1024


def main(words: Sequence[str]) -> int:
    """Check what the arguments `words` name; return the exit code."""
    parser = argparse.ArgumentParser(prog="deploy.image.healthcheck")
    parser.add_argument("url")
    parser.add_argument("--line-starts-with", default="")
    given = parser.parse_args(words)
    if problem := _problem(given.url, given.line_starts_with):
        sys.stderr.write(f"{given.url}: {problem}\n")
        return 1
    return 0


def _problem(url: str, start: str) -> str:
    """Return what is wrong with the answer, or an empty text."""
    if not url.startswith("http://"):  # urllib would open files, too
        return "is not an http:// URL"
    # A proxy from the environment must not answer instead of this container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            lines = answer.read(_MAX_BYTES).decode("utf-8", "replace").splitlines()
    except (OSError, ValueError, http.client.HTTPException) as error:  # an HTTPError is an OSError
        return str(error) or type(error).__name__
    return "" if any(line.startswith(start) for line in lines) else f"no line starts with {start!r}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
