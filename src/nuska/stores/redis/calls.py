"""Calls of the library's functions on queues, and the indexes a call may need first (D17).

A function that would leave something unindexed changes nothing and says what it lacks: the
queue in its project's listing, or an entry in the due index no later than some moment. The
driver writes that and calls again. So the indexes may name what is not there, and never
miss what is.
"""

import secrets
from collections.abc import Sequence
from itertools import count
from typing import Any

from redis.exceptions import ResponseError

from nuska.domain.errors import QueueAway, QueueMissing, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.stores.redis import library
from nuska.stores.redis.lane import Lane, Part
from nuska.stores.redis.names import Names, listed, tag
from nuska.stores.redis.servers import Command, Servers

ATTEMPTS = 20
"""A call needs two or three; more only if a sweep interferes each time."""
NO_FUNCTION = "Function not found"
FENCED = "QUEUEAWAY"
"""What the functions begin with when they refuse a queue that is being carried away."""


class Calls:
    """The functions of one store, for the rest of the driver."""

    def __init__(self, servers: Servers, names: Names) -> None:
        self.servers = servers
        self.names = names
        self._latest = Moment(0)
        self._node = secrets.token_hex(6)
        self._numbers = count()

    def moment(self, now: Moment) -> Moment:
        """The later of ``now`` and the last moment this node has seen."""
        self._latest = max(self._latest, now)
        return self._latest

    @property
    def latest(self) -> Moment:
        return self._latest

    async def read(self, function: str, queue: QueueRef, now: Moment, *arguments: Part) -> Any:
        """Call a function that changes nothing."""
        key = self.names.header(queue)
        moment = self.moment(now)
        return await self.command(key, "FCALL_RO", function, 1, key, moment, *arguments)

    async def write(
        self,
        function: str,
        queue: QueueRef,
        now: Moment,
        *arguments: Part,
        create: bool = True,
    ) -> Any:
        """Call a function that may change ``queue``, after what it needs.

        Unless ``create``, one that needs the queue to be made raises ``QueueMissing``.
        """
        return await self._with_needs(function, [queue], now, arguments, create=create)

    async def write_two(
        self,
        function: str,
        queue: QueueRef,
        target: QueueRef,
        now: Moment,
        arguments: Sequence[Part],
    ) -> Any:
        """The same where ``target`` may be changed too; both are in one hash slot."""
        return await self._with_needs(function, [queue, target], now, arguments)

    async def maintain(self, function: str, queue: QueueRef, now: Moment, *arguments: Part) -> Any:
        """Call a function that changes ``queue`` and needs nothing."""
        key = self.names.header(queue)
        return await self.command(key, "FCALL", function, 1, key, self.moment(now), *arguments)

    async def _with_needs(
        self,
        function: str,
        queues: list[QueueRef],
        now: Moment,
        arguments: Sequence[Part],
        *,
        create: bool = True,
    ) -> Any:
        keys = [self.names.header(queue) for queue in queues]
        moment = self.moment(now)
        given = [["", ""] for _ in queues]
        made: dict[str, tuple[QueueRef, str]] = {}
        entry: Command | None = None
        for _ in range(ATTEMPTS):
            flat = [one for pair in given for one in pair]
            call = ("FCALL", function, len(keys), *keys, moment, *flat, *arguments)
            answer = await self._after(entry, keys[0], call)
            if answer[0] != b"need":
                await self._take_back(answer, made)
                return answer
            which = answer[1]
            queue = queues[which]
            if answer[2] == b"listing":
                if not create:
                    raise QueueMissing
                given[which][1], entry = self._listing(queue, moment)
                made[given[which][1]] = (queue, "listing")
            else:
                at, visits = int(answer[2]), int(answer[3])
                given[which][0], entry = f"{at}:{visits}", self._due(queue, Moment(at))
        raise Unavailable(f"The Redis store did not come to an end with {function}.")

    async def _take_back(self, answer: Any, made: dict[str, tuple[QueueRef, str]]) -> None:
        """Somebody else created the queue meanwhile: the listing made here is nobody's."""
        if answer[0] == b"exists":
            for listing, (queue, _) in made.items():
                await self.unlist(queue, listing)

    def _unique(self) -> str:
        return f"{self._node}{next(self._numbers):x}"

    def _listing(self, queue: QueueRef, now: Moment) -> tuple[str, Command]:
        """What a queue's header must say, and the entry in its project's listing."""
        listing = f"{now:012x}{self._unique()}"
        key = self.names.listing(queue.project)
        return listing, (key, ("ZADD", key, 0, listed(queue.name, listing)))

    def _due(self, queue: QueueRef, at: Moment) -> Command:
        """An entry in the due index: somebody will look at ``queue`` then."""
        key = self.names.due_of(queue)
        return key, ("ZADD", key, at, f"{tag(queue)}@{self._unique()}")

    async def unlist(self, queue: QueueRef, listing: str) -> None:
        key = self.names.listing(queue.project)
        await self.command(key, "ZREM", key, listed(queue.name, listing))

    async def promise(self, queue: QueueRef, at: Moment) -> None:
        """Write an entry into the due index."""
        key, entry = self._due(queue, at)
        await self.command(key, *entry)

    async def _after(self, entry: Command | None, key: str, call: tuple[Part, ...]) -> Any:
        """A call once ``entry`` is written."""
        if entry is not None:
            try:
                return await self.servers.call_after(entry, key, *call)
            except ResponseError as refusal:
                _refuse_fenced(refusal)
                if NO_FUNCTION not in str(refusal):
                    raise
        return await self.command(key, *call)

    async def command(self, key: str, *command: Part) -> Any:
        """One command to the server that has ``key``; loads the library where it is missing."""
        try:
            return await self.servers.call(key, *command)
        except ResponseError as refusal:
            _refuse_fenced(refusal)
            if NO_FUNCTION not in str(refusal):
                raise
        for lane in await self.servers.primaries():
            await load(lane)
        return await self.servers.call(key, *command)


def _refuse_fenced(refusal: ResponseError) -> None:
    if str(refusal).startswith(FENCED):
        raise QueueAway from refusal


async def load(lane: Lane) -> None:
    """Put the library on a server, in the place of an older one; refuse a newer one."""
    listing = await lane.call("FUNCTION", "LIST", "LIBRARYNAME", library.NAME, "WITHCODE")
    source = library.source().encode()
    if listing:
        found = dict(zip(listing[0][::2], listing[0][1::2], strict=True))
        if found[b"library_code"] == source:
            return
        loaded = await lane.call("FCALL_RO", "nuska_version", 0)
        if loaded > library.version():
            raise Unavailable(
                f"The Redis store has been used by a newer version of Nuska: its functions have "
                f"version {loaded}, and this Nuska knows {library.version()}. Upgrade this node."
            )
    await lane.call("FUNCTION", "LOAD", "REPLACE", source)
