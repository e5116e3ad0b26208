"""Those who come to listen to a queue, and those who are behind: what they missed, or where they
are told that something is missing."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nuska.core.listeners import Gap, Member, State
from nuska.core.live_batches import Batch
from nuska.core.live_late import LATE_AT_ONCE, LateTeller, give_late
from nuska.domain.markers import Marker
from nuska.domain.moments import Moment
from nuska.domain.positions import Position

if TYPE_CHECKING:
    from nuska.core.live_readers import Reader


class Returning:
    """Of one queue."""

    def __init__(self, reader: "Reader", late: LateTeller) -> None:
        self._reader = reader
        self._teller = late
        self._rounds = 0

    async def welcome(self, now: Moment) -> None:
        """Let those begin who come."""
        if not self._reader.coming:
            return
        coming = list(self._reader.coming)
        if any(member.at > self._reader.head for member in coming):
            await self._read_up_to(await self._reader.end(now), now)
        await self._declare(coming)
        await self._tell_missed([member for member in coming if self._may_have_missed(member)], now)
        for member in coming:
            if member.state is State.COMING:
                del self._reader.coming[member]
                member.known = True
                in_step = member.at >= self._reader.head
                member.state = State.IN_STEP if in_step else State.BEHIND
                (self._reader.in_step if in_step else self._reader.behind)[member] = None

    async def _read_up_to(self, last: Position, now: Moment) -> None:
        """Everything that stands at or below ``last`` is in the log by now, or gone."""
        while self._reader.head < last and await self._reader.read_on(now):
            pass
        if self._reader.head < last:
            self._reader.head = last
            for member in self._reader.in_step:
                member.at = last

    def _may_have_missed(self, member: Member) -> bool:
        """Whether delayed messages may have become due while it was not told."""
        if member.known:
            return member.upto < self._reader.late.last
        return not member.beginning.is_plain

    async def _declare(self, members: Iterable[Member]) -> None:
        """Tell those who begin where the log does not reach any more, or not yet."""
        begins = await self._reader.logs.begins(self._reader.queue)
        if begins is None:
            kept = await self._reader.logs.keep(self._reader.queue)
            begins = kept.begins, kept.settled
        for member in members:
            if member.state in (State.GONE, State.HELD):
                continue
            before = member.marker
            if member.at > self._reader.head:
                member.begin_at(Marker(self._reader.head))
            elif member.at < begins[0]:
                member.begin_at(Marker(begins[0]))
            elif not before.is_plain and before.due < begins[1]:
                member.begin_at(Marker(before.position, begins[1]))
            else:
                continue
            member.listening.gap(Gap(self._reader.queue, before, member.beginning))

    async def _tell_missed(self, members: list[Member], now: Moment) -> None:
        if not members:
            return
        missed = await self._teller.look_through(members, now)
        await self._declare(members)  # something may have been dropped meanwhile
        for member, lates in missed.items():
            lates.sort()
            while lates and member.state is State.COMING:
                some, lates = lates[:LATE_AT_ONCE], lates[LATE_AT_ONCE:]
                found = await self._teller.messages([position for _, position in some], now)
                if member.state is State.COMING:
                    due = [late for late in some if late[1] in found]
                    give_late(self._teller.batch(due, found, member.at), member)
                    member.upto = max(member.upto, some[-1])

    async def catch_up(self, now: Moment) -> bool:
        """Let those go on who are behind where the first of them is; whether there are more."""
        if not self._reader.behind:
            return False
        self._rounds += 1
        # The first in the line, and every other time who is farthest behind: others join him.
        first = (
            next(iter(self._reader.behind))
            if self._rounds % 2
            else min(self._reader.behind, key=_place)
        )
        start, limit = first.at, self._reader.weights.limit
        read = await self._reader.page(start, limit, now)
        page = [message for message in read if message.position <= self._reader.head]
        batch = (
            self._reader.batch(page, start, now) if page else Batch([], start, self._reader.head)
        )
        if len(page) < limit:
            batch.through = self._reader.head
        here = [member for member in self._reader.behind if start <= member.at < batch.through]
        await self._declare(here)
        await self._reader.hand_out(batch, here)
        for member in here:
            if member.state is not State.BEHIND:
                continue
            del self._reader.behind[member]
            if member.at >= self._reader.head:
                member.state = State.IN_STEP
                self._reader.in_step[member] = None
            else:
                self._reader.behind[member] = None  # behind the others, who have their turns, too
        return bool(self._reader.behind)


def _place(member: Member) -> Position:
    return member.at
