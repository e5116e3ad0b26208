"""Outgoing connections that reach nobody whom the operator has not allowed.

A name is looked up by whoever connects, and what it means can change between two looks. So
the address is judged on the very socket that is about to connect, after every lookup, also
where the URL has an address and nothing is looked up. Nothing here knows of messages.
"""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from nuska.domain.egress import EgressPolicy

MAX_LOOKUPS = 32
"""Names looked up at once. The system's resolver blocks a thread, and a name server of
somebody's may be slow: the threads are no one else's."""
NAMES_KEPT = 10
"""Seconds for which the result of a lookup is used again."""
IDLE = 5
"""Seconds for which a connection is kept open for the next notification."""


class AddressRefused(OSError):
    """The operator does not allow connections to this address."""


class ThreadResolver(AbstractResolver):
    """The system's resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _look_up, host, port, family
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family_,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for family_, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[Any]:
    return socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )


def guarded_session(
    policy: EgressPolicy,
    *,
    connect: float,
    total: float,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> aiohttp.ClientSession:
    """A pool of connections, each judged by ``policy``. ``connect`` and ``total``: seconds.

    No proxy is taken from the environment, no cookie kept, nothing unpacked. How many are open
    at once is bounded by whoever sends.
    """

    def judged(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        reason = policy.judge_address(address[0])
        if reason is not None:
            raise AddressRefused(f"The subscriber's address {reason}.")
        return socket.socket(family=family, type=kind, proto=protocol)

    connector = aiohttp.TCPConnector(
        limit=0,
        ssl=tls or ssl.create_default_context(),
        resolver=resolver or ThreadResolver(),
        ttl_dns_cache=NAMES_KEPT,
        keepalive_timeout=IDLE,
        socket_factory=judged,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=total, connect=connect, sock_connect=connect),
    )
