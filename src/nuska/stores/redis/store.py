"""A Redis store as a ``Store``: opened, asked, swept, closed.

calls.py    functions and the indexes they need    servers.py, lane.py    connections
queues.py   messages.py   claims.py   outbox.py    the promises of interfaces/storage.py
announcements.py                                   the promises of interfaces/announcing.py
records.py  transfers.py  ordered.py  walking.py   the promises of interfaces/pooling.py
"""

import asyncio
import logging

from redis.exceptions import RedisError

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.ending import ended
from nuska.interfaces.storage import Capabilities, Durability, Hear, StoreOptions, SweepReport
from nuska.stores.redis.announcements import RedisAnnouncements
from nuska.stores.redis.calls import Calls, load
from nuska.stores.redis.claims import RedisClaims
from nuska.stores.redis.durability import Demand, Promise
from nuska.stores.redis.hints import Hints
from nuska.stores.redis.lane import Lane, TooWeak, unavailable
from nuska.stores.redis.messages import RedisMessages
from nuska.stores.redis.names import Names
from nuska.stores.redis.outbox import Outbox
from nuska.stores.redis.queues import RedisQueues
from nuska.stores.redis.records import RedisRecords
from nuska.stores.redis.servers import Servers, open_servers
from nuska.stores.redis.sweeping import Sweeper
from nuska.stores.redis.transfers import RedisTransfers
from nuska.stores.redis.url import parse

NAMES = frozenset({"FIFO", "CLAIMS", "AOD", "HIGH_THROUGHPUT"})
LOOK_AT_SETTINGS_EVERY = 10.0
"""Seconds; somebody may change them, and another server may have taken over."""

log = logging.getLogger("nuska.stores.redis")


class RedisStore:
    """``PoolableStore`` and ``AnnouncingStore`` on Redis."""

    def __init__(
        self,
        servers: Servers,
        calls: Calls,
        demand: Demand,
        promise: Promise,
        options: StoreOptions,
    ) -> None:
        self._servers = servers
        self._calls = calls
        self._demand = demand
        self._promise = promise
        outbox = Outbox(calls)
        self.queues = RedisQueues(calls)
        self.messages = RedisMessages(calls, self.queues, options.random_bytes)
        self.claims = RedisClaims(calls, outbox)
        self.records = RedisRecords(calls, options.random_bytes)
        self.transfers = RedisTransfers(calls, outbox)
        self.announcements = RedisAnnouncements(calls)
        self._sweeper = Sweeper(calls, outbox)
        self._hints = Hints(servers, calls.names)
        self._looking = asyncio.create_task(self._look_at_settings(), name="redis settings")

    @property
    def capabilities(self) -> Capabilities:
        durable = self._promise.level is not Durability.NONE
        return Capabilities(
            names=NAMES | {"DURABILITY"} if durable else NAMES,
            durable=durable,
            shared=True,
            durability=self._promise.level,
        )

    @property
    def durability(self) -> str:
        return self._promise.sentence

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

    def heed(self, queue: QueueRef | None) -> None:
        self._hints.heed(queue)

    def disregard(self, queue: QueueRef | None) -> None:
        self._hints.disregard(queue)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._hints.tell(queue, messages)

    async def hear_others(self, hear: Hear) -> None:
        await self._hints.hear_others(hear)

    async def sweep(self, *, now: Moment) -> SweepReport:
        return await self._sweeper.sweep(now)

    async def look_at_settings(self) -> None:
        """See what the servers promise now; writes wait for what follows from that."""
        lanes = await self._servers.primaries()
        for lane in lanes:
            await lane.renew()
        promise = await _weakest(lanes, self._demand)
        if promise.sentence != self._promise.sentence:
            log.warning(
                "the store's durability has changed", extra={"durability": promise.sentence}
            )
        self._promise = promise

    async def _look_at_settings(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_SETTINGS_EVERY)
            try:
                await self.look_at_settings()
            except TooWeak as error:  # connections were let go of, and refuse to come back
                log.error("the store promises less than is demanded", extra={"reason": str(error)})
            except (Unavailable, RedisError):
                continue  # requests say so

    async def close(self) -> None:
        await ended(self._looking)
        await self._hints.close()
        await self._servers.close()


async def open_redis(options: StoreOptions) -> RedisStore:
    """Connect, load the functions, and see what the servers promise."""
    location = parse(options.url)
    demand = Demand(options.required, location.replicas)
    servers = open_servers(location, demand.confirmation)
    try:
        lanes = await servers.primaries()
        await asyncio.gather(*(load(lane) for lane in lanes))
        await _test(lanes, demand)
        promise = await _weakest(lanes, demand)
    except BaseException as error:
        await servers.close()
        cause = error if isinstance(error, RedisError | TooWeak) else error.__cause__
        if isinstance(cause, TooWeak):
            raise Unavailable(str(cause)) from cause
        if isinstance(cause, RedisError | OSError):
            raise Unavailable(f"The Redis store cannot be opened: {cause}") from cause
        raise
    calls = Calls(servers, Names(location.prefix))
    return RedisStore(servers, calls, demand, promise, options)


async def _test(lanes: list[Lane], demand: Demand) -> None:
    for lane in lanes:
        await demand.test(lane.call)


async def _weakest(lanes: list[Lane], demand: Demand) -> Promise:
    promises = [await demand.promise(lane.call) for lane in lanes]
    return min(promises, key=lambda one: one.rank)
