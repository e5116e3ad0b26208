"""Which server a key is on: one server, the primary that sentinels name, or a cluster's.

Nothing here knows what a queue is. Only what certainly was not done is sent again: a
redirected command, and one whose function was not loaded.
"""

import asyncio
import secrets
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from nuska.domain.errors import Unavailable
from nuska.stores.encrypted import client_context
from nuska.stores.redis.lane import (
    ANSWER_WITHIN,
    CONNECT_WITHIN,
    Confirmed,
    Lane,
    Part,
    unavailable,
)
from nuska.stores.redis.url import Location, Topology

MAX_REDIRECTS = 5
LEARN_AT_MOST_EVERY = 0.2
"""Seconds between looks at the map of a cluster, so that one silent server does not make every
request of the others ask for it."""
ASK_ANOTHER_AFTER = 0.2
"""Seconds without an answer after which the next server is asked for the map as well."""
SLOTS = 16384
NOT_DONE = ("READONLY", "OOM", "MISCONF", "LOADING", "NOREPLICAS", "MASTERDOWN", "BUSY", "NOAUTH")
"""How Redis says that it cannot do something now, and has not done it."""

Address = tuple[str, int]
Command = tuple[str, tuple[Part, ...]]
"""A key, and what is to be sent to the server that holds it."""


class Servers(Protocol):
    """The servers of a store."""

    async def call(self, key: str, *command: Part) -> Any:
        """Send ``command`` to the server that holds ``key``."""
        ...

    async def call_after(self, entry: Command, key: str, *command: Part) -> Any:
        """The same once ``entry`` is written, which may lie on another server.

        If that cannot be written, ``command`` is not carried out.
        """
        ...

    async def connect(self) -> AbstractConnection:
        """A connection of one's own, to any server; the caller bounds how long it may take."""
        ...

    async def primaries(self) -> list[Lane]:
        """Every server that takes writes."""
        ...

    def in_one_slot(self, one: str, other: str) -> bool:
        """Whether one call may touch both keys."""
        ...

    async def close(self) -> None: ...


def open_servers(location: Location, confirmed: Confirmed | None = None) -> Servers:
    """Nothing is connected until it is needed; ``confirmed`` says what follows writes."""
    doors = Doors(location)
    match location.topology:
        case Topology.CLUSTER:
            return Cluster(location, doors, confirmed)
        case Topology.SENTINEL:
            return OneServer(Lane(Behind(location, doors).connect, confirmed))
        case _:
            [address] = location.hosts
            return OneServer(Lane(lambda: doors.connected(address), confirmed))


class Doors:
    """Makes connections to the servers of one store."""

    def __init__(self, location: Location) -> None:
        """Raises ``ValueError`` when a file that the URL names cannot be used."""
        self._location = location
        self._tls: ssl.SSLContext | None = None
        if location.encrypted:
            self._tls = client_context(ca=location.ca, cert=location.cert, key=location.key)

    async def connected(self, address: Address, **other: Any) -> AbstractConnection:
        """A connection that has logged in; the caller bounds how long it may take."""
        connection = self._new(address, other)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        return connection

    def _new(self, address: Address, other: Mapping[str, Any]) -> AbstractConnection:
        host, port = address
        settings: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": self._location.database,
            "username": self._location.user,
            "password": self._location.password,
            "socket_timeout": None,  # the lane watches
            "socket_connect_timeout": CONNECT_WITHIN,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,  # one shape of answers on every server, and no pushed notices
            **other,
        }
        if self._tls is None:
            return Connection(**settings)
        encrypted = SSLConnection(**settings)
        encrypted.ssl_context.context = self._tls  # its own believes the system's, too
        return encrypted


def translated(refusal: ResponseError) -> Exception:
    """What Redis refuses for the moment is unavailable; the rest is a bug or a setting."""
    text = str(refusal)
    passing = isinstance(refusal, ClusterDownError | TryAgainError) or text.startswith(NOT_DONE)
    names = ("ReadOnlyError", "OutOfMemoryError", "NoPermissionError", "MasterDownError")
    if passing or type(refusal).__name__ in names or "-READONLY" in text:
        return unavailable(refusal)
    return refusal


