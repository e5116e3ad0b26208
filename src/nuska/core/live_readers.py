"""Reads the announcement log of one queue for all who listen to it in this process.

One task reads; what it has read is handed to every receiver in one call each, a few in each turn
of the loop. Who comes back with a marker is *behind*: he is told what he missed, in the same way
as everybody else who is behind there, and then is in step. Delayed messages are noted when they are
read, and read again when they are due: what was purged meanwhile is gone.

All that happens in one turn happens at one moment: everybody who is behind or in step was told of
what became due up to it. That is what markers say, so none is told twice, and nothing is left out.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf

from nuska.core.late_messages import LateMessages
from nuska.core.listeners import Announced, Gap, Late, Member, State
from nuska.core.live_batches import Batch
from nuska.core.live_bounds import LiveBounds
from nuska.core.live_late import HANDED_OUT_AT_ONCE, LateTeller
from nuska.core.live_logs import LiveLogs
from nuska.core.live_purges import OnPurge, Purges
from nuska.core.live_returning import Returning
from nuska.core.live_weights import Weights
from nuska.domain.errors import Unavailable
from nuska.domain.markers import Marker
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment, seconds
from nuska.domain.positions import BEFORE_ALL, BEYOND_ALL, Position
from nuska.interfaces.announcing import AnnouncementStore
from nuska.interfaces.clock import Clock

PAGES_PER_TURN = 4
LOOKED_AT_ONCE = 1_000
"""Messages that filters look at; then others get a turn, too."""
LOOK_EVERY = 10.0
"""Seconds; a hint that got lost costs no more than this."""
TEND_EVERY = 30.0
TEND_SOON = 1.0
"""Seconds between two looks after the log itself: that it is kept, and not too long."""
SLOW_PER_KEPT = 4
"""Who did not look for so large a part of the time for which a log is kept asks where it begins."""
LINGER = 30.0
"""Seconds for which a queue is followed on when the last listener has gone; many come back."""
FIRST_REST = 0.25
LONGEST_REST = 5.0

logger = logging.getLogger("nuska.live")


class Reader:
    """Follows one queue in one process."""

    def __init__(
        self,
        queue: QueueRef,
        announcements: AnnouncementStore,
        logs: LiveLogs,
        clock: Clock,
        bounds: LiveBounds,
        longest_delay: Duration,
        on_purge: OnPurge,
    ) -> None:
        """``on_purge``: told when subscriptions of connections were removed, on any node."""
        self.queue = queue
        self._store = announcements
        self.logs = logs
        self._clock = clock
        self._kept_for = seconds(bounds.live_kept)
        self.members: dict[Member, None] = {}
        """All of them."""
        self.coming: dict[Member, None] = {}
        self.behind: dict[Member, None] = {}
        self.in_step: dict[Member, None] = {}
        self.turns = 0
        """That were taken, without a failure."""
        self.idle = False
        """It has done what there was to do at the moment of its last turn."""
        self._asking: list[asyncio.Future[Position]] = []
        """They want to know where the log ends."""
        self.head = BEFORE_ALL
        """How far the log was read."""
        self.passed_on = 0
        self._last_turn = Moment(0)
        self._begun = False
        self.late = LateMessages()
        self.told_at: Late = (Moment(0), BEYOND_ALL)
        """What became due up to this was passed on."""
        self.all_known = False
        """Everything that is delayed in the log is known: also what stood there before."""
        self.weights = Weights(bounds, longest_delay)
        self._teller = LateTeller(self)
        self._returning = Returning(self, self._teller)
        self.purges = Purges(queue, logs, on_purge)
        self._tended_at = 0.0
        self._idle_since: float | None = asyncio.get_running_loop().time()
        self._event = asyncio.Event()

    # For others

    def poke(self) -> None:
        """There may be something to do."""
        self.purges.hint()
        self._event.set()

    def tend_soon(self) -> None:
        """Look after the log in the next turn."""
        self._tended_at = 0.0
        self.poke()

    async def end_of_log(self) -> Position:
        """Everything that is posted from now on stands above this."""
        asking: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._asking.append(asking)
        self.poke()
        return await asking

    def add(self, member: Member) -> None:
        self.members[member] = None
        self._idle_since = None

    def remove(self, member: Member) -> None:
        member.state = State.GONE
        for group in (self.members, self.coming, self.behind, self.in_step):
            group.pop(member, None)
        if not self.members:
            self._idle_since = asyncio.get_running_loop().time()

    def make_way(self) -> None:
        """Nobody listens, and others need the room: do not wait for those who come back."""
        self._idle_since = -inf
        self.poke()

    def hold(self, member: Member) -> None:
        if member.state in (State.BEHIND, State.IN_STEP):
            member.upto = max(member.upto, self.told_at)
        for group in (self.coming, self.behind, self.in_step):
            group.pop(member, None)
        member.state = State.HELD

    def go_on(self, member: Member) -> None:
        member.state = State.COMING
        self.coming[member] = None
        self.poke()

    def marker_at(self, position: Position, upto: Late | None = None) -> Marker:
        """Who was told of everything up to ``position``, and of late messages up to ``upto``."""
        if upto is None:
            upto = self.told_at
        elif self.late.last > upto:
            return Marker(position, *upto)
        return Marker(position, *upto) if self.late else Marker(position)

    # Running

    async def run(self, ended: Callable[["Reader"], None]) -> None:
        """Until nobody listens any more; ``ended`` is called then, before anybody else runs."""
        try:
            await self._run(ended)
        finally:
            self._disappoint(Unavailable("The service is stopping."))

    async def _run(self, ended: Callable[["Reader"], None]) -> None:
        rest = FIRST_REST
        while True:
            self._event.clear()
            try:
                more = await self._turn()
                rest = FIRST_REST
                self.turns += 1
            except Exception as error:
                self._fail(error, first=rest == FIRST_REST)
                if self._is_over():
                    ended(self)
                    return
                await asyncio.sleep(rest)
                rest = min(2 * rest, LONGEST_REST)
                continue
            if more:
                await asyncio.sleep(0)
                continue
            if self._is_over():
                ended(self)
                return
            self.idle = True
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._event.wait()
            self.idle = False

    def _fail(self, error: Exception, *, first: bool) -> None:
        if not isinstance(error, Unavailable):
            logger.error("reading for live listeners failed unexpectedly", exc_info=error)
            error = Unavailable("The queue cannot be listened to now.")
        elif first:
            logger.warning("live listeners wait", extra={"reason": error.description})
        self._disappoint(error)

    def _disappoint(self, error: Exception) -> None:
        """Whoever wants to know where the log ends is not going to."""
        asking, self._asking = self._asking, []
        for one in asking:
            if not one.done():
                one.set_exception(error)

    def _is_over(self) -> bool:
        if self._idle_since is None or self._asking:
            return False
        return asyncio.get_running_loop().time() >= self._idle_since + LINGER

    def _pause(self) -> float:
        loop = asyncio.get_running_loop()
        pause = min(LOOK_EVERY, max(0.0, self._tended_at - loop.time()))
        if self._idle_since is not None:
            pause = min(pause, max(0.0, self._idle_since + LINGER - loop.time()))
        if (purges := self.purges.pause) is not None:
            pause = min(pause, purges)
        due = self.late.next_at
        if due is not None:
            with suppress(Unavailable):
                pause = min(pause, max(0, due - self._clock.now()) / 1000)
        return pause

    async def _turn(self) -> bool:
        """Do what there is to do at this moment; whether there may be more."""
        now = self._clock.now()
        if not self._begun:
            await self._begin(now)
        await self._answer(now)
        await self._teller.pass_on(now)
        more = await self.read_on(now)
        await self._returning.welcome(now)
        more |= await self._returning.catch_up(now)
        if self.weights.are_heavy or asyncio.get_running_loop().time() >= self._tended_at:
            await self._tend(now)
        await self.purges.look_if_hinted()
        self._last_turn = now
        return more

    async def _begin(self, now: Moment) -> None:
        kept = await self.logs.keep(self.queue)
        self.head = kept.last
        self.all_known = kept.begins == kept.last
        self.told_at = (now, BEYOND_ALL)
        self._last_turn = now
        self._begun = True
        self._tended_at = asyncio.get_running_loop().time() + TEND_EVERY

    async def _answer(self, now: Moment) -> None:
        if self._asking:
            asking, self._asking = self._asking, []
            try:
                # Who begins after a purge was answered must not be taken for one from before.
                await self.purges.look()
                last = await self.end(now)
            except BaseException:
                self._asking += asking
                raise
            for one in asking:
                if not one.done():
                    one.set_result(last)

    async def end(self, now: Moment) -> Position:
        """Everything that is posted later stands above this."""
        log = await self._store.state(self.queue, now=now)
        last = (await self.logs.keep(self.queue)).last if log is None else log.last
        # A store may name a lower end than it did when the log was opened: as a marker that would
        # be one from before the log, and a gap for who comes back with it. Both are true.
        return max(last, self.head)

    # In step

    async def read_on(self, now: Moment) -> bool:
        """Read some pages, and hand them out; whether there may be more."""
        for _ in range(PAGES_PER_TURN):
            limit = self.weights.limit
            page = await self.page(self.head, limit, now)
            if len(page) == limit or now - self._last_turn > self._kept_for // SLOW_PER_KEPT:
                await self._check_head()
            if page:
                batch = self.batch(page, self.head, now)
                self.head = max(self.head, batch.through)
                self.weights.add(page)
                await self.hand_out(batch, self.in_step)
            if len(page) < limit:
                return False
        return True

    async def _check_head(self) -> None:
        """Who reads too slowly is overtaken by those who trim; nobody else is."""
        begins = await self.logs.begins(self.queue)
        if begins is not None and begins[0] > self.head:
            self._skip(begins[0])

    async def hand_out(self, batch: Batch, members: Iterable[Member]) -> None:
        """A few in each turn of the loop."""
        looks = 0
        for number, member in enumerate(list(members), 1):
            if member.state in (State.IN_STEP, State.BEHIND):
                self.passed_on += batch.give(member)
            if number % HANDED_OUT_AT_ONCE == 0 or batch.looks >= looks + LOOKED_AT_ONCE:
                looks = batch.looks
                await asyncio.sleep(0)

    async def page(self, after: Position, limit: int, now: Moment) -> list[Message]:
        return await self._store.page(self.queue, after=after, limit=limit, now=now)

    def batch(self, page: Sequence[Message], after: Position, now: Moment) -> Batch:
        """What is available of a page; the rest is noted."""
        available = []
        for message in page:
            # What is not delayed is available, though the clock of who posted it be ahead of ours.
            delayed = message.available_at > message.created_at
            if not delayed or message.available_at <= now:
                available.append(message)
            if delayed:
                self.late.add((message.available_at, message.position), self.told_at[0])
        upto = (now, BEYOND_ALL) if self.late else None
        items = [
            Announced(
                self.queue,
                message,
                Marker(message.position) if upto is None else Marker(message.position, *upto),
            )
            for message in available
        ]
        return Batch(items, after, page[-1].position)

    # The log itself

    async def _tend(self, now: Moment) -> None:
        await self.purges.look()
        if not self.all_known:
            await self._teller.look_through((), now)
        settled = Moment(now - self._kept_for)
        given = self.weights.not_needed(settled, self.late)
        kept = await self.logs.renew(self.queue, given=given, settled=settled)
        self.weights.tended()
        pause = TEND_SOON if kept.more else TEND_EVERY
        self._tended_at = asyncio.get_running_loop().time() + pause
        if kept.begins > self.head:
            self._skip(kept.begins)

    def _skip(self, begins: Position) -> None:
        """The log was lost, or dropped by others before it was read here."""
        self.head = max(self.head, begins)
        for member in list(self.in_step):
            if member.state is State.IN_STEP and member.at < self.head:
                before = member.marker
                member.begin_at(Marker(self.head))
                member.listening.gap(Gap(self.queue, before, member.marker))
