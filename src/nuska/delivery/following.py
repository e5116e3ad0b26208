"""Which queues this process follows: those of its shards that somebody has subscribed to.

The records say it; hints say when to look. Every shard is looked through now and then all the
same, which costs no more than a share of the time, however many queues there are; and each time
some queues that have not had a turn for long get one, because a hint may have got lost.
"""

import asyncio
import heapq
import logging
from contextlib import suppress
from typing import Protocol

from nuska.core.followings import changes_in
from nuska.core.subscription_records import PAGE, followed_key, shard_of
from nuska.delivery.cursors import Lost
from nuska.delivery.flushing import leave
from nuska.delivery.follower import Follower
from nuska.delivery.node import Node
from nuska.delivery.shards import ALL, Shards
from nuska.delivery.turns import LONGEST_REST, Turns
from nuska.domain.errors import Unavailable
from nuska.domain.internal import internal
from nuska.domain.messages import QueueRef

LOOK_AT_MOST_EVERY = 0.5
LOOK_EVERY = 10.0
"""Seconds between two looks at a shard; a hint that got lost costs no more than this, as long as
there are not too many queues."""
LOOK_SHARE = 20
"""A look that takes long is made less often: one part of so many is spent on looking."""
RECHECKED_AFTER = 5.0
"""Seconds without a turn."""
RECHECKED = 64
"""Queues of one shard that get a turn in one look although nothing is known to have changed."""
LEAVE_WITHIN = 5.0
"""Seconds that what is in flight gets when another node takes a shard over."""

logger = logging.getLogger("nuska.delivery")


class Hearing(Protocol):
    """What decides of which queues this process hears from others."""

    def follow(self, queue: QueueRef) -> None: ...

    def unfollow(self, queue: QueueRef) -> None: ...


class Following:
    def __init__(self, node: Node, shards: Shards, turns: Turns, hearing: Hearing | None) -> None:
        self._node = node
        self._shards = shards
        self._turns = turns
        self._hearing = hearing
        if hearing is not None:
            for shard in ALL:
                hearing.follow(changes_in(shard))
        self.followers: dict[QueueRef, Follower] = {}
        self._wanted: set[QueueRef] = set()
        """Queues that are perhaps to be followed."""
        self.shards: frozenset[str] = frozenset()
        """Those that this process is in charge of, as it knows."""
        self._look_at: dict[str, float] = {}
        """When each of them is looked through next, in seconds of the loop."""
        self._pauses: dict[str, float] = {}
        """How long a shard is left alone at least, after a look."""
        self._looked: dict[str, float] = {}
        self._looking = False

    # Hints

    def want(self, queue: QueueRef) -> None:
        """Perhaps somebody has subscribed to it."""
        self._wanted.add(queue)

    def look_soon(self, shard: str) -> None:
        """Perhaps there is another queue to follow; once for all that are told of meanwhile."""
        if shard in self.shards:
            pause = self._pauses.get(shard, LOOK_AT_MOST_EVERY)
            soon = self._looked.get(shard, 0.0) + pause
            self._look_at[shard] = min(self._look_at.get(shard, soon), soon)

    def look_again(self) -> None:
        """Anything may have changed."""
        self._look_at = dict.fromkeys(self.shards, 0.0)

    # Looking

    @property
    def has_to_look(self) -> bool:
        if self._looking or not (self._wanted or self._look_at):
            return False
        now = asyncio.get_running_loop().time()
        return bool(self._wanted) or min(self._look_at.values()) <= now

    async def look(self) -> None:
        """Follow what is to be followed."""
        if self._looking:
            return
        self._looking = True
        try:
            await self._look()
        finally:
            self._looking = False

    async def _look(self) -> None:
        wanted, self._wanted = self._wanted, set()
        for queue in wanted:
            if shard_of(queue) in self.shards:
                self._follow(queue)
        loop = asyncio.get_running_loop()
        now = loop.time()
        for shard in sorted(shard for shard, moment in self._look_at.items() if moment <= now):
            began = loop.time()
            self._looked[shard] = began
            self._look_at[shard] = began + LOOK_EVERY
            try:
                await self._look_through(shard)
            except Unavailable as error:
                reason = error.description
                logger.warning("followed queues cannot be listed", extra={"reason": reason})
                self._look_at[shard] = loop.time() + LONGEST_REST
            else:
                took = LOOK_SHARE * len(self.shards) * (loop.time() - began)
                self._pauses[shard] = max(LOOK_AT_MOST_EVERY, took)
                later = began + max(LOOK_EVERY, took)
                if self._look_at.get(shard, 0.0) > began:  # nothing was heard meanwhile
                    self._look_at[shard] = later

    async def _look_through(self, shard: str) -> None:
        after = ""
        idle: list[Follower] = []
        since = asyncio.get_running_loop().time() - RECHECKED_AFTER
        while page := await self._node.records.followed_in(shard, after=after):
            for queue, seen in page:
                if shard not in self.shards:
                    return
                follower = self._follow(queue)
                follower.see(seen)
                if follower.changed:
                    self._turns.wake(follower)
                elif follower.paused_until < since:
                    idle.append(follower)
            after = followed_key(page[-1][0])
            if len(page) < PAGE:
                break
        for follower in heapq.nsmallest(RECHECKED, idle, key=_last_turn):
            self._turns.wake(follower)

    def _follow(self, queue: QueueRef) -> Follower:
        follower = self.followers.get(queue)
        if follower is None:
            follower = self.followers[queue] = Follower(queue, self._node)
            if self._hearing is not None:
                self._hearing.follow(queue)
                self._hearing.follow(internal("subscriptions", queue))
            self._turns.wake(follower)
        return follower

    # Leaving

    def drop(self, follower: Follower) -> None:
        follower.end()
        if self.followers.get(follower.queue) is follower:
            del self.followers[follower.queue]
            if self._hearing is not None:
                self._hearing.unfollow(follower.queue)
                self._hearing.unfollow(internal("subscriptions", follower.queue))
        self._turns.drop(follower)

    def start_anew(self, follower: Follower) -> None:
        self.drop(follower)
        self._wanted.add(follower.queue)

    def mind_shards(self) -> None:
        """Follow nothing of a shard that is not ours any more, and look at one that is now."""
        ours = self._shards.ours()
        if ours == self.shards:
            return
        for follower in list(self.followers.values()):
            if shard_of(follower.queue) not in ours:
                self.drop(follower)
        for shard in self.shards - ours:
            self._look_at.pop(shard, None)
        self._look_at.update(dict.fromkeys(ours - self.shards, 0.0))
        self.shards = ours

    async def let_go(self, shard: str) -> None:
        """Do nothing more for the shard: another node is going to."""
        leaving = [f for f in self.followers.values() if shard_of(f.queue) == shard]
        for follower in leaving:
            follower.leaving = True
        for follower in leaving:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_WITHIN):
                    await follower.idle.wait()
            with suppress(Lost, Unavailable):
                await leave(follower)
            self.drop(follower)


def _last_turn(follower: Follower) -> float:
    return follower.paused_until