class OneServer:
    """A server on its own, or the primary behind sentinels."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._may_combine: bool | None = None
        """Not known until it is needed."""

    async def call(self, key: str, *command: Part) -> Any:  # noqa: ARG002  all keys are here
        try:
            return await self._lane.call(*command)
        except ResponseError as refusal:
            raise translated(refusal) from refusal

    async def call_after(self, entry: Command, key: str, *command: Part) -> Any:
        """In one round trip, and one sync, if the user may do that."""
        try:
            if self._may_combine is None:
                self._may_combine = await self._lane.may_combine()
            if self._may_combine:
                return (await self._lane.call_at_once(entry[1], command))[1]
        except ResponseError as refusal:
            raise translated(refusal) from refusal
        await self.call(entry[0], *entry[1])
        return await self.call(key, *command)

    async def connect(self) -> AbstractConnection:
        return await self._lane.connect()

    async def primaries(self) -> list[Lane]:
        return [self._lane]

    def in_one_slot(self, one: str, other: str) -> bool:  # noqa: ARG002  all keys are here
        return True

    async def close(self) -> None:
        await self._lane.close()


class Behind:
    """Asks sentinels who is the primary, at every connection."""

    def __init__(self, location: Location, doors: Doors) -> None:
        self._location = location
        self._doors = doors
        self._sentinels = list(location.hosts)

    async def connect(self) -> AbstractConnection:
        problem: Exception = ConnectionError("no sentinel knows the primary")
        for sentinel in list(self._sentinels):
            try:
                async with asyncio.timeout(CONNECT_WITHIN / len(self._sentinels)):
                    connection = await self._doors.connected(await self._ask(sentinel))
                    await connection.send_command("ROLE")
                    role = await connection.read_response()
            except (RedisError, OSError) as error:
                problem = error
                continue
            if role[0] == b"master":
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return connection
            await connection.disconnect(nowait=True)
        raise problem

    async def _ask(self, sentinel: Address) -> Address:
        password = self._location.sentinel_password
        asking = await self._doors.connected(sentinel, db=0, username=None, password=password)
        try:
            await asking.send_command("SENTINEL", "get-master-addr-by-name", self._location.service)
            found = await asking.read_response()
        finally:
            await asking.disconnect(nowait=True)
        if found is None:
            raise ConnectionError(f"no sentinel knows {self._location.service!r}")
        return found[0].decode(), int(found[1])


class Cluster:
    """Primaries by hash slot; learns the map anew when one of them says it has changed."""

    def __init__(
        self, location: Location, doors: Doors, confirmed: Confirmed | None = None
    ) -> None:
        self._location = location
        self._doors = doors
        self._confirmed = confirmed
        self._lanes: dict[Address, Lane] = {}
        self._slots: list[Address] = []
        self._learning: asyncio.Task[None] | None = None
        self._is_stale = True
        self._learnt_at = -LEARN_AT_MOST_EVERY

    async def call(self, key: str, *command: Part) -> Any:
        slot = key_slot(key.encode())
        asked: Address | None = None
        for _ in range(MAX_REDIRECTS):
            if self._is_stale:
                await self._learn()
            try:
                if asked is not None:
                    lane, asked = self._lane(asked), None
                    return (await lane.call_together(("ASKING",), command))[1]
                return await self._lane(self._slots[slot]).call(*command)
            except MovedError as elsewhere:
                self._is_stale = True
                asked = (elsewhere.host, elsewhere.port)
            except AskError as elsewhere:
                asked = (elsewhere.host, elsewhere.port)
            except ResponseError as refusal:
                self._is_stale = self._is_stale or isinstance(refusal, ClusterDownError)
                raise translated(refusal) from refusal
            except Unavailable:
                self._is_stale = True
                raise
        raise Unavailable("The Redis Cluster is being rearranged.")

    async def call_after(self, entry: Command, key: str, *command: Part) -> Any:
        """One after the other: the two are on different servers as a rule."""
        await self.call(entry[0], *entry[1])
        return await self.call(key, *command)

    async def _learn(self) -> None:
        """One attempt serves all who wait for it, so that nobody waits for several."""
        if self._slots and self._now() < self._learnt_at + LEARN_AT_MOST_EVERY:
            return
        if self._learning is None:
            self._learning = asyncio.create_task(self._find_map())
            self._learning.add_done_callback(self._has_learnt)
        await asyncio.shield(self._learning)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _has_learnt(self, attempt: asyncio.Task[None]) -> None:
        self._learning = None
        if not attempt.cancelled():
            attempt.exception()  # whoever waited may have gone

    async def _find_map(self) -> None:
        began = self._now()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                self._slots = await self._first_map()
        except TimeoutError as error:
            raise unavailable(error) from error
        self._is_stale, self._learnt_at = False, began

    async def _first_map(self) -> list[Address]:
        """The first that is whole. Whoever does not answer soon is not waited for alone."""
        problem: Exception = Unavailable("No server of the Redis Cluster answers.")
        known = dict.fromkeys([*self._slots, *self._location.hosts])
        to_ask = sorted(known, key=lambda one: self._lane(one).is_connected)
        asking: set[asyncio.Task[list[Address]]] = set()
        try:
            while to_ask or asking:
                if to_ask:
                    asking.add(asyncio.create_task(self._map_of(to_ask.pop())))
                answered, asking = await asyncio.wait(
                    asking,
                    timeout=ASK_ANOTHER_AFTER if to_ask else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for answer in answered:
                    try:
                        return answer.result()
                    except (ResponseError, Unavailable) as error:
                        problem = error
            raise problem
        finally:
            for one in asking:
                one.cancel()

    async def _map_of(self, address: Address) -> list[Address]:
        """Which server each hash slot is on, according to this one."""
        ranges = await self._lane(address).call("CLUSTER", "SLOTS")
        slots: list[Address | None] = [None] * SLOTS
        for first, last, primary, *_ in ranges:
            host = primary[0].decode() if primary[0] else address[0]
            slots[first : last + 1] = [(host, primary[1])] * (last + 1 - first)
        complete = [place for place in slots if place is not None]
        if len(complete) < SLOTS:
            raise Unavailable("Some hash slots of the Redis Cluster are on no server.")
        return complete

    def _lane(self, address: Address) -> Lane:
        lane = self._lanes.get(address)
        if lane is None:
            lane = Lane(lambda: self._doors.connected(address), self._confirmed)
            self._lanes[address] = lane
        return lane

    async def connect(self) -> AbstractConnection:
        return await secrets.choice(await self.primaries()).connect()

    async def primaries(self) -> list[Lane]:
        if self._is_stale:
            await self._learn()
        return [self._lane(address) for address in dict.fromkeys(self._slots)]

    def in_one_slot(self, one: str, other: str) -> bool:
        return bool(key_slot(one.encode()) == key_slot(other.encode()))

    async def close(self) -> None:
        if self._learning is not None:
            await asyncio.wait([self._learning])
        lanes: Sequence[Lane] = list(self._lanes.values())
        await asyncio.gather(*(lane.close() for lane in lanes))
