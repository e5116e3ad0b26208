"""The HTTP side of long polls: how long the client waits, whether it is still there, and whether
it may still have what it waited for."""

import asyncio
from types import TracebackType

from nuska.core import Core
from nuska.core.waiting import Patience
from nuska.transport.http.checks import check_again
from nuska.transport.http.request import ApiRequest


class LongPoll:
    """Watches the connection while a request waits. Without ``wait`` it watches nothing, and knows
    of a client that has gone what the server knows.

    It owns one task, which ends with the block.
    """

    __slots__ = ("_action", "_core", "_req", "_watcher", "patience")

    def __init__(self, req: ApiRequest, core: Core, action: str) -> None:
        """``action``: the permission that it takes."""
        seconds = req.asked.integer("wait") or 0
        self._req = req
        self._core = core
        self._action = action
        self._watcher: asyncio.Task[None] | None = None
        self.patience = Patience(min(seconds, core.limits.max_wait)) if seconds else None

    def __enter__(self) -> "LongPoll":
        if self.patience is not None:
            self._watcher = asyncio.create_task(self._watch(self.patience), name="client-watch")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    async def check_again(self) -> None:
        """Before the answer: raise what a client that has waited would be refused with by now."""
        if self.patience is not None:
            await check_again(self._core, self._req, self._action)

    async def lost_client(self) -> bool:
        """Whether the client has gone. Ask last: nothing may be awaited between a "no" and
        handing the answer to the server, or what was taken could be taken by nobody."""
        if self.patience is None:
            return self._req.is_gone
        # A hang-up that the loop has already seen reaches the watcher in this turn.
        await asyncio.sleep(0)
        return self.patience.gone or self._req.is_gone

    async def _watch(self, patience: Patience) -> None:
        await self._req.until_gone()
        patience.leave()
