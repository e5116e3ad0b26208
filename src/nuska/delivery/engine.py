"""Carries out the deliveries of the queues that this process is in charge of.

Puts the parts together, runs them, and stops them in order: ``following`` says which queues,
``turns`` which of them is next, ``dispatch`` which delivery. What happened is written down once
in a while, a few queues at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from nuska.core.bodies import Bodies
from nuska.core.deliveries import Attempt
from nuska.core.live_logs import LiveLogs
from nuska.core.opened_logs import OpenedLogs
from nuska.core.subscription_records import Seen, SubscriptionRecords
from nuska.delivery.attempting import Attempting
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.counters import DeliveryCounters
from nuska.delivery.cursors import Lost
from nuska.delivery.dispatch import Dispatch
from nuska.delivery.flushing import flush, leave
from nuska.delivery.follower import Follower
from nuska.delivery.following import Following, Hearing
from nuska.delivery.held import HeldBytes
from nuska.delivery.loading import load
from nuska.delivery.node import Node, Woken
from nuska.delivery.pages import PageBudget
from nuska.delivery.shards import ALL, RENEW_EVERY, Alone, Leases, Shards
from nuska.delivery.turns import UNEXPECTED, Turns
from nuska.domain.errors import Unavailable
from nuska.domain.internal import is_internal, origin
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.subscriptions import Subscription
from nuska.ending import ended
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import Sender, SubscribableStore
from nuska.interfaces.storage import RandomBytes

TICK = 0.25
"""Seconds between two looks at what time has brought about."""
FLUSHES_AT_ONCE = 8
STOP_WITHIN = 5.0
"""Seconds that what is in flight gets when the process stops."""
NODE_ID_BYTES = 8

Ask = Callable[
    [QueueRef, Mapping[str, Sender], Callable[[Attempt], None]], Awaitable[Moment | None]
]
"""Sends what subscribers of a queue are to be sent about their subscriptions, and notes what came
of it; when to come back."""

logger = logging.getLogger("nuska.delivery")


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
        bodies: Bodies | None = None,
    ) -> None:
        """``may_be_told``: whether a subscription counts at all; ``remove``: what is done with
        one that has expired; ``ask``: asks subscribers of a queue to confirm; ``listened``:
        who else needs the logs; ``bodies``: opens what is sealed."""
        bounds = DeliveryBounds() if bounds is None else bounds
        bodies = Bodies(None) if bodies is None else bodies
        patient = PatientClock(clock)
        records = SubscriptionRecords(store.records)
        self.counters = DeliveryCounters()
        self.dispatch = Dispatch(bounds, patient)
        attempting = Attempting(senders, self.dispatch, patient, self.counters, bodies)
        self._node = Node(
            store=store,
            records=records,
            logs=OpenedLogs(store.announcements, bodies),
            clock=patient,
            random_bytes=random_bytes,
            bounds=bounds,
            dispatch=self.dispatch,
            attempting=attempting,
            counters=self.counters,
            budget=PageBudget(bounds.page_cache),
            held=HeldBytes(),
            may_be_told=may_be_told,
            remove=self._remove if remove is None else remove,
            wake=self._wake,
            wake_at=self._wake_at,
            announce=announce,
            listened=listened,
        )
        self._senders = senders
        self._ask = ask
        self._asking: set[Follower] = set()
        self.node_id = random_bytes(NODE_ID_BYTES).hex()
        self._shards: Shards = (
            Leases(store.records, clock, self.node_id) if store.capabilities.shared else Alone()
        )
        self._event = asyncio.Event()
        self._turns = Turns(
            patient, random_bytes, self.counters, self._take_turn, self._start, self._event.set
        )
        self._following = Following(self._node, self._shards, self._turns, hearing)
        self.followers = self._following.followers
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing: set[Follower] = set()
        self._ticked_at = 0.0
        self._stopping = False

    # What others say

    def overhear(self, queue: QueueRef | None, _messages: int) -> None:
        """Messages became available in the queue, or, for None, perhaps in any. On the path of
        every post: a look-up, where nobody is told of them."""
        if queue is None:
            for each in self.followers.values():
                self._turns.wake(each)
            self._following.look_again()
            self._event.set()
            return
        follower = self.followers.get(queue)
        if follower is not None:
            self._turns.wake(follower, by_messages=True)
        elif is_internal(queue.project):
            changed = origin(queue, "subscriptions")
            if changed is None:
                return
            if changed.project or changed.name not in ALL:
                self.changed(changed)
            else:
                self._following.look_soon(changed.name)

    def changed(self, queue: QueueRef) -> None:
        """Subscriptions of the queue were made, changed or removed."""
        follower = self.followers.get(queue)
        if follower is not None:
            follower.changed = True
            self._turns.wake(follower)
        else:
            self._following.want(queue)
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
                    async with asyncio.timeout(self._turns.until_next(TICK)):
                        await self._event.wait()
        finally:
            await ended(leasing, flushing)

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
        self._following.mind_shards()
        now = asyncio.get_running_loop().time()
        if now >= self._ticked_at + TICK / 2:
            self._ticked_at = now
            self.dispatch.tick()
        if self._following.has_to_look:
            self._start(self._following.look, "what to follow")
        self._turns.begin()

    def flush_all(self) -> None:
        """Start writing down what is not written."""
        for follower in list(self.followers.values()):
            if len(self._flushing) >= FLUSHES_AT_ONCE:
                return
            if (
                follower.touched
                and follower not in self._flushing
                and self._turns.is_rested(follower)
            ):
                self._flushing.add(follower)
                self._start(partial(self._flush, follower), "a flush")

    async def settled(self) -> None:
        """Until there is nothing to do at this moment of the clock, and all is written; for
        those who move the clock themselves, and have not called ``run``."""
        await self._renew()
        quiet = 0
        while quiet < 2:
            self._ticked_at = 0.0
            self.step()
            self.flush_all()
            if self._tasks or self.dispatch.in_flight:
                quiet = 0
                if self._tasks:
                    await asyncio.wait(set(self._tasks), return_when=asyncio.FIRST_COMPLETED)
                else:
                    await self._something()
            elif self._turns.has_pauses:
                await asyncio.sleep(self._turns.until_next(TICK))
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

    # Queues

    def _wake(self, follower: Woken) -> None:
        assert isinstance(follower, Follower), "nothing else is woken"
        self._turns.wake(follower)

    def _wake_at(self, follower: Woken, moment: Moment) -> None:
        assert isinstance(follower, Follower), "nothing else is woken"
        self._turns.wake_at(follower, moment)

    async def _take_turn(self, follower: Follower) -> bool:
        """Whether there is more to do."""
        if follower.changed:
            await load(follower)
            self._begin_asking(follower)
        if follower.ended:
            self._following.drop(follower)
            return False
        return await follower.turn()

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
            self._turns.rest(follower, error.description)
        except Lost:
            logger.warning("another process has written what this one was in charge of")
            self._following.start_anew(follower)
        except Exception as error:
            logger.error("writing deliveries down failed unexpectedly", exc_info=error)
            self._turns.rest(follower, UNEXPECTED)
        finally:
            self._flushing.discard(follower)
            self._event.set()

    async def _last_flush(self, follower: Follower) -> None:
        try:
            await leave(follower)
        except (Lost, Unavailable) as error:
            logger.warning("not everything could be written down", extra={"reason": str(error)})
        except Exception as error:
            logger.error("writing down deliveries failed unexpectedly", exc_info=error)

    # Shards

    async def _keep_shards(self) -> None:
        while True:
            await self._renew()
            await asyncio.sleep(RENEW_EVERY)

    async def _renew(self) -> None:
        try:
            await self._shards.renew(self._following.let_go)
        except Unavailable as error:
            logger.warning("leases cannot be renewed now", extra={"reason": error.description})
        except Exception as error:
            logger.error("renewing leases failed unexpectedly", exc_info=error)
        self._following.mind_shards()
        self._event.set()

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
