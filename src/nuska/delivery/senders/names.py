"""What names mean, as addresses to connect to.

Asked once for all who want to know at the same time, and believed for a moment. Judges nothing:
an address is judged on the socket that is about to connect to it.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Protocol

from aiohappyeyeballs import AddrInfoType

MAX_LOOKUPS = 32
"""Names looked up at once. The system's resolver blocks a thread, and a name server of
somebody's may be slow: the threads are no one else's."""
NAMES_KEPT = 10.0
"""Seconds for which the result of a lookup is used again."""
MOST_KEPT = 1_000

Addresses = Sequence[AddrInfoType]


class Resolver(Protocol):
    async def resolve(self, host: str, port: int) -> Addresses:
        """Where ``host`` is, as ``getaddrinfo`` says it. Raises ``OSError``."""
        ...

    async def close(self) -> None: ...


class ThreadResolver:
    """The system's resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="lookup")

    async def resolve(self, host: str, port: int) -> Addresses:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _ask, host, port)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _ask(host: str, port: int) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Names:
    """Remembers what a resolver has said."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[Addresses]] = {}

    async def look_up(self, host: str, port: int) -> Addresses:
        """Raises ``OSError``."""
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        name = (host, port)
        until, addresses = self._known.get(name, (0.0, ()))
        if asyncio.get_running_loop().time() < until:
            return addresses
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(name), name="lookup")
            task.add_done_callback(lambda task: self._asked(name, task))
        return await asyncio.shield(task)

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        await self._resolver.close()

    async def _ask(self, name: tuple[str, int]) -> Addresses:
        addresses = await self._resolver.resolve(*name)
        if not addresses:
            raise OSError("The name has no address.")
        while len(self._known) >= MOST_KEPT:
            del self._known[next(iter(self._known))]
        until = asyncio.get_running_loop().time() + NAMES_KEPT
        self._known[name] = until, addresses
        return addresses

    def _asked(self, name: tuple[str, int], task: asyncio.Task[Addresses]) -> None:
        del self._asking[name]
        if not task.cancelled():
            task.exception()  # whoever waits gets it; perhaps nobody does any more


def _literal(host: str, port: int) -> AddrInfoType | None:
    try:
        version = ip_address(host).version
    except ValueError:
        return None
    if version == 4:
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))
    return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
