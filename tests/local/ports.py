"""Free ports below the range from which the kernel takes those of outgoing connections."""

import random
import socket

_PORTS_OF_A_STACK = 4


def free_port_base() -> int:
    """A base P such that P, P+1, P+2 and P+3 are free."""
    while True:
        base = random.randrange(20000, 32000, _PORTS_OF_A_STACK)
        if all(_is_free(base + offset) for offset in range(_PORTS_OF_A_STACK)):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
