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
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from nuska.core.late_messages import LateMessages
from nuska.core.listeners import Announced, Gap, Late, Member, State
from nuska.core.live_batches import Batch
from nuska.core.live_bounds import LiveBounds
from nuska.core.live_logs import LiveLogs
from nuska.domain.errors import Unavailable
from nuska.domain.markers import Marker
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment, seconds
from nuska.domain.positions import BEFORE_ALL, BEYOND_ALL, Position, floor_at
from nuska.interfaces.announcing import AnnouncementStore
from nuska.interfaces.clock import Clock

FEWEST = 20
MOST = 500
"""Messages of a page."""
PAGE_BYTES = 1_048_576
"""Pages of more are made shorter."""
OF_A_MESSAGE = 500
"""Bytes beside its body and attributes, about."""
PAGES_PER_TURN = 4
LATE_AT_ONCE = 100
HANDED_OUT_AT_ONCE = 100
"""Receivers; then others get a turn of the loop."""
LOOKED_AT_ONCE = 1_000
"""Messages that filters look at; then others get a turn, too."""
LOOK_EVERY = 10.0
"""Seconds; a hint that got lost costs no more than this."""
TEND_EVERY = 30.0
TEND_SOON = 1.0
"""Seconds between two looks after the log itself: that it is kept, and not too long."""
TENDED_PER_KEPT = 10
"""And whenever so large a part of what is kept at most has been read."""
SLOW_PER_KEPT = 4
"""Who did not look for so large a part of the time for which a log is kept asks where it begins."""
LINGER = 30.0
"""Seconds for which a queue is followed on when the last listener has gone; many come back."""
FIRST_REST = 0.25
LONGEST_REST = 5.0
MILESTONE = 500
"""Messages."""
MOST_MILESTONES = 10_000

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
    ) -> None:
        self.queue = queue
        self._store = announcements
        self._logs = logs
        self._clock = clock
        self._bounds = bounds
        self._kept_for = seconds(bounds.live_kept)
        self._longest_delay = longest_delay
        self.members: dict[Member, None] = {}
        """All of them."""
        self._coming: dict[Member, None] = {}
        self._behind: dict[Member, None] = {}
        self._in_step: dict[Member, None] = {}
        self.turns = 0
        """That were taken, without a failure."""
        self.idle = False
        """It has done what there was to do at the moment of its last turn."""
        self._catches = 0
        self._asking: list[asyncio.Future[Position]] = []
        """They want to know where the log ends."""
        self.head = BEFORE_ALL
        """How far the log was read."""
        self.passed_on = 0
        self._seen = BEFORE_ALL
        """The last message that was read; the head may be where none stands."""
        self._last_turn = Moment(0)
        self._begun = False
        self._late = LateMessages()
        self._told_at: Late = (Moment(0), BEYOND_ALL)
        """What became due up to this was passed on."""
        self._all_known = False
        """Everything that is delayed in the log is known: also what stood there before."""
        self._limit = FEWEST
        self._read = [0, 0]
        """Messages and bytes, ever; and at milestones."""
        self._milestones: deque[tuple[Position, int, int]] = deque(maxlen=MOST_MILESTONES)
        self._tended_at = 0.0
        self._tended = [0, 0]
        self._idle_since: float | None = asyncio.get_running_loop().time()
        self._event = asyncio.Event()

    # For others

    def poke(self) -> None:
        """There may be something to do."""
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
        for group in (self.members, self._coming, self._behind, self._in_step):
            group.pop(member, None)
        if not self.members:
            self._idle_since = asyncio.get_running_loop().time()

    def hold(self, member: Member) -> None:
        if member.state in (State.BEHIND, State.IN_STEP):
            member.upto = max(member.upto, self._told_at)
        for group in (self._coming, self._behind, self._in_step):
            group.pop(member, None)
        member.state = State.HELD

    def go_on(self, member: Member) -> None:
        member.state = State.COMING
        self._coming[member] = None
        self.poke()

    def marker_at(self, position: Position, upto: Late | None = None) -> Marker:
        """Who was told of everything up to ``position``, and of late messages up to ``upto``."""
        if upto is None:
            upto = self._told_at
        elif self._late.last > upto:
            return Marker(position, *upto)
        return Marker(position, *upto) if self._late else Marker(position)

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
        due = self._late.next_at
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
        await self._pass_on_late(now)
        more = await self._read_on(now)
        await self._welcome(now)
        more |= await self._catch_up(now)
        if self._is_to_be_tended():
            await self._tend(now)
        self._last_turn = now
        return more

    async def _begin(self, now: Moment) -> None:
        kept = await self._logs.keep(self.queue)
        self.head = kept.last
        self._all_known = kept.begins == kept.last
        self._told_at = (now, BEYOND_ALL)
        self._last_turn = now
        self._begun = True
        self._tended_at = asyncio.get_running_loop().time() + TEND_EVERY

    async def _answer(self, now: Moment) -> None:
        if self._asking:
            asking, self._asking = self._asking, []
            try:
                # A store may name a lower end than it did when the log was opened: as a marker
                # that would be one from before the log, and a gap for who comes back with it.
                last = max(await self._end(now), self.head)
            except BaseException:
                self._asking += asking
                raise
            for one in asking:
                if not one.done():
                    one.set_result(last)

    async def _end(self, now: Moment) -> Position:
        log = await self._store.state(self.queue, now=now)
        last = (await self._logs.keep(self.queue)).last if log is None else log.last
        # A store may have said more when it opened the log than it says now; both are true.
        return max(last, self.head)

    # In step

    async def _read_on(self, now: Moment) -> bool:
        for _ in range(PAGES_PER_TURN):
            limit = self._limit
            page = await self._page(self.head, limit, now)
            if len(page) == limit or now - self._last_turn > self._kept_for // SLOW_PER_KEPT:
                await self._check_head()
            if page:
                batch = self._batch(page, self.head, now)
                self.head = batch.through
                self._weigh(page)
                await self._hand_out(batch, self._in_step)
            if len(page) < limit:
                return False
        return True

    async def _check_head(self) -> None:
        """Who reads too slowly is overtaken by those who trim; nobody else is."""
        begins = await self._logs.begins(self.queue)
        if begins is not None and begins[0] > self.head:
            self._skip(begins[0])

    async def _hand_out(self, batch: Batch, members: Iterable[Member]) -> None:
        looks = 0
        for number, member in enumerate(list(members), 1):
            if member.state in (State.IN_STEP, State.BEHIND):
                self.passed_on += batch.give(member)
            if number % HANDED_OUT_AT_ONCE == 0 or batch.looks >= looks + LOOKED_AT_ONCE:
                looks = batch.looks
                await asyncio.sleep(0)

    async def _page(self, after: Position, limit: int, now: Moment) -> list[Message]:
        return await self._store.page(self.queue, after=after, limit=limit, now=now)

    def _batch(self, page: Sequence[Message], after: Position, now: Moment) -> Batch:
        """What is available of a page; the rest is noted."""
        available = []
        for message in page:
            # What is not delayed is available, though the clock of who posted it be ahead of ours.
            delayed = message.available_at > message.created_at
            if not delayed or message.available_at <= now:
                available.append(message)
            if delayed:
                self._late.add((message.available_at, message.position), self._told_at[0])
        upto = (now, BEYOND_ALL) if self._late else None
        items = [
            Announced(
                self.queue,
                message,
                Marker(message.position) if upto is None else Marker(message.position, *upto),
            )
            for message in available
        ]
        return Batch(items, after, page[-1].position)

    def _weigh(self, page: Sequence[Message]) -> None:
        size = sum(len(m.body) + len(m.attributes or b"") + OF_A_MESSAGE for m in page)
        if size > PAGE_BYTES:
            self._limit = max(FEWEST, self._limit // 2)
        elif len(page) == self._limit:
            self._limit = min(MOST, 2 * self._limit)
        self._seen = page[-1].position
        self._read[0] += len(page)
        self._read[1] += size
        last = self._milestones[-1][1] if self._milestones else 0
        if self._read[0] - last >= MILESTONE:
            self._milestones.append((self._seen, self._read[0], self._read[1]))

    # Delayed messages

    async def _pass_on_late(self, now: Moment) -> None:
        while self._late:
            if self._late.needs_looking(now):
                await self._look_through((), now)
            due = self._late.due(now, LATE_AT_ONCE)
            if not due:
                break
            found = await self._messages([position for _, position in due], now)
            if len(found) < len(due):
                await self._check_late([late for late in due if late[1] not in found])
            self._late.take(due)
            await self._hand_out_late([late for late in due if late[1] in found], found)
        self._told_at = (now, BEYOND_ALL)

    async def _check_late(self, missing: list[Late]) -> None:
        """They expired, were purged, or were dropped before this process looked."""
        begins = await self._logs.begins(self.queue)
        dropped = [late for late in missing if begins is not None and late[1] <= begins[0]]
        for member in (*self._in_step, *self._behind):
            own = [late for late in dropped if member.owns(late)]
            if own:
                after = Marker(member.at, *max(own))
                member.listening.gap(Gap(self.queue, member.marker, after))

    async def _hand_out_late(self, due: list[Late], found: dict[Position, Message]) -> None:
        batches: dict[Position, Batch] = {}
        for number, member in enumerate([*self._in_step, *self._behind], 1):
            if member.state in (State.IN_STEP, State.BEHIND):
                batch = batches.get(member.at)
                if batch is None:
                    batch = batches[member.at] = self._late_batch(due, found, member.at)
                self.passed_on += _give_late(batch, member)
            if number % HANDED_OUT_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _late_batch(self, due: list[Late], found: dict[Position, Message], at: Position) -> Batch:
        """Late messages for those who are ``at`` a position otherwise."""
        items = [Announced(self.queue, found[late[1]], Marker(at, *late)) for late in due]
        return Batch(items, BEFORE_ALL, at)

    async def _messages(self, positions: list[Position], now: Moment) -> dict[Position, Message]:
        """Those that are still in the log."""
        found: dict[Position, Message] = {}
        left = sorted(positions)
        while left:
            run = 1
            while run < len(left) and left[run] == left[run - 1] + 1:
                run += 1
            for message in await self._page(Position(left[0] - 1), run, now):
                found[message.position] = message
            left = left[run:]
        return {position: found[position] for position in positions if position in found}

    async def _look_through(
        self, members: Sequence[Member], now: Moment
    ) -> dict[Member, list[Late]]:
        """Note everything in the log that is delayed; what of it became due that members have
        not been told of."""
        missed: dict[Member, list[Late]] = {member: [] for member in members}
        begins = await self._logs.begins(self.queue)
        position = BEFORE_ALL if begins is None else begins[0]
        self._late.look_again()
        while page := await self._page(position, MOST, now):
            for message in page:
                if message.available_at > message.created_at and message.position <= self.head:
                    late = message.available_at, message.position
                    self._late.add(late, self._told_at[0])
                    if message.available_at <= now:
                        for member in members:
                            if member.owns(late):
                                missed[member].append(late)
            position = page[-1].position
            if position >= self.head:
                break
        self._all_known = True
        return missed

    # Those who come, and those who are behind

    async def _welcome(self, now: Moment) -> None:
        if not self._coming:
            return
        coming = list(self._coming)
        if any(member.at > self.head for member in coming):
            await self._read_up_to(await self._end(now), now)
        await self._declare(coming)
        await self._tell_missed([member for member in coming if self._may_have_missed(member)], now)
        for member in coming:
            if member.state is State.COMING:
                del self._coming[member]
                member.known = True
                in_step = member.at >= self.head
                member.state = State.IN_STEP if in_step else State.BEHIND
                (self._in_step if in_step else self._behind)[member] = None

    async def _read_up_to(self, last: Position, now: Moment) -> None:
        """Everything that stands at or below ``last`` is in the log by now, or gone."""
        while self.head < last and await self._read_on(now):
            pass
        if self.head < last:
            self.head = last
            for member in self._in_step:
                member.at = last

    def _may_have_missed(self, member: Member) -> bool:
        """Whether delayed messages may have become due while it was not told."""
        if member.known:
            return member.upto < self._late.last
        return not member.beginning.is_plain

    async def _declare(self, members: Iterable[Member]) -> None:
        """Tell those who begin where the log does not reach any more, or not yet."""
        begins = await self._logs.begins(self.queue)
        if begins is None:
            kept = await self._logs.keep(self.queue)
            begins = kept.begins, kept.settled
        for member in members:
            if member.state in (State.GONE, State.HELD):
                continue
            before = member.marker
            if member.at > self.head:
                member.begin_at(Marker(self.head))
            elif member.at < begins[0]:
                member.begin_at(Marker(begins[0]))
            elif not before.is_plain and before.due < begins[1]:
                member.begin_at(Marker(before.position, begins[1]))
            else:
                continue
            member.listening.gap(Gap(self.queue, before, member.beginning))

    async def _tell_missed(self, members: list[Member], now: Moment) -> None:
        if not members:
            return
        missed = await self._look_through(members, now)
        await self._declare(members)  # something may have been dropped meanwhile
        for member, lates in missed.items():
            lates.sort()
            while lates and member.state is State.COMING:
                some, lates = lates[:LATE_AT_ONCE], lates[LATE_AT_ONCE:]
                found = await self._messages([position for _, position in some], now)
                if member.state is State.COMING:
                    due = [late for late in some if late[1] in found]
                    _give_late(self._late_batch(due, found, member.at), member)
                    member.upto = max(member.upto, some[-1])

    async def _catch_up(self, now: Moment) -> bool:
        """Let those go on who are behind where the first of them is; whether there are more."""
        if not self._behind:
            return False
        self._catches += 1
        # The first in the line, and every other time who is farthest behind: others join him.
        first = next(iter(self._behind)) if self._catches % 2 else min(self._behind, key=_place)
        start, limit = first.at, self._limit
        read = await self._page(start, limit, now)
        page = [message for message in read if message.position <= self.head]
        batch = self._batch(page, start, now) if page else Batch([], start, self.head)
        if len(page) < limit:
            batch.through = self.head
        here = [member for member in self._behind if start <= member.at < batch.through]
        await self._declare(here)
        await self._hand_out(batch, here)
        for member in here:
            if member.state is not State.BEHIND:
                continue
            del self._behind[member]
            if member.at >= self.head:
                member.state = State.IN_STEP
                self._in_step[member] = None
            else:
                self._behind[member] = None  # behind the others, who have their turns, too
        return bool(self._behind)

    # The log itself

    def _is_to_be_tended(self) -> bool:
        bounds, (messages, size) = self._bounds, self._tended
        return (
            asyncio.get_running_loop().time() >= self._tended_at
            or (self._read[0] - messages) * TENDED_PER_KEPT >= bounds.live_kept_messages
            or (self._read[1] - size) * TENDED_PER_KEPT >= bounds.live_kept_bytes
        )

    async def _tend(self, now: Moment) -> None:
        if not self._all_known:
            await self._look_through((), now)
        settled = Moment(now - self._kept_for)
        kept = await self._logs.renew(self.queue, given=self._not_needed(settled), settled=settled)
        self._tended = list(self._read)
        pause = TEND_SOON if kept.more else TEND_EVERY
        self._tended_at = asyncio.get_running_loop().time() + pause
        if kept.begins > self.head:
            self._skip(kept.begins)

    def _skip(self, begins: Position) -> None:
        """The log was lost, or dropped by others before it was read here."""
        self.head = max(self.head, begins)
        for member in list(self._in_step):
            if member.state is State.IN_STEP and member.at < self.head:
                before = member.marker
                member.begin_at(Marker(self.head))
                member.listening.gap(Gap(self.queue, before, member.marker))

    def _not_needed(self, settled: Moment) -> Position:
        """Up to where the log need not reach back: not for those who come back soon, and not for
        what is still delayed, or became due not long ago."""
        given = floor_at(settled) - 1
        messages, size = self._read
        bounds = self._bounds
        while self._milestones:
            position, read, weighed = self._milestones[0]
            if (
                messages - read < bounds.live_kept_messages
                and size - weighed < bounds.live_kept_bytes
            ):
                break
            given = max(given, position)
            self._milestones.popleft()
        given = min(given, self._seen)
        needed = self._late.oldest(settled)
        if needed is not None:
            given = min(given, needed - 1)
        if self._late.forgotten is not None or self._late.uncertain:
            given = min(given, floor_at(Moment(settled - self._longest_delay)) - 1)
        return Position(given)


def _place(member: Member) -> Position:
    return member.at


def _give_late(batch: Batch, member: Member) -> int:
    """Pass on what the member was not told when it read there; how much that is."""
    wanted = batch.wanted(member.listening.filter)
    own = [
        item for item in wanted if member.owns((item.message.available_at, item.message.position))
    ]
    if own:
        last = own[-1].message
        member.upto = max(member.upto, (last.available_at, last.position))
        member.listening.take(own)
    return len(own)
