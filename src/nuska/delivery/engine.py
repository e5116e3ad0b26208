"""Carries out the deliveries of the queues that this process is in charge of.

There is no task per queue or subscription: a queue that has something to do is woken, and a few
tasks at a time let woken queues have their turns. Whoever cannot go on because the store does
not answer rests, longer each time, and goes on by himself.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Protocol

from msgspec import Struct

from nuska.core.deliveries import Attempt
from nuska.core.followings import changes_in
from nuska.core.live_logs import LiveLogs
from nuska.core.subscription_records import PAGE, Seen, SubscriptionRecords, followed_key, shard_of
from nuska.delivery.attempting import Attempting
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.counters import DeliveryCounters
from nuska.delivery.cursors import Lost
from nuska.delivery.dispatch import Dispatch
from nuska.delivery.flushing import flush
from nuska.delivery.follower import Follower
from nuska.delivery.loading import load
from nuska.delivery.node import Node, Woken
from nuska.delivery.pages import PageBudget
from nuska.delivery.shards import ALL, RENEW_EVERY, Alone, Leases, Shards
from nuska.domain.errors import Unavailable
from nuska.domain.internal import internal, is_internal, origin
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import Sender, SubscribableStore
from nuska.interfaces.storage import RandomBytes

TICK = 0.25
"""Seconds between two looks at what time has brought about."""
TURNS_AT_ONCE = 8
FLUSHES_AT_ONCE = 8
LOOK_AT_MOST_EVERY = 0.5
LOOK_EVERY = 10.0
"""Seconds; a hint that got lost costs no more than this."""
FIRST_REST = 0.25
LONGEST_REST = 5.0
"""Seconds a queue rests that could not go on; a shard's list is looked at as often."""
STOP_WITHIN = 5.0
"""Seconds that what is in flight gets when the process stops."""
NODE_ID_BYTES = 8
UNEXPECTED = "An internal error."

Ask = Callable[
    [QueueRef, Mapping[str, Sender], Callable[[Attempt], None]], Awaitable[Moment | None]
]
"""Sends what subscribers of a queue are to be sent about their subscriptions, and notes what came
of it; when to come back."""

logger = logging.getLogger("nuska.delivery")


class Hearing(Protocol):
    """What decides of which queues this process hears from others."""

    def follow(self, queue: QueueRef) -> None: ...

    def unfollow(self, queue: QueueRef) -> None: ...


