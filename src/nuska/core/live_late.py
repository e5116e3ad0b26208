"""Tells of delayed messages when they are due, and of those that somebody missed."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nuska.core.listeners import Announced, Gap, Late, Member, State
from nuska.core.live_batches import Batch
from nuska.core.live_weights import MOST
from nuska.domain.markers import Marker
from nuska.domain.messages import Message
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, BEYOND_ALL, Position

if TYPE_CHECKING:
    from nuska.core.live_readers import Reader

LATE_AT_ONCE = 100
HANDED_OUT_AT_ONCE = 100
"""Receivers; then others get a turn of the loop."""


class LateTeller:
    """Of one queue."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader

    async def pass_on(self, now: Moment) -> None:
        """What became due up to ``now``."""
        while self._reader.late:
            if self._reader.late.needs_looking(now):
                await self.look_through((), now)
            due = self._reader.late.due(now, LATE_AT_ONCE)
            if not due:
                break
            found = await self.messages([position for _, position in due], now)
            if len(found) < len(due):
                await self._declare([late for late in due if late[1] not in found])
            self._reader.late.take(due)
            await self._hand_out([late for late in due if late[1] in found], found)
        self._reader.told_at = (now, BEYOND_ALL)

    async def _declare(self, missing: list[Late]) -> None:
        """They expired, were purged, or were dropped before this process looked."""
        begins = await self._reader.logs.begins(self._reader.queue)
        dropped = [late for late in missing if begins is not None and late[1] <= begins[0]]
        for member in (*self._reader.in_step, *self._reader.behind):
            own = [late for late in dropped if member.owns(late)]
            if own:
                after = Marker(member.at, *max(own))
                member.listening.gap(Gap(self._reader.queue, member.marker, after))

    async def _hand_out(self, due: list[Late], found: dict[Position, Message]) -> None:
        batches: dict[Position, Batch] = {}
        for number, member in enumerate([*self._reader.in_step, *self._reader.behind], 1):
            if member.state in (State.IN_STEP, State.BEHIND):
                batch = batches.get(member.at)
                if batch is None:
                    batch = batches[member.at] = self.batch(due, found, member.at)
                self._reader.passed_on += give_late(batch, member)
            if number % HANDED_OUT_AT_ONCE == 0:
                await asyncio.sleep(0)

    def batch(self, due: list[Late], found: dict[Position, Message], at: Position) -> Batch:
        """Late messages for those who are ``at`` a position otherwise."""
        items = [Announced(self._reader.queue, found[late[1]], Marker(at, *late)) for late in due]
        return Batch(items, BEFORE_ALL, at)

    async def messages(self, positions: list[Position], now: Moment) -> dict[Position, Message]:
        """Those that are still in the log."""
        found: dict[Position, Message] = {}
        left = sorted(positions)
        while left:
            run = 1
            while run < len(left) and left[run] == left[run - 1] + 1:
                run += 1
            for message in await self._reader.page(Position(left[0] - 1), run, now):
                found[message.position] = message
            left = left[run:]
        return {position: found[position] for position in positions if position in found}

    async def look_through(
        self, members: Sequence[Member], now: Moment
    ) -> dict[Member, list[Late]]:
        """Note everything in the log that is delayed; what of it became due that members have
        not been told of."""
        missed: dict[Member, list[Late]] = {member: [] for member in members}
        begins = await self._reader.logs.begins(self._reader.queue)
        position = BEFORE_ALL if begins is None else begins[0]
        self._reader.late.look_again()
        while page := await self._reader.page(position, MOST, now):
            for message in page:
                if (
                    message.available_at > message.created_at
                    and message.position <= self._reader.head
                ):
                    late = message.available_at, message.position
                    self._reader.late.add(late, self._reader.told_at[0])
                    if message.available_at <= now:
                        for member in members:
                            if member.owns(late):
                                missed[member].append(late)
            position = page[-1].position
            if position >= self._reader.head:
                break
        self._reader.all_known = True
        return missed


def give_late(batch: Batch, member: Member) -> int:
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
