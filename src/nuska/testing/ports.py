"""Ports of 127.0.0.1 for servers that tests start, and start again.

They are none of those that the system gives to whoever asks for any. Of those, somebody else may
have one by the time the server listens there, or while it is down; and a client that tries to
reach a server that is down may be given its very port, and be connected to itself.

Refuses to keep a port for anybody: processes go on from different places, each without looking
back, so that they hardly meet.
"""

import os
import socket
from itertools import count
from pathlib import Path

FIRST = 10_240
"""Below are the ports that services are known by."""
ENOUGH = 4096
"""With fewer than that below those that the system gives, it is asked after all."""
APART = 997
"""Ports between where processes begin whose numbers follow each other."""
_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")

_taken = count()


def free_port(*, others: tuple[int, ...] = ()) -> int:
    """One that nobody listens on; nor on those that are by ``others`` above it."""
    choice = _end() - max(others, default=0) - FIRST
    if choice < ENOUGH:
        return _any_port(others)
    begin = os.getpid() * APART
    for turn in _taken:
        port = FIRST + (begin + turn) % choice
        if all(is_free(port + more) for more in (0, *others)):
            return port
    raise AssertionError("counting never ends")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _end() -> int:
    """The first port that the system gives to whoever asks for any."""
    try:
        return int(_GIVEN.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST


def _any_port(others: tuple[int, ...]) -> int:
    highest = 65_535 - max(others, default=0)
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= highest and all(is_free(port + more) for more in others):
            return port
