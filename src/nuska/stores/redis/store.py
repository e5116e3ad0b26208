"""A Redis store as a ``Store``: opened, asked, swept, closed.

calls.py    functions and the indexes they need    servers.py, lane.py    connections
queues.py   messages.py   claims.py   outbox.py    the promises of interfaces/storage.py
"""

import asyncio

from redis.exceptions import RedisError

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.storage import Capabilities, StoreOptions, SweepReport
from nuska.stores.redis.calls import Calls, load
from nuska.stores.redis.claims import RedisClaims
from nuska.stores.redis.durability import Durability, durability
from nuska.stores.redis.lane import unavailable
from nuska.stores.redis.messages import RedisMessages
from nuska.stores.redis.names import Names
from nuska.stores.redis.outbox import Outbox
from nuska.stores.redis.queues import RedisQueues
from nuska.stores.redis.servers import Servers, open_servers
from nuska.stores.redis.sweeping import Sweeper
from nuska.stores.redis.url import parse

NAMES = frozenset({"FIFO", "CLAIMS", "AOD", "HIGH_THROUGHPUT"})


class RedisStore:
    """``Store`` on Redis."""

    def __init__(self, servers: Servers, calls: Calls, found: Durability, options: StoreOptions):
        self._servers = servers
        self._calls = calls
        durable = found.survives_restart
        self.capabilities = Capabilities(
            names=NAMES | {"DURABILITY"} if durable else NAMES, durable=durable, shared=True
        )
        self.durability = found.sentence
        outbox = Outbox(calls)
        self.queues = RedisQueues(calls)
        self.messages = RedisMessages(calls, self.queues, options.random_bytes)
        self.claims = RedisClaims(calls, outbox)
        self._sweeper = Sweeper(calls, outbox)

    @property
    def latest(self) -> Moment:
        return self._calls.latest

    async def ping(self) -> None:
        for lane in await self._servers.primaries():
            try:
                await lane.call("PING")
            except RedisError as refusal:
                raise unavailable(refusal) from refusal

    async def time(self) -> Moment:
        """What a server's clock says; the same server is asked by every node."""
        key = self._calls.names.due[0]
        try:
            seconds, microseconds = await self._servers.call(key, "TIME")
        except RedisError as refusal:
            raise unavailable(refusal) from refusal
        return Moment(int(seconds) * 1000 + int(microseconds) // 1000)

    async def sweep(self, *, now: Moment) -> SweepReport:
        return await self._sweeper.sweep(now)

    async def close(self) -> None:
        await self._servers.close()


async def open_redis(options: StoreOptions) -> RedisStore:
    """Connect, load the functions, and see what the servers promise."""
    location = parse(options.url)
    servers = open_servers(location)
    try:
        lanes = await servers.primaries()
        await asyncio.gather(*(load(lane) for lane in lanes))
        found = await durability(lanes)
    except BaseException as error:
        await servers.close()
        cause = error if isinstance(error, RedisError) else error.__cause__
        if isinstance(cause, RedisError | OSError):
            raise Unavailable(f"The Redis store cannot be opened: {cause}") from cause
        raise
    calls = Calls(servers, Names(location.prefix), options.now)
    return RedisStore(servers, calls, found, options)
