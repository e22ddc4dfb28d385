"""Free ports below the range from which the kernel takes those of outgoing connections."""

import random
import socket

_PORTS_OF_A_STACK = 10


def free_port_base() -> int:
    """A base P such that P to P+9 are free: what a stack takes, and room for what it may take yet."""
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
