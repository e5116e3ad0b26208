"""A delivery engine under a manual clock, with subscribers that answer as they are told."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from msgspec import Struct

from nuska.core.bodies import Bodies
from nuska.core.deliveries import Attempt, attempts_since
from nuska.core.subscription_records import Cursor, SubscriptionRecords
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.engine import Engine
from nuska.domain.internal import internal
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.positions import Position
from nuska.domain.subscriptions import Options, Subscription, SubscriptionId
from nuska.interfaces.notifications import (
    ConfirmationRequest,
    Notification,
    Outcome,
    SubscribableStore,
)
from nuska.interfaces.records import ABSENT
from nuska.testing.clock import ManualClock, seeded_bytes

HOUR = seconds(3_600)
NONE = Duration(0)
OK = Outcome(ok=True, status=200, latency=Duration(1))
REFUSED = Outcome(ok=False, latency=Duration(1), error="connection refused")
GONE = Outcome(ok=False, status=410, latency=Duration(1), error="410 Gone", gone=True)
WRONG = Outcome(ok=False, status=400, latency=Duration(1), error="400", permanent=True)


class Delivery(Struct, frozen=True):
    subscriber: str
    body: str
    attempt: int
    at: Moment


class FakeSender:
    """Implements ``Sender``: notes what it is given, and answers what it was told to."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.sent: list[Delivery] = []
        self.answers: dict[str, Outcome | Callable[[Notification], Outcome]] = {}
        """By subscriber."""
        self.hanging: dict[str, asyncio.Event] = {}
        """Subscribers that answer only when these are set."""
        self.began = asyncio.Event()
        """Set anew by every attempt that begins."""
        self.under_way: dict[str, int] = defaultdict(int)
        self.most_under_way: dict[str, int] = defaultdict(int)

    async def send(self, notification: Notification) -> Outcome:
        subscriber = notification.subscription.subscriber
        self.sent.append(
            Delivery(
                subscriber,
                notification.message.body.decode().strip('"'),
                notification.attempt,
                self._clock.now(),
            )
        )
        self.under_way[subscriber] += 1
        self.began.set()
        self.most_under_way[subscriber] = max(
            self.most_under_way[subscriber], self.under_way[subscriber]
        )
        try:
            if subscriber in self.hanging:
                await self.hanging[subscriber].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.under_way[subscriber] -= 1
        answer = self.answers.get(subscriber, OK)
        return answer if isinstance(answer, Outcome) else answer(notification)

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        return OK

    def endpoint(self, subscription: Subscription) -> str:
        """The host, without a path."""
        return "/".join(subscription.subscriber.split("/")[:3])

    async def close(self) -> None:
        return

    async def wait_under_way(self, subscriber: str, count: int) -> None:
        """Until so many attempts for the subscriber are under way at once."""
        async with asyncio.timeout(10):
            while self.under_way[subscriber] != count:
                self.began.clear()
                await self.began.wait()

    def bodies(self, subscriber: str | None = None) -> list[str]:
        return [d.body for d in self.sent if subscriber in (None, d.subscriber)]


class DeliveryBench:
    """An open store, an engine on it, and the means to post and subscribe."""

    def __init__(
        self, store: SubscribableStore, clock: ManualClock, bodies: Bodies | None = None
    ) -> None:
        self.bodies = bodies
        self.store = store
        self.clock = clock
        self.sender = FakeSender(clock)
        self.records = SubscriptionRecords(store.records)
        self.queue = QueueRef("acme", "jobs")
        self._random = seeded_bytes(7)
        self._made = 0
        self.engine = self.new_engine()

    def new_engine(self, bounds: DeliveryBounds | None = None) -> Engine:
        """As after a restart."""
        self.engine = Engine(
            self.store,
            self.clock,
            self._random,
            {"http": self.sender},
            bounds=bounds,
            may_be_told=lambda _: True,
            bodies=self.bodies,
        )
        return self.engine

    async def subscribe(
        self,
        subscriber: str,
        options: Options | None = None,
        *,
        ttl: Duration = HOUR,
        queue: QueueRef | None = None,
    ) -> SubscriptionId:
        queue = self.queue if queue is None else queue
        now = self.clock.now()
        await self.records.note_change(queue)
        last = (await self.store.announcements.open(queue, now=now)).last
        self._made += 1
        made = Subscription(
            id=SubscriptionId(f"{self._made:024x}"),
            queue=queue,
            subscriber=subscriber,
            ttl=ttl,
            options=options or {},
            created_at=now,
            restarted_at=now,
            expires_at=after(now, ttl),
            since=last,
        )
        await self.records.put_cursor(queue, made.id, Cursor(position=last), version=ABSENT)
        await self.records.put_subscription(made, version=ABSENT)
        await self.records.note_change(queue)
        self.engine.changed(queue)
        return made.id

    async def post(
        self,
        *bodies: str,
        queue: QueueRef | None = None,
        delay: Duration = NONE,
        ttl: Duration = HOUR,
    ) -> None:
        queue = self.queue if queue is None else queue
        new = [NewMessage(body=f'"{b}"'.encode(), ttl=ttl, delay=delay) for b in bodies]
        await self.store.messages.add(queue, new, now=self.clock.now())
        self.engine.overhear(queue, len(new))

    async def pass_time(self, seconds: int) -> None:
        """Second by second, so that whatever becomes due does so in its own second."""
        for _ in range(seconds):
            self.clock.advance(seconds=1)
            await self.engine.settled()

    async def attempts(self, subscription: SubscriptionId) -> list[Attempt]:
        found = await attempts_since(
            self.store.messages,
            self.queue,
            subscription,
            since=Moment(self.clock.now() - seconds(7_200)),
            limit=10_000,
            now=self.clock.now(),
        )
        return found.attempts

    async def dead(self) -> int:
        page = await self.store.messages.page(
            internal("dead", self.queue), after=Position(0), limit=100, now=self.clock.now()
        )
        return len(page.messages)