class PatientClock:
    """A clock that stands still while the time is not known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = Moment(0)

    def now(self) -> Moment:
        try:  # noqa: SIM105  # asked several times for each delivery: suppress costs ten times as much
            self._last = self._clock.now()
        except Unavailable:
            pass
        return self._last


class Rest(Struct):
    """How long somebody rests who could not go on."""

    until: float
    seconds: float


class Engine:
    def __init__(
        self,
        store: SubscribableStore,
        clock: Clock,
        random_bytes: RandomBytes,
        senders: Mapping[str, Sender],
        *,
        bounds: DeliveryBounds | None = None,
        may_be_told: Callable[[Subscription], bool],
        remove: Callable[[Seen[Subscription]], Awaitable[None]] | None = None,
        announce: Callable[[QueueRef, int], None] = lambda _, __: None,
        ask: Ask | None = None,
        hearing: Hearing | None = None,
        listened: LiveLogs | None = None,
    ) -> None:
        """``may_be_told``: whether a subscription counts at all; ``remove``: what is done with
        one that has expired; ``ask``: asks subscribers of a queue to confirm; ``listened``:
        who else needs the logs."""
        bounds = DeliveryBounds() if bounds is None else bounds
        patient = PatientClock(clock)
        records = SubscriptionRecords(store.records)
        self.counters = DeliveryCounters()
        self.dispatch = Dispatch(bounds, patient)
        attempting = Attempting(senders, self.dispatch, patient, self.counters)
        self._node = Node(
            store=store,
            records=records,
            clock=patient,
            random_bytes=random_bytes,
            bounds=bounds,
            dispatch=self.dispatch,
            attempting=attempting,
            counters=self.counters,
            budget=PageBudget(bounds.page_cache),
            may_be_told=may_be_told,
            remove=self._remove if remove is None else remove,
            wake=self._wake,
            wake_at=self._wake_at,
            announce=announce,
            listened=listened,
        )
        self._senders = senders
        self._ask = ask
        self._hearing = hearing
        self._asking: set[Follower] = set()
        self.node_id = random_bytes(NODE_ID_BYTES).hex()
        self._shards: Shards = (
            Leases(store.records, clock, self.node_id) if store.capabilities.shared else Alone()
        )
        if hearing is not None:
            for shard in ALL:
                hearing.follow(changes_in(shard))
        self.followers: dict[QueueRef, Follower] = {}
        self._wanted: set[QueueRef] = set()
        """Queues that are perhaps to be followed."""
        self._woken: dict[Follower, None] = {}
        self._busy: set[Follower] = set()
        self._rests: dict[Follower, Rest] = {}
        self._alarms: list[tuple[Moment, int, Follower]] = []
        self._alarmed: dict[Follower, Moment] = {}
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing: set[Follower] = set()
        self._event = asyncio.Event()
        self._known_shards: frozenset[str] = frozenset()
        self._looked_at = 0.0
        self._stopping = False

    # What others say

    def overhear(self, queue: QueueRef | None, _messages: int) -> None:
        """Messages became available in the queue, or, for None, perhaps in any. On the path of
        every post: a look-up, where nobody is told of them."""
        if queue is None:
            for each in self.followers.values():
                self._wake(each)
            self._look_again()
            return
        follower = self.followers.get(queue)
        if follower is not None:
            self._wake(follower)
        elif is_internal(queue.project):
            changed = origin(queue, "subscriptions")
            if changed is None:
                return
            if changed.project or changed.name not in ALL:
                self.changed(changed)
            elif changed.name in self._known_shards:
                self._look_soon()

    def changed(self, queue: QueueRef) -> None:
        """Subscriptions of the queue were made, changed or removed."""
        follower = self.followers.get(queue)
        if follower is not None:
            follower.changed = True
            self._wake(follower)
        else:
            self._wanted.add(queue)
            self._event.set()

    # Running

    async def run(self) -> None:
        """Until ``stop``."""
        leasing = asyncio.create_task(self._keep_shards(), name="shards")
        flushing = asyncio.create_task(self._keep_flushing(), name="flushes")
        try:
            while not self._stopping:
                self.step()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._until_alarm()):
                        await self._event.wait()
        finally:
            for task in (leasing, flushing):
                task.cancel()
            await asyncio.wait([leasing, flushing])

    async def stop(self) -> None:
        """Begin nothing more, let what is in flight end, write everything down, and let others
        take over."""
        self._stopping = True
        self._node.stopping = True
        self._node.attempting.stopping = True
        self._event.set()
        await self.dispatch.stop(STOP_WITHIN)
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        await asyncio.gather(*map(self._last_flush, list(self.followers.values())))
        with suppress(Unavailable):
            await self._shards.give_back()

    def step(self) -> None:
        """Start whatever there is to do now."""
        self._event.clear()
        now = self._node.clock.now()
        while self._alarms and self._alarms[0][0] <= now:
            moment, _, follower = heapq.heappop(self._alarms)
            if self._alarmed.get(follower) == moment:
                del self._alarmed[follower]
                self._wake(follower)
        self._mind_shards()
        self.dispatch.tick()
        if self._wanted or asyncio.get_running_loop().time() >= self._looked_at + LOOK_EVERY:
            self._start(self._look, "what to follow")
        for follower in list(self._woken):
            if len(self._busy) >= TURNS_AT_ONCE:
                break
            if follower not in self._busy and self._is_rested(follower):
                del self._woken[follower]
                self._busy.add(follower)
                self._start(partial(self._turn, follower), "a followed queue's turn")

    def flush_all(self) -> None:
        """Start writing down what is not written."""
        for follower in list(self.followers.values()):
            if len(self._flushing) >= FLUSHES_AT_ONCE:
                return
            if follower.touched and follower not in self._flushing and self._is_rested(follower):
                self._flushing.add(follower)
                self._start(partial(self._flush, follower), "a flush")

    async def settled(self) -> None:
        """Until there is nothing to do at this moment of the clock, and all is written; for
        those who move the clock themselves, and have not called ``run``."""
        await self._renew()
        quiet = 0
        while quiet < 2:
            self.step()
            self.flush_all()
            if self._tasks or self.dispatch.in_flight:
                quiet = 0
                if self._tasks:
                    await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
                else:
                    await self._something()
            else:
                quiet += 1

    async def _something(self) -> None:
        """Until somebody is woken, or nothing is in flight."""
        waits = {
            asyncio.ensure_future(self._event.wait()),
            asyncio.ensure_future(self.dispatch.settled()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    @property
    def followed(self) -> int:
        return len(self.followers)

    @property
    def waiting(self) -> int:
        """Deliveries that wait in memory."""
        return self._node.waiting

    @property
    def lag(self) -> int:
        """Milliseconds since the oldest message was posted that somebody waits for."""
        now = self._node.clock.now()
        oldest = (follower.oldest for follower in self.followers.values())
        return max((now - moment for moment in oldest if moment is not None), default=0)

    @property
    def retrying(self) -> int:
        return sum(follower.retries.in_hand for follower in self.followers.values())

    async def _remove(self, seen: Seen[Subscription]) -> None:
        """Remove what has expired, if nobody else does it better."""
        await self._node.records.remove_subscription(seen)

    def _until_alarm(self) -> float:
        if not self._alarms:
            return TICK
        return min(TICK, max(0, self._alarms[0][0] - self._node.clock.now()) / 1000)

    # Queues

    def _wake(self, follower: Woken) -> None:
        assert isinstance(follower, Follower), "nothing else is woken"
        if not follower.ended and follower not in self._woken:
            self._woken[follower] = None
            self._event.set()

    def _wake_at(self, follower: Woken, moment: Moment) -> None:
        assert isinstance(follower, Follower), "nothing else is woken"
        known = self._alarmed.get(follower)
        if known is None or moment < known:
            self._alarmed[follower] = moment
            heapq.heappush(self._alarms, (moment, next(self._numbers), follower))

    async def _turn(self, follower: Follower) -> None:
        try:
            if follower.changed:
                await load(follower)
                self._begin_asking(follower)
            if follower.ended:
                self._drop(follower)
            elif await follower.turn():
                self._wake(follower)
            self._rests.pop(follower, None)
        except Unavailable as error:
            self._let_rest(follower, error.description)
            self._wake(follower)
        except Exception as error:
            logger.error("a followed queue's turn failed unexpectedly", exc_info=error)
            self._let_rest(follower, UNEXPECTED)
            self._wake(follower)
        finally:
            self._busy.discard(follower)
            self._event.set()

    def _begin_asking(self, follower: Follower) -> None:
        if self._ask is not None and not follower.ended and follower not in self._asking:
            self._asking.add(follower)
            self._start(partial(self._ask_subscribers, follower), "confirmations")

    async def _ask_subscribers(self, follower: Follower) -> None:
        """Apart from turns: a subscriber may take long to be asked."""
        assert self._ask is not None, "asked by the caller"
        again: Moment | None = None
        try:
            again = await self._ask(follower.queue, self._senders, follower.note)
        finally:
            self._asking.discard(follower)
        if again is not None and not follower.ended:
            follower.changed = True
            self._wake_at(follower, again)

    async def _flush(self, follower: Follower) -> None:
        try:
            await flush(follower)
        except Unavailable as error:
            self._let_rest(follower, error.description)
        except Lost:
            logger.warning("another process has written what this one was in charge of")
            self._start_anew(follower)
        except Exception as error:
            logger.error("writing deliveries down failed unexpectedly", exc_info=error)
            self._let_rest(follower, UNEXPECTED)
        finally:
            self._flushing.discard(follower)
            self._event.set()

    async def _last_flush(self, follower: Follower) -> None:
        try:
            if follower.touched:
                await flush(follower)
        except (Lost, Unavailable) as error:
            logger.warning("not everything could be written down", extra={"reason": str(error)})
        except Exception as error:
            logger.error("writing down deliveries failed unexpectedly", exc_info=error)

    def _start_anew(self, follower: Follower) -> None:
        self._drop(follower)
        self._wanted.add(follower.queue)
        self._event.set()

    def _drop(self, follower: Follower) -> None:
        follower.end()
        if self.followers.get(follower.queue) is follower:
            del self.followers[follower.queue]
            if self._hearing is not None:
                self._hearing.unfollow(follower.queue)
                self._hearing.unfollow(internal("subscriptions", follower.queue))
        for group in (self._woken, self._rests, self._alarmed):
            group.pop(follower, None)

    def _let_rest(self, follower: Follower, reason: str) -> None:
        self.counters.failures += 1
        rest = self._rests.get(follower)
        seconds = FIRST_REST if rest is None else min(2 * rest.seconds, LONGEST_REST)
        jitter = 0.5 + int.from_bytes(self._node.random_bytes(1)) / 512
        until = asyncio.get_running_loop().time() + seconds * jitter
        self._rests[follower] = Rest(until, seconds)
        if rest is None:
            logger.warning("deliveries cannot go on now", extra={"reason": reason})

    def _is_rested(self, follower: Follower) -> bool:
        rest = self._rests.get(follower)
        return rest is None or asyncio.get_running_loop().time() >= rest.until

    # Shards

    async def _keep_shards(self) -> None:
        while True:
            await self._renew()
            await asyncio.sleep(RENEW_EVERY)

    async def _renew(self) -> None:
        try:
            await self._shards.renew(self._let_go)
        except Unavailable as error:
            logger.warning("leases cannot be renewed now", extra={"reason": error.description})
        except Exception as error:
            logger.error("renewing leases failed unexpectedly", exc_info=error)
        self._mind_shards()

    async def _let_go(self, shard: str) -> None:
        """Do nothing more for the shard: another node is going to."""
        leaving = [f for f in self.followers.values() if shard_of(f.queue) == shard]
        for follower in leaving:
            follower.leaving = True
        for follower in leaving:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_WITHIN):
                    await follower.idle.wait()
            with suppress(Lost, Unavailable):
                await flush(follower)
            self._drop(follower)

    def _mind_shards(self) -> None:
        ours = self._shards.ours()
        if ours == self._known_shards:
            return
        for follower in list(self.followers.values()):
            if shard_of(follower.queue) not in ours:
                self._drop(follower)
        if ours - self._known_shards:
            self._look_again()
        self._known_shards = ours

    def _look_soon(self) -> None:
        """Perhaps there is another queue to follow; once for all that are told of meanwhile."""
        soon = asyncio.get_running_loop().time() - LOOK_EVERY + LOOK_AT_MOST_EVERY
        self._looked_at = min(self._looked_at, soon)

    def _look_again(self) -> None:
        self._looked_at = 0.0
        self._event.set()

    async def _look(self) -> None:
        """Follow what is to be followed."""
        loop = asyncio.get_running_loop()
        everything = loop.time() >= self._looked_at + LOOK_EVERY
        wanted, self._wanted = self._wanted, set()
        try:
            for queue in wanted:
                if shard_of(queue) in self._known_shards:
                    self._follow(queue)
            if everything:
                self._looked_at = loop.time()
                for shard in sorted(self._known_shards):
                    await self._look_through(shard)
        except Unavailable as error:
            self._looked_at = loop.time() - LOOK_EVERY + LONGEST_REST
            logger.warning("followed queues cannot be listed", extra={"reason": error.description})

    async def _look_through(self, shard: str) -> None:
        after = ""
        while page := await self._node.records.followed_in(shard, after=after):
            for queue, seen in page:
                if shard in self._known_shards:
                    self._follow(queue).see(seen)
                    self._wake(self.followers[queue])
            after = followed_key(page[-1][0])
            if len(page) < PAGE:
                return

    def _follow(self, queue: QueueRef) -> Follower:
        follower = self.followers.get(queue)
        if follower is None:
            follower = self.followers[queue] = Follower(queue, self._node)
            if self._hearing is not None:
                self._hearing.follow(queue)
                self._hearing.follow(internal("subscriptions", queue))
            self._wake(follower)
        return follower

    # Tasks

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(self._node.bounds.flush_interval)
            self.flush_all()

    def _start(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        async def watched() -> None:
            try:
                await work()
            except Exception as error:
                logger.error("deliveries failed unexpectedly", exc_info=error)

        task = asyncio.get_running_loop().create_task(watched(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
