"""Outgoing connections that reach nobody whom the operator has not allowed.

A name is looked up by whoever connects, and what it means can change between two looks. So
the address is judged on the very socket that is about to connect, after every lookup, also
where the URL has an address and nothing is looked up. Nothing here knows of messages.

No proxy is taken from the environment, no redirect followed, no cookie kept, nothing unpacked.
How many connections are in use at once is bounded by whoever sends.
"""

import asyncio
import socket
import ssl
from collections import deque

from aiohappyeyeballs import AddrInfoType, start_connection
from msgspec import Struct

from nuska.delivery.senders.http1 import Answer, CallFailed, HttpConnection
from nuska.delivery.senders.names import Names, Resolver, ThreadResolver
from nuska.domain.egress import EgressPolicy

IDLE = 4.0
"""Seconds for which a connection is kept open for the next notification: a little less than what
is usual at the other end, so that nothing is sent to where nobody listens any more."""
MOST_IDLE = 512
SWEPT_EVERY = 1.0
NEXT_ADDRESS_AFTER = 0.25
"""Seconds until another address of a name is tried beside the first (RFC 8305)."""


class AddressRefused(OSError):
    """The operator does not allow connections to this address."""


class Origin(Struct, frozen=True):
    """Where a connection leads."""

    host: str
    port: int
    tls: bool


class Connections:
    """A pool of connections, each judged by ``policy``."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        connect: float,
        total: float,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``connect`` and ``total``: seconds, for a connection and for an exchange with it."""
        self._policy = policy
        self._connect = min(connect, total)
        self._total = total
        self._names = Names(resolver or ThreadResolver())
        self._tls = tls or ssl.create_default_context()
        self._idle: dict[Origin, deque[HttpConnection]] = {}
        """The one used last stands last."""
        self._count = 0
        """Of those that are idle."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, origin: Origin, request: bytes) -> Answer:
        """What comes back for the request. Raises ``CallFailed``."""
        deadline = asyncio.get_running_loop().time() + self._total
        connection = self._take(origin) or await self._connected(origin)
        answer = await connection.exchange(request, deadline=deadline)
        if answer is None:
            raise CallFailed(f"The subscriber did not answer within {self._total:g} seconds.")
        if connection.usable:
            self._keep(origin, connection, answer.at)
        return answer

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
        await self._names.close()

    # Connections that wait for the next request

    def _take(self, origin: Origin) -> HttpConnection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._count -= 1
            if connection.usable:
                return connection
        return None

    def _keep(self, origin: Origin, connection: HttpConnection, now: float) -> None:
        if self._closed or self._count >= MOST_IDLE:
            connection.close()
            return
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = deque()
        connection.idle_since = now
        idle.append(connection)
        self._count += 1
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEPT_EVERY, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        loop = asyncio.get_running_loop()
        since = loop.time() - IDLE
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since < since or not idle[0].usable):
                idle.popleft().close()
                self._count -= 1
            if not idle:
                del self._idle[origin]
        self._sweeper = loop.call_later(SWEPT_EVERY, self._sweep) if self._idle else None

    # New ones

    async def _connected(self, origin: Origin) -> HttpConnection:
        try:
            async with asyncio.timeout(self._connect):
                return await self._open(origin)
        except TimeoutError:
            problem = "No connection to the subscriber was made in time."
        except AddressRefused as error:
            problem = str(error)
        except ssl.SSLCertVerificationError:
            problem = "The subscriber's TLS certificate is not valid for its name."
        except ssl.SSLError:
            problem = "TLS with the subscriber failed."
        except ConnectionRefusedError:
            problem = "The subscriber refuses connections."
        except (OSError, RuntimeError):  # uvloop has the latter for a socket that was closed
            problem = "No connection to the subscriber could be made."
        raise CallFailed(problem)

    async def _open(self, origin: Origin) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            addresses = await self._names.look_up(origin.host, origin.port)
        except TimeoutError:
            raise
        except (OSError, UnicodeError):
            raise CallFailed("The subscriber's name could not be resolved.") from None
        link = await start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_AFTER, socket_factory=self._judged
        )
        try:
            _, connection = await loop.create_connection(
                lambda: HttpConnection(loop),
                sock=link,
                ssl=self._tls if origin.tls else None,
                server_hostname=origin.host.rstrip(".") if origin.tls else None,
            )
        except BaseException:
            link.close()
            raise
        return connection

    def _judged(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = address
        reason = self._policy.judge_address(place[0])
        if reason is not None:
            raise AddressRefused(f"The subscriber's address {reason}.")
        return socket.socket(family=family, type=kind, proto=protocol)
