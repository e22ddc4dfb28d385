"""Free ports below the range from which the kernel takes those of outgoing connections."""

import os
import random
import re
import socket

_PORTS_OF_A_STACK = 10
_FIRST, _LAST, _PROCESSES = 20_000, 32_000, 4


def free_port_base() -> int:
    """Return a base P such that P to P+9 are free; a stack uses some of them."""
    while True:
        base = random.randrange(*_mine(), _PORTS_OF_A_STACK)
        if all(_is_free(base + offset) for offset in range(_PORTS_OF_A_STACK)):
            return base


def _mine() -> tuple[int, int]:
    """The range of this process: test processes run concurrently, and a port is free until a server binds it."""
    number = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % _PROCESSES  # noqa: TID251
    ports = (_LAST - _FIRST) // _PROCESSES
    return _FIRST + number * ports, _FIRST + (number + 1) * ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
